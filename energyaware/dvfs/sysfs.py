"""Files of the kernel under `/sys` that hold one number or word each."""

from __future__ import annotations

import os
import re
from pathlib import Path

from energyaware.errors import KnobError, KnobUnavailableError

_MOST_BYTES = 65_536


class Sysfs:
    """Reads and writes files below `root`, which stands for `/`; tests put a tree of files there."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def folders(self, parent: str, pattern: str) -> list[Path]:
        """Folders below `parent` whose names match a glob, sorted by the numbers in their names."""
        place = self.root / parent
        found = [path for path in place.glob(pattern) if path.is_dir()] if place.is_dir() else []
        return sorted(found, key=lambda path: [int(digits) for digits in re.findall(r"[0-9]+", path.name)])

    def text(self, path: Path) -> str | None:
        """What the file says; None where it is missing or cannot be read."""
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        try:
            return os.read(file, _MOST_BYTES).decode("ascii").strip()
        except (OSError, ValueError):
            return None
        finally:
            os.close(file)

    def number(self, path: Path) -> int | None:
        """The whole number from 0 in the file; None where there is none (`<unknown>`, `<unsupported>`)."""
        text = self.text(path)
        return int(text) if text is not None and text.isascii() and text.isdigit() else None

    def write(self, path: Path, value: int) -> None:
        """Write a number in one go, as the kernel wants it.

        Raises:
            OSError: the driver refused it.
        """
        # As `echo N > file`, but without O_CREAT: only what is there is written.
        file = os.open(path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(file, str(value).encode())
        finally:
            os.close(file)

    def writable(self, path: Path) -> bool:
        """Whether this user may write the file."""
        return os.access(path, os.W_OK)

    def read_only(self) -> bool:
        """Whether `/sys` is mounted read-only, as in most containers."""
        try:
            return bool(os.statvfs(self.root / "sys").f_flag & os.ST_RDONLY)
        except OSError:
            return False


def require_writable(files: Sysfs, paths: list[Path], allow: str) -> None:
    """Check that all files may be written.

    Args:
        allow: a shell command that lets users write them.

    Raises:
        KnobUnavailableError: with what to do.
    """
    forbidden = [path for path in paths if not files.writable(path)]
    if not forbidden:
        return
    if files.read_only():
        raise KnobUnavailableError(
            "/sys is mounted read-only here, as in most containers",
            "run on the machine itself, or in a privileged container",
        )
    raise KnobUnavailableError(
        f"this user may not write {forbidden[0]}" + (f" and {len(forbidden) - 1} more" if forbidden[1:] else ""),
        f"run as root, or let users write it until the next boot: {allow}",
    )


def write_checked(files: Sysfs, path: Path, value: int, locked: str) -> None:
    """Write a number, and say what went wrong.

    Args:
        locked: what it means where even root is refused.

    Raises:
        KnobUnavailableError: not permitted.
        KnobError: the driver refused it.
    """
    try:
        files.write(path, value)
    except PermissionError as error:
        raise KnobUnavailableError(f"{path} may not be written ({error.strerror})", locked) from error
    except OSError as error:
        raise KnobError(
            f"the driver refused {value} for {path} ({error.strerror or error})",
            "give another setting; energyaware doctor shows what is offered",
        ) from error
