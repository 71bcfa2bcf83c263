"""Stored runs: pytest-benchmark's files, read strictly and chosen by what the user typed."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energyaware.baselines import git
from energyaware.baselines.codec import from_json
from energyaware.config import NEWEST_ANCESTOR
from energyaware.errors import OptionError, StoredRunError
from energyaware.records import SCHEMA_VERSION, Benchmark, Run, Totals

_NUMBERED = re.compile(r"(\d{4,})_")
# pytest-benchmark's words where there is no commit.
_NO_COMMIT = ("unversioned", "unknown", "")


@dataclass(frozen=True)
class Baseline:
    """The run to judge against, how it was chosen, and which stored files could not be read on the way."""

    run: Run
    chosen: str
    skipped: tuple[str, ...] = ()


def _object(value: object, where: str, tool_hint: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StoredRunError(f"{where} is not an object", tool_hint)
    return value


def load_run(path: Path) -> Run:
    """Read one stored run.

    Raises:
        StoredRunError: missing, not JSON, of another tool, without energy data, of another schema, or damaged.
    """
    again = "Choose another baseline, or measure it again with --energy --benchmark-save=NAME"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoredRunError(f"the stored run {path} cannot be read ({error.strerror})", again) from error
    except (ValueError, RecursionError) as error:
        raise StoredRunError(f"the stored run {path} is truncated or no JSON ({error})", again) from error
    data = _object(data, str(path), again)
    if not isinstance(data.get("benchmarks"), list):
        raise StoredRunError(f"{path} is no pytest-benchmark file: it has no list 'benchmarks'", again)
    if "energyaware" not in data:
        raise StoredRunError(f"{path} holds no energy data: it was stored without --energy", again)
    own = _object(data["energyaware"], f"{path}: energyaware", again)
    version = own.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoredRunError(
            f"{path} has schema version {version!r}, this energyaware reads {SCHEMA_VERSION}",
            "Measure the baseline again with this version, or install the version that wrote it",
        )
    benchmarks = []
    for index, item in enumerate(data["benchmarks"]):
        entry = _object(item, f"{path}: benchmarks[{index}]", again)
        if "energy" in entry:
            benchmarks.append(from_json(entry["energy"], Benchmark, f"{path}: benchmarks[{index}].energy"))
    commit = data.get("commit_info")
    commit = commit if isinstance(commit, dict) else {}
    machine = _object(own.get("machine", {}), f"{path}: energyaware.machine", again)
    return Run(
        benchmarks=tuple(benchmarks),
        machine={str(key): str(value) for key, value in machine.items()},
        options=_object(own.get("options", {}), f"{path}: energyaware.options", again),
        totals=from_json(own.get("totals", {}), Totals, f"{path}: energyaware.totals"),
        version=str(own.get("version", "")),
        path=str(path),
        commit=str(commit.get("id") or ""),
        branch=str(commit.get("branch") or ""),
        dirty=bool(commit.get("dirty")),
        datetime=str(data.get("datetime", "")),
        interrupted=bool(own.get("interrupted", False)),
    )


def _number(path: Path) -> int:
    match = _NUMBERED.match(path.name)
    return int(match[1]) if match else -1


def stored_files(storage: Path) -> list[Path]:
    """All numbered runs under pytest-benchmark's storage folder, newest first."""
    found = [path for path in (*storage.glob("*.json"), *storage.glob("*/*.json")) if _NUMBERED.match(path.name)]
    return sorted(found, key=lambda path: (_number(path), path.name), reverse=True)


class _Reader:
    """Reads runs one after the other and remembers which could not be read."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def runs(self, files: list[Path]) -> Iterator[Run]:
        for path in files:
            try:
                run = load_run(path)
            except StoredRunError as error:
                self.skipped.append(error.cause)
                continue
            if run.benchmarks:
                yield run


def find_baseline(value: str, storage: Path, root: Path) -> Baseline | None:
    """The stored run that `--energy-compare=VALUE` means: FILE, NUM, NAME, BRANCH, tried in that order.

    Without a value: the newest complete run from a clean tree whose commit is an ancestor of HEAD; outside of git, the
    newest complete run.

    Args:
        storage: pytest-benchmark's storage folder.
        root: a folder of the repository.

    Returns:
        None only for the default, when nothing fits: the first run has nothing to be compared with.

    Raises:
        OptionError: VALUE means no stored run.
        StoredRunError: the run it means cannot be read.
    """
    files = stored_files(storage)
    if value == NEWEST_ANCESTOR:
        return _newest_ancestor(files, root)
    path = Path(value)
    with contextlib.suppress(OSError):  # longer than any file name
        if path.is_file():
            return Baseline(load_run(path), f"file {path}")
    if re.fullmatch(r"[0-9]{1,18}", value):
        same = [item for item in files if _number(item) == int(value)]
        if same:
            return Baseline(load_run(same[0]), f"run {_number(same[0]):04}")
    named = [item for item in files if item.stem.split("_", 1)[1] == value]
    if named:
        return Baseline(load_run(named[0]), f"newest run named {value}")
    reader = _Reader()
    tip = git.commit_of(root, value)
    for run in reader.runs(files):
        if not run.dirty and not run.interrupted and (run.branch == value or (tip and run.commit == tip)):
            return Baseline(run, f"newest clean run of {value}", tuple(reader.skipped))
    known = sorted({item.stem.split("_", 1)[0] for item in files})
    raise OptionError(
        f"--energy-compare={value}: no such file, and no stored run has this number, name or branch",
        f"stored runs under {storage}: {', '.join(known[-8:]) or 'none; store one with --benchmark-save=NAME'}",
    )


def _newest_ancestor(files: list[Path], root: Path) -> Baseline | None:
    head = git.commit_of(root, "HEAD")
    known = git.ancestors(root, head) if head else frozenset()
    reader = _Reader()
    for run in reader.runs(files):
        if run.interrupted:
            continue
        if head is None and run.commit in _NO_COMMIT:
            return Baseline(run, "newest run", tuple(reader.skipped))
        if not run.dirty and run.commit in known:
            return Baseline(run, "newest clean run of an ancestor of HEAD", tuple(reader.skipped))
    return None


def history(storage: Path, baseline: Run, limit: int = 20) -> tuple[Run, ...]:
    """Up to `limit` newest complete runs of the baseline's branch, the baseline the newest, oldest first.

    Nothing newer: the run being judged may be stored already, and its change must not widen its own interval.
    """
    reader = _Reader()
    found: list[Run] = []
    for run in reader.runs(stored_files(storage)):
        if run.branch == baseline.branch and not run.interrupted and run.datetime <= baseline.datetime:
            found.append(run)
        if len(found) == limit:
            break
    return tuple(reversed(found))
