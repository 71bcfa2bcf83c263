"""Writing that survives a crash: lines appended whole, files replaced whole, one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from energyaware.errors import StoredRunError

# One benchmark with a million scored examples takes a tenth of this.
_MOST_LINE_BYTES = 256 << 20

LOCK_NAME = ".lock"


def append_lines(descriptor: int, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write entries as JSON, one line each; they are on disk when this returns.

    All or nothing: after a fault the file is cut back to its old length, so that no torn line lies before the next.

    Args:
        descriptor: of a file opened for appending.

    Raises:
        OSError: a full disk, a device that failed.
    """
    data = memoryview(b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))
    before = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def complete_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines that end in a newline. What follows the last one was cut off, and is left out.

    Raises:
        StoredRunError: a line is longer than any that is written.
    """
    while line := stream.readline(_MOST_LINE_BYTES):
        if line.endswith(b"\n"):
            yield line
        elif len(line) == _MOST_LINE_BYTES:
            raise StoredRunError(
                f"{getattr(stream, 'name', 'the file')} has a line of over {_MOST_LINE_BYTES / 1e6:.0f} MB",
                "no energyaware wrote it: remove the file",
            )


def parse_line(line: bytes, where: str, remedy: str) -> dict[str, Any]:
    """One line as a JSON object.

    Args:
        where: file and line, for the message.

    Raises:
        StoredRunError: it is none.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StoredRunError(f"{where} is damaged ({error})", remedy) from error
    if not isinstance(found, dict):
        raise StoredRunError(f"{where} is damaged (no object)", remedy)
    return found


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all; on disk when this returns.

    Raises:
        OSError: it cannot be written; what stood there before is untouched.
    """
    path = path.resolve()  # a link stays a link
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a pipe or a terminal, as /dev/stdout, has nothing to replace
        return
    # Containers that share a folder share numbers of processes, too.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time decide about names in a folder; the others wait. Ends with its process at the latest.

    Over NFS a folder cannot be locked, only a file that is open for writing: there it is the file `.lock` in it.

    Raises:
        OSError: the folder cannot be locked.
    """
    with contextlib.ExitStack() as opened:
        descriptor = os.open(folder, os.O_RDONLY)
        opened.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            opened.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def try_lock(descriptor: int) -> bool:
    """Lock an open file as long as it stays open; False where another process has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
