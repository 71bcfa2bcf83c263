"""Cleans up after a comparison on every way out of it, its own death by `kill -9` included.

A small process of its own session that sleeps on its standard input. The coordinator tells it what there is to clean
up, one JSON object per line; when the coordinator's end closes, for whatever reason, it kills the process groups and
removes the worktrees and folders that are still listed. Run as `python -m energyaware.branches.janitor`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self


def clean_up(lines: Iterable[str]) -> None:
    """Read what to do from `lines` until they end, then do it."""
    groups: dict[int, None] = {}
    folders: dict[str, None] = {}
    worktrees: dict[tuple[str, str], None] = {}
    for line in lines:
        try:
            wish = json.loads(line)
        except ValueError:  # the writer died in the middle of its line
            break
        if "group" in wish:
            groups[int(wish["group"])] = None
        elif "ended" in wish:
            groups.pop(int(wish["ended"]), None)
        elif "worktree" in wish:
            worktrees[str(wish["repository"]), str(wish["worktree"])] = None
        elif "folder" in wish:
            folders[str(wish["folder"])] = None
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for repository, worktree in worktrees:
        shutil.rmtree(worktree, ignore_errors=True)
        # Git forgets worktrees whose folder is gone.
        subprocess.run(["git", "worktree", "prune"], cwd=repository, capture_output=True, check=False)


class Janitor:
    """The coordinator's end. As a context manager it has cleaned up when the block is left."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            text=True,
            # Its own session: Ctrl-C in the terminal reaches the coordinator, which then closes the pipe.
            start_new_session=True,
            # Neither the code under test nor its configuration is needed here.
            env={name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_START"},
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

    def remove_worktree_at_end(self, repository: Path, worktree: Path) -> None:
        """Remove a git worktree of `repository` at the end."""
        self._say({"worktree": str(worktree), "repository": str(repository)})

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
