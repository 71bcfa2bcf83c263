"""CPU seconds of this process and all that it started, from the kernel's own accounts.

* this process: its CPU clock, all threads, nanoseconds;
* children that have ended and were waited for: `RUSAGE_CHILDREN`, microseconds, their own children included;
* children that live: the CPU clock of each (POSIX `clock_getcpuclockid`: all threads, nanoseconds), and from
  `/proc/PID/stat` what their own ended children spent (kernel ticks of 10 ms).

When a child ends, its seconds move from the third account to the second; where they do not (a parent that never waits,
a child handed to init) what was seen of them is kept, so that the sum never runs backwards. One question to the kernel
tells whether there are children at all: without any a reading costs a few microseconds. Not seen: a process that was
handed to init before any reading (a double fork), and, outside Linux, children that live.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

if sys.platform != "win32":  # which keeps no account of ended children
    import resource

_TRIES = 5


class Process(NamedTuple):
    """What the kernel says of another process.

    Attributes:
        started: tells two processes of one id apart.
        cpu_s: CPU seconds of all its threads.
        waited_s: CPU seconds of the children that it waited for, and of theirs.
    """

    started: int
    cpu_s: float
    waited_s: float


class Kernel(Protocol):
    """What is asked of the kernel; tests put a model of one in its place."""

    def own_s(self) -> float:
        """CPU seconds of this process."""
        ...

    def waited_s(self) -> float:
        """CPU seconds of the children that this process waited for, and of theirs."""
        ...

    def has_children(self) -> bool:
        """Whether a child of this process lives or waits to be waited for."""
        ...

    def children(self, pid: int) -> Iterable[int]:
        """Process ids of the children of `pid`."""
        ...

    def process(self, pid: int) -> Process | None:
        """Another process; None where it is gone."""
        ...


class ThisKernel:
    """The kernel underneath."""

    def __init__(self) -> None:
        self._linux = sys.platform == "linux"
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK") if self._linux else 0.0

    def own_s(self) -> float:
        return time.process_time_ns() / 1e9

    def waited_s(self) -> float:
        if sys.platform == "win32":
            return 0.0
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def has_children(self) -> bool:
        if not self._linux:
            return False
        try:
            # WNOWAIT: whoever started the child still gets its status.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def children(self, pid: int) -> list[int]:
        found: list[int] = []
        with contextlib.suppress(OSError):  # it ended
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):  # a thread ended, or the kernel lacks CONFIG_PROC_CHILDREN
                    found += map(int, (task / "children").read_text(encoding="ascii").split())
        return found

    def process(self, pid: int) -> Process | None:
        try:
            # The id of a process' CPU clock, as clock_getcpuclockid(3) makes it; 2 is CPUCLOCK_SCHED.
            cpu_s = time.clock_gettime_ns((~pid << 3) | 2) / 1e9
            text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        # The name in parentheses may hold anything. After it come, by proc(5), the fields from the third on.
        rest = text.rpartition(")")[2].split()
        cutime, cstime, started = int(rest[13]), int(rest[14]), int(rest[19])
        return Process(started, cpu_s, (cutime + cstime) * self._tick_s)


class _Seen(NamedTuple):
    """A process below this one; `parent` is None where that is this one."""

    parent: tuple[int, int] | None
    cpu_s: float
    waited_s: float

    @property
    def seconds(self) -> float:
        return self.cpu_s + self.waited_s


_Key = tuple[int, int]


class ProcessTree:
    """Adds up the accounts; the sum never runs backwards."""

    def __init__(self, kernel: Kernel | None = None) -> None:
        self._kernel: Kernel = kernel or ThisKernel()
        self._pid = os.getpid()
        self._seen: dict[_Key, _Seen] = {}
        self._waited_s = self._kernel.waited_s()
        self._lost_s = 0.0

    def cpu_s(self) -> float:
        """CPU seconds up to now; those of this process are read last, nearest to the work."""
        if self._seen or self._kernel.has_children():
            self._look()
        else:
            self._waited_s = self._kernel.waited_s()
        below_s = sum(seen.seconds for seen in self._seen.values())
        return self._lost_s + self._waited_s + below_s + self._kernel.own_s()

    def _look(self) -> None:
        before, now, waited_s = self._seen, *self._snapshot()
        # Last seen seconds of what is gone, handed up to the parent, which waited for it, from the leaves on.
        handed_s: defaultdict[_Key | None, float] = defaultdict(float)
        for key in reversed(before):  # parents were found before their children
            if key not in now:
                handed_s[before[key].parent] += before[key].seconds + handed_s.pop(key, 0.0)
        ended_s = handed_s.pop(None, 0.0)
        for key, seen in now.items():
            if key in before:
                # The kernel counts these in coarse ticks.
                least_s = before[key].waited_s + handed_s.pop(key, 0.0)
                now[key] = seen._replace(waited_s=max(seen.waited_s, least_s))
        # What ended and nobody of this tree waited for: what is left had been handed to init.
        self._lost_s += sum(handed_s.values()) + max(0.0, ended_s - (waited_s - self._waited_s))
        self._seen, self._waited_s = now, waited_s

    def _snapshot(self) -> tuple[dict[_Key, _Seen], float]:
        """All processes below, and the account of those waited for: read while no child moved between the two."""
        waited_s = self._kernel.waited_s()
        found: dict[_Key, _Seen] = {}
        for _ in range(_TRIES):
            found = {}
            self._walk(self._pid, None, found)
            for key, seen in self._seen.items():
                # The kernel's lists may miss a child while threads come and go; and it may have been handed to init.
                process = None if key in found else self._kernel.process(key[0])
                if process is not None and process.started == key[1]:
                    found[key] = _Seen(seen.parent, process.cpu_s, process.waited_s)
                    self._walk(key[0], key, found)
            again_s = self._kernel.waited_s()
            if again_s == waited_s:
                break
            waited_s = again_s
        return found, waited_s

    def _walk(self, pid: int, parent: _Key | None, found: dict[_Key, _Seen]) -> None:
        for child in self._kernel.children(pid):
            process = self._kernel.process(child)
            if process is not None and (child, process.started) not in found:
                key = child, process.started
                found[key] = _Seen(parent, process.cpu_s, process.waited_s)
                self._walk(child, key, found)


def descendants(pid: int, kernel: Kernel | None = None) -> set[int]:
    """Ids of all processes below `pid`, as far as the kernel tells."""
    kernel = kernel or ThisKernel()
    found: set[int] = set()
    open_: list[int] = [pid]
    while open_:
        new = set(kernel.children(open_.pop())) - found
        found |= new
        open_ += new
    return found
