"""Cleans up after a comparison on every way out of it, its own death by `kill -9` included.

A small process of its own session that sleeps on its standard input. The coordinator tells it what there is to clean
up, one JSON object per line; when the coordinator's end closes, for whatever reason, it kills the process groups and
removes the folders that are still listed. It is run as a script and needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_GONE_S = 2.0


def clean_up(lines: Iterable[str]) -> None:
    """Read what to do from `lines` until they end, then do it."""
    groups: dict[int, None] = {}
    folders: dict[str, None] = {}
    for line in lines:
        try:
            wish = json.loads(line)
        except ValueError:  # the writer died in the middle of its line
            break
        if "group" in wish:
            groups[int(wish["group"])] = None
        elif "ended" in wish:
            groups.pop(int(wish["ended"]), None)
        elif "folder" in wish:
            folders[str(wish["folder"])] = None
    for group in groups:
        _kill(group)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _kill(group: int) -> None:
    """Kill a process group and wait until it is gone: it must not write into folders that are being removed."""
    deadline = time.monotonic() + _GONE_S
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.01)


class Janitor:
    """The coordinator's end. As a context manager it has cleaned up when the block is left."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # Isolated: neither the folder we are in nor PYTHONPATH says what it imports.
            [sys.executable, "-I", __file__],
            stdin=subprocess.PIPE,
            # Nobody who reads our output is to wait for it.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            # Its own session: Ctrl-C in the terminal reaches the coordinator, which then closes the pipe.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._input.close()
        self._process.wait()

    def kill_at_end(self, group: int) -> None:
        """Kill the process group at the end, unless `ended` is said before."""
        self._say({"group": group})

    def ended(self, group: int) -> None:
        """The process group has ended by itself."""
        self._say({"ended": group})

    def remove_at_end(self, folder: Path) -> None:
        """Remove a folder at the end."""
        self._say({"folder": str(folder)})

    @property
    def _input(self) -> IO[str]:
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("opened with a pipe")
        return stdin

    def _say(self, wish: dict[str, object]) -> None:
        self._input.write(json.dumps(wish) + "\n")
        self._input.flush()


if __name__ == "__main__":
    clean_up(sys.stdin)
