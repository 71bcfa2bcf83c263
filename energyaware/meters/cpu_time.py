"""`cpu-time`: an estimate from the CPU seconds of the process and all that it started.

    energy = power per core × CPU seconds (`process_tree`) + DRAM power × wall seconds

It has nanosecond resolution and does not see other processes. It is seconds times a constant: it sees no AMX, dtype or
frequency power, so it can neither judge DVFS nor tell two instructions of equal length apart. Children that live are
seen on Linux only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from energyaware.meters.process_tree import ProcessTree
from energyaware.records import Domain

# Linux's clocks tick in nanoseconds, but the scheduler charges a running thread when it is asked or preempted; what two
# reads 1 µs apart show is the time the reads themselves take.
RESOLUTION_S = 1e-6
DOMAINS = ("cpu", "dram")


class CorePower(NamedTuple):
    """Watts of one busy core, of the whole DRAM, and where both come from."""

    core_w: float
    dram_w: float
    core_origin: str
    dram_origin: str


class _Mark(NamedTuple):
    cpu_s: float
    wall_s: float


class CpuTimeMeter:
    """Estimates the domains `cpu` and `dram`.

    Args:
        domains: which of the two, where a counter reads the other.
        tree: adds up CPU seconds.
    """

    name = "cpu-time"
    nests = True

    def __init__(self, power: CorePower, domains: Sequence[str] = DOMAINS, tree: ProcessTree | None = None) -> None:
        self.power = power
        self._tree = tree or ProcessTree()
        details = {
            "cpu": f"{power.core_w:g} W per core: {power.core_origin}",
            "dram": f"{power.dram_w:g} W: {power.dram_origin}",
        }
        self.domains = {name: Domain(self.name, "estimated", RESOLUTION_S, details[name]) for name in domains}

    def start(self) -> _Mark:
        """Read both clocks, CPU time last: it ends nearest to the work."""
        wall_s = time.perf_counter()
        return _Mark(self._tree.cpu_s(), wall_s)

    def stop(self, mark: _Mark) -> dict[str, float]:
        """Joules since `mark`."""
        cpu_s = self._tree.cpu_s() - mark.cpu_s
        wall_s = time.perf_counter() - mark.wall_s
        energy_j = {"cpu": cpu_s * self.power.core_w, "dram": wall_s * self.power.dram_w}
        return {name: energy_j[name] for name in self.domains}

    def close(self) -> None:
        """Nothing to release."""


def is_virtual_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the kernel sees a hypervisor (Linux; elsewhere False)."""
    try:
        return " hypervisor" in cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def core_power(core_watts: float | None) -> CorePower:
    """Watts for this machine: the user's, else CodeCarbon's CPU table, else CodeCarbon's default per thread.

    The table gives the TDP of a whole socket. A virtual machine sees only some of the socket's cores, so dividing by
    what it sees would blame a whole server on them: there the default is used.
    """
    from energyaware.meters.codecarbon import quiet

    with quiet():
        from codecarbon.core import cpu
        from codecarbon.external.ram import RAM

    dram_w = float(RAM(tracking_mode="process").total_power().W)
    dram_origin = "CodeCarbon's model of memory modules, process mode"
    if core_watts is not None:
        return CorePower(core_watts, dram_w, "--energy-core-watts", dram_origin)
    default_w = float(cpu.DEFAULT_POWER_PER_CORE)
    if is_virtual_machine():
        return CorePower(default_w, dram_w, "CodeCarbon's default, as this is a virtual machine", dram_origin)
    import psutil

    found = cpu.TDP()
    threads = psutil.cpu_count() or 1
    if found.tdp is None or found.tdp == threads * default_w:
        return CorePower(default_w, dram_w, f"CodeCarbon's default, as its table lacks {found.model}", dram_origin)
    cores = psutil.cpu_count(logical=False) or threads
    origin = f"CodeCarbon's table, {found.model} at {found.tdp:g} W / {cores} cores"
    return CorePower(found.tdp / cores, dram_w, origin, dram_origin)
