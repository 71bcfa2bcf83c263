"""Where cached models and datasets live."""

from __future__ import annotations

import os
import re
from pathlib import Path

from energyaware.errors import CacheError

CACHE_VARIABLE = "ENERGYAWARE_CACHE"


def cache_dir() -> Path:
    """The user's cache folder: `$ENERGYAWARE_CACHE`, else the platform's own place. Not created."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs  # here, so that importing the pytest plugin stays light

    return Path(platformdirs.user_cache_dir("energyaware"))


# What people type may be longer than any file name, hold a null byte or name a user (`~who`) that does not exist:
# pathlib raises there, os.path answers.


def expanded(text: str) -> Path:
    """What was typed as a path, `~` expanded where that is somebody."""
    try:
        return Path(os.path.expanduser(text))  # noqa: PTH111
    except ValueError:  # a name that can be nobody's, as with a null byte
        return Path(text)


def exists(path: Path) -> bool:
    """Whether there is such a path; False for what can be none."""
    return os.path.exists(path)  # noqa: PTH110


def is_dir(path: Path) -> bool:
    """Whether there is such a folder; False for what can be none."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for what can be none."""
    return os.path.isfile(path)  # noqa: PTH113


def writable_dir(path: Path, purpose: str) -> Path:
    """Create `path` and prove that it can be written.

    Raises:
        CacheError: it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(
            f"the {purpose} folder {path} cannot be written ({error.strerror or error})",
            f"make it writable, or choose another (the cache: {CACHE_VARIABLE}; reports: --energy-report, --report)",
        ) from error
    return path


def model_place(cache: Path, name: str, key: str) -> Path:
    """The directory of a cached model: directly in the cache, whatever the name is.

    Args:
        name: for people; of a hub id or a path only letters that any file name may have are kept.
        key: hexadecimal hash of what shaped the model.

    Raises:
        CacheError: `cache` cannot be written.
    """
    shown = re.sub(r"[^A-Za-z0-9_.+-]+", "-", name).strip("-.")[-80:]
    return writable_dir(cache / "models", "cache") / f"{shown}-{key[:16]}"
