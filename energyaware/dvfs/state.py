"""The file that says what was set before a sweep: written before the first change, removed when all is put back.

It outlives `kill -9`. Whoever reads it takes it for hostile: it must be a small file of this user's own, and every
number is checked again by the knob that it names before anything is written.
"""

from __future__ import annotations

import json
import os
import platform
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from energyaware.dvfs.spec import UNITS
from energyaware.errors import KnobError

STATE_VARIABLE = "ENERGYAWARE_STATE"
SCHEMA = 1
_MOST_BYTES = 1_000_000
_MOST_VALUES = 20_000
_MOST_LETTERS = 100
_LARGEST = 10**12


@dataclass(frozen=True, slots=True)
class Prior:
    """What was set before.

    Attributes:
        knob: its name.
        values: its state, as `Knob.state` gave it.
        boot_id: of the kernel then running; empty where unknown.
        pid: of the process that swept.
    """

    knob: str
    values: Mapping[str, int]
    boot_id: str
    pid: int


def state_dir() -> Path:
    """The user's state folder: `$ENERGYAWARE_STATE`, else the platform's own place. Not created."""
    chosen = os.environ.get(STATE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs  # here, so that importing the pytest plugin stays light

    return Path(platformdirs.user_state_dir("energyaware"))


def state_file(folder: Path) -> Path:
    """Where the state of this machine is kept: a home folder may be shared by several."""
    return folder / f"dvfs-{_machine()}.json"


def lock_file(folder: Path) -> Path:
    """What a sweep on this machine holds."""
    return folder / f"dvfs-{_machine()}.lock"


def _machine() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())[:100] or "machine"


def boot_id(root: Path = Path("/")) -> str:
    """What names the running kernel's start; empty where it does not tell."""
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:_MOST_LETTERS]
    except (OSError, ValueError):
        return ""


def save(prior: Prior, path: Path) -> None:
    """Write the file so that it is there, whole, when this returns, even if the machine loses power then.

    Raises:
        KnobError: it cannot be written.
    """
    data = {
        "schema": SCHEMA, "knob": prior.knob, "values": dict(prior.values), "boot_id": prior.boot_id, "pid": prior.pid,
    }  # fmt: skip
    draft = path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        # Made anew: neither through a link nor into a file that others opened before.
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, json.dumps(data, indent=1).encode())
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise KnobError(
            f"what is set now cannot be noted in {path} ({error.strerror or error}), so nothing is changed",
            f"make the folder writable, or choose another with the environment variable {STATE_VARIABLE}",
        ) from error


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def remove(path: Path) -> None:
    """Remove the file: all is put back.

    Raises:
        KnobError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise KnobError(
            f"{path} cannot be removed ({error.strerror or error}), though all that it names is put back",
            "remove it, else the next run puts the same back again",
        ) from error


def load(path: Path) -> Prior | None:
    """Read the file; None where there is none.

    Raises:
        KnobError: it is damaged, too large, or not this user's own.
    """
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            raise _damaged(path, "it is no plain file")
        if hasattr(os, "geteuid") and facts.st_uid != os.geteuid():
            raise _damaged(path, "it belongs to another user")
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _damaged(path, "others may write it")
        if facts.st_size > _MOST_BYTES:
            raise _damaged(path, f"it has {facts.st_size} bytes")
        text = os.read(file, _MOST_BYTES)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    finally:
        os.close(file)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"no JSON: {error}") from error
    return _checked(data, path)


def _checked(data: object, path: Path) -> Prior:
    names = {"schema", "knob", "values", "boot_id", "pid"}
    if not isinstance(data, dict) or set(data) != names:
        raise _damaged(path, f"it does not hold exactly {', '.join(sorted(names))}")
    if data["schema"] != SCHEMA:
        raise _damaged(path, f"schema is {_short(data['schema'])}, not {SCHEMA}")
    knob, values, boot, pid = data["knob"], data["values"], data["boot_id"], data["pid"]
    if not isinstance(knob, str) or knob not in UNITS:
        raise _damaged(path, f"knob is {_short(knob)}, none of {', '.join(UNITS)}")
    if not isinstance(boot, str) or len(boot) > _MOST_LETTERS:
        raise _damaged(path, f"boot_id is {_short(boot)}")
    if type(pid) is not int or not 0 < pid < 2**32:
        raise _damaged(path, f"pid is {_short(pid)}")
    if not isinstance(values, dict) or not 0 < len(values) <= _MOST_VALUES:
        raise _damaged(path, f"values is {_short(values)}")
    for key, value in values.items():
        # A bool is an int to Python.
        if len(key) > _MOST_LETTERS or type(value) is not int or not 0 <= value <= _LARGEST:
            raise _damaged(path, f"values: {_short(key)} is {_short(value)}")
    return Prior(knob, values, boot, pid)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + "…"


def _damaged(path: Path, why: str) -> KnobError:
    return KnobError(
        f"{path}, which says what was set before a sweep, cannot be trusted: {why}. Nothing was changed",
        "see that clocks and power caps are as they should be (a restart of the machine resets them), then delete it",
    )
