"""What else the machine did during a round: CPU time stolen or spent by others, and the state of its GPUs.

    share = CPU time of others between two looks / CPU time of all cores between them

Linux counts this per core in ticks of 10 ms, so a round shorter than a few ticks cannot tell; `RoundState` then says
None. Elsewhere only the GPU is looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from energyaware.records import RoundState

# Shares finer than one tick in this many are not told.
MIN_TICKS = 20


class GpuLook(Protocol):
    """State of the GPUs in use, as `energyaware.meters.gpu_state` reads it."""

    @property
    def temperature_c(self) -> float | None: ...

    @property
    def sm_clock_mhz(self) -> float | None: ...

    @property
    def foreign_processes(self) -> tuple[int, ...]: ...


class _Ticks(NamedTuple):
    all: float
    busy: float
    steal: float
    own: float


class Observer:
    """Looks at the machine at the start and the end of a round.

    Args:
        gpu: reads the GPUs' state; None without one.
        stat: the kernel's account of CPU time.
    """

    def __init__(self, gpu: Callable[[], GpuLook] | None = None, stat: Path = Path("/proc/stat")) -> None:
        self._gpu = gpu
        self._before: _Ticks | None = None
        try:
            # Kept open: opening it anew costs four times what reading does. It is closed with the process.
            self._stat: int | None = os.open(stat, os.O_RDONLY)
            self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        except OSError:
            self._stat = None

    def start(self) -> None:
        """Remember how things stand."""
        self._before = self._look()

    def stop(self) -> RoundState:
        """What happened since `start`."""
        before, now = self._before, self._look()
        steal = others = None
        if before is not None and now is not None and now.all - before.all >= MIN_TICKS:
            whole = now.all - before.all
            steal = min(max(now.steal - before.steal, 0.0) / whole, 1.0)
            # Our own time is exact and theirs counts in ticks: a difference below zero is rounding.
            others = min(max((now.busy - before.busy) - (now.own - before.own), 0.0) / whole, 1.0)
        if self._gpu is None:
            return RoundState(steal, others)
        look = self._gpu()
        return RoundState(steal, others, look.temperature_c, look.sm_clock_mhz, look.foreign_processes)

    def _look(self) -> _Ticks | None:
        if self._stat is None:
            return None
        try:
            # cpu user nice system idle iowait irq softirq steal; the time of guests is in `user` already.
            fields = os.pread(self._stat, 256, 0).split(b"\n", 1)[0].split()[1:9]
            user, nice, system, idle, iowait, irq, softirq, steal = map(float, fields)
        except (OSError, ValueError):
            return None
        times = os.times()
        own = (time.process_time() + times.children_user + times.children_system) * self._ticks_per_s
        busy = user + nice + system + irq + softirq
        return _Ticks(busy + idle + iowait + steal, busy, steal, own)
