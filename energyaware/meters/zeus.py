"""`zeus`: measured joules of NVIDIA and AMD GPUs and of Apple and Jetson chips, from hardware counters that Zeus reads.

The counter of a GPU moves in steps of 20-100 ms, so a window that begins and ends anywhere is wrong by up to a step at
each end. Windows opened with `start_on_tick` wait for a step (the GPU is idle meanwhile), and at their end synchronise
and wait for the next one. What was spent while waiting is taken off at the idle power where that is known
(`know_idle`), else left in. The error that remains is (real power while waiting - idle power taken off) × at most one
step (two with several GPUs, whose steps do not fall together); with ten steps in a window and one GPU that draws a
third of its load while it waits, that is at most 3.3 %, and 1.7 % on average. Other windows, such as named ones inside
the workload, do not wait and may be wrong by a step at each end.

Zeus' own windows are not used: they sample old GPUs that have no counter from a process beside, which is an estimate
under the name of a measurement, and they read RAPL, which `rapl` reads with fewer faults (see there).
"""

from __future__ import annotations

import importlib
import itertools
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from energyaware.errors import MeterError
from energyaware.meters.ranks import own_gpus, reads_machine, visible_gpus
from energyaware.records import Domain

# Apple's counters are sums that move with every read; Jetson's power is sampled every 100 ms.
SOC_RESOLUTION_S = 0.1
# A fifth of a step: windows of 50 resolutions are then ten steps long.
STEP_SHARE = 0.2
# A counter that stands still for so long does not count. The slowest known moves every 100 ms.
LONGEST_STEP_S = 1.0
_POLL_S = 0.001

_INSIDE_CPU_TOTAL = frozenset({"efficiency_core_manager_mj", "performance_core_manager_mj"})

INSTALL = 'pip install "energyaware[gpu]"'
_ESTIMATE = "use --energy-meter=cpu-time for an estimate of the CPU"


def counters_in_sight(root: Path = Path("/")) -> bool:
    """Whether this machine shows a GPU or chip that Zeus may read: a cheap look, since importing Zeus takes seconds."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    looks = ("dev/nvidia0", "dev/nvidiactl", "dev/kfd", "dev/dxg", "etc/nv_tegra_release")
    return any((root / look).exists() for look in looks)


class Devices(NamedTuple):
    """What Zeus found.

    Attributes:
        gpus: a Zeus `GPUs`, None without one.
        soc: a Zeus `SoC`, None without one.
        problem: why there is no GPU.
    """

    gpus: Any
    soc: Any
    problem: str = ""


def find_devices(environ: Mapping[str, str]) -> Devices:
    """Ask Zeus for its devices.

    Raises:
        MeterError: Zeus cannot be imported.
    """
    try:
        from zeus.device import get_gpus, get_soc
        from zeus.device.soc.common import ZeusSoCInitError
    except ImportError as error:
        raise MeterError(f"zeus cannot be imported ({error})", INSTALL) from error
    gpus, problem = None, "no GPU is visible to this process"
    if visible_gpus(environ) != ():
        try:
            gpus = get_gpus()
        except Exception as error:  # noqa: BLE001 - MIG, UUIDs instead of numbers, drivers: each has its own class
            problem = f"{type(error).__name__}: {error}"
    try:
        soc = get_soc()
    except ZeusSoCInitError:
        soc = None
    return Devices(gpus, soc, problem)


def synchronize(indices: Sequence[int]) -> None:
    """Wait until the GPUs have finished what torch asked of them. Never loads torch."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for index in indices:
            torch.cuda.synchronize(index)


def soc_energy_j(measurement: Any) -> float | None:
    """Joules of a whole chip out of a Zeus `SoCMeasurement`, whose parts are in millijoules; None where it has none.

    Its total, else all parts together: Jetson's total holds its CPU and GPU, Apple's CPU total the managers of its
    cores.
    """
    parts = {item.name: getattr(measurement, item.name) for item in fields(measurement)}
    names = ["total_energy_mj"] if parts.get("total_energy_mj") is not None else parts.keys() - _INSIDE_CPU_TOTAL
    known = [parts[name] for name in names if isinstance(parts[name], int | float)]
    return sum(known) / 1000 if known else None


class _Step(NamedTuple):
    """A GPU's counter and when it was read: at a step of it, where the window waits for one."""

    energy_j: float
    time_s: float


@dataclass(frozen=True, slots=True)
class _Mark:
    on_tick: bool
    started_s: float
    steps: Mapping[int, _Step]
    soc: str


class ZeusMeter:
    """Measures one domain per GPU (`gpu0`, as torch numbers them) or `soc`.

    Args:
        gpus: GPUs that the run uses; None for all that this process sees, or the one of its rank.
        find: asks Zeus for devices; tests put fakes in its place.
        sync: waits for the GPUs.
        clock: stands for the module `time`.
        environ: tells the rank and the visible devices.

    Attributes:
        left_out: devices that are there but not read, each with the reason.
        covers_cpu: whether its domains hold the CPU already: a whole chip, or a Grace Hopper module.

    Raises:
        MeterError: Zeus is not installed, or no counter can be read.
    """

    name = "zeus"
    nests = True

    def __init__(
        self,
        gpus: Sequence[int] | None = None,
        *,
        find: Callable[[Mapping[str, str]], Devices] = find_devices,
        sync: Callable[[Sequence[int]], None] = synchronize,
        clock: Any = time,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        found = find(environ)
        self._idle_w: dict[str, float] = {}
        self._devices, self._sync, self._clock = found, sync, clock
        self._keys = itertools.count()
        self.domains: dict[str, Domain] = {}
        self.left_out: dict[str, str] = {}
        self.covers_cpu = False
        count = 0 if found.gpus is None else self._ask(lambda: len(found.gpus))
        # Without a counter to be had a wanted device is no fault: the CPU is then estimated.
        indices = own_gpus(count, environ, gpus) if count else ()
        counting = tuple(index for index in indices if self._counts(index))
        self._gpus = self._open_gpus(counting)
        self._soc: Any = found.soc if reads_machine(environ) else None
        if self._soc is not None:
            self._open_soc()
        if not self.domains:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
            raise MeterError(f"Zeus reads no energy counter here ({reasons or found.problem})", _ESTIMATE)

    def _counts(self, index: int) -> bool:
        gpus = self._devices.gpus
        if not self._ask(lambda: gpus.supports_get_total_energy_consumption(index)):
            self.left_out[f"gpu{index}"] = "it has no energy counter (older than Volta, or the second die of a pair)"
            return False
        if self._ask(lambda: split_by_mig(gpus.gpus[index])):
            self.left_out[f"gpu{index}"] = "it is split by MIG, and its counter holds the slices of others too"
            return False
        return True

    def _open_gpus(self, indices: tuple[int, ...]) -> tuple[int, ...]:
        """See each counter move, which tells how far its steps are apart."""
        first = self._next_steps(indices)
        second = self._next_steps(tuple(first))
        for index in indices:
            domain = f"gpu{index}"
            if index not in second:
                self.left_out[domain] = f"its counter stood still for {LONGEST_STEP_S:g} s"
                continue
            step_s = second[index].time_s - first[index].time_s
            module = bool(getattr(self._devices.gpus.gpus[index], "_is_grace_hopper", False))
            self.covers_cpu |= module
            detail = "counter of the whole module with its CPU" if module else "counter"
            self.domains[domain] = Domain(self.name, "measured", max(STEP_SHARE * step_s, _POLL_S), detail)
        return tuple(second)

    def _open_soc(self) -> None:
        key = self._begin_soc()
        if self._end_soc(key) is not None:
            self.domains["soc"] = Domain(self.name, "measured", SOC_RESOLUTION_S, "counter")
            self.covers_cpu = True
        else:
            self._soc = None

    def know_idle(self, idle_w: Mapping[str, float]) -> None:
        """Take these watts, by domain, off for the time that a window waits for a step."""
        self._idle_w = dict(idle_w)

    def start(self) -> _Mark:
        """Open a window at once, after the GPUs have finished what was asked of them.

        Raises:
            MeterError: a device stopped answering.
        """
        self._wait_for_gpus()
        soc = self._begin_soc()
        return _Mark(False, self._clock.perf_counter(), self._read(self._gpus), soc)

    def start_on_tick(self) -> _Mark:
        """Open a window at a step of the counters: up to a step later.

        Raises:
            MeterError: a device stopped answering.
        """
        self._wait_for_gpus()
        steps = self._next_steps(self._gpus)
        soc = self._begin_soc()
        return _Mark(True, self._clock.perf_counter(), steps, soc)

    def stop(self, mark: _Mark) -> dict[str, float]:
        """Close the window after the GPUs have finished. A GPU whose counter stood still is left out.

        Raises:
            MeterError: a device stopped answering.
        """
        self._wait_for_gpus()
        ended_s = self._clock.perf_counter()
        soc_j = self._end_soc(mark.soc)
        steps = self._next_steps(tuple(mark.steps)) if mark.on_tick else self._read(tuple(mark.steps))
        energy_j = {} if soc_j is None else {"soc": soc_j}
        for index, end in steps.items():
            domain, begin = f"gpu{index}", mark.steps[index]
            waited_s = (mark.started_s - begin.time_s) + (end.time_s - ended_s) if mark.on_tick else 0.0
            energy_j[domain] = end.energy_j - begin.energy_j - waited_s * self._idle_w.get(domain, 0.0)
        return energy_j

    def close(self) -> None:
        """Zeus releases its devices with the process."""

    def _wait_for_gpus(self) -> None:
        if self._gpus:
            self._ask(lambda: self._sync(self._gpus))

    def _read(self, indices: Sequence[int]) -> dict[int, _Step]:
        return {index: _Step(self._energy_j(index), self._clock.perf_counter()) for index in indices}

    def _energy_j(self, index: int) -> float:
        return float(self._ask(lambda: self._devices.gpus.get_total_energy_consumption(index))) / 1000

    def _next_steps(self, indices: tuple[int, ...]) -> dict[int, _Step]:
        """Each counter at its next step; one that stands still is left out."""
        before = self._read(indices)
        until_s = self._clock.perf_counter() + LONGEST_STEP_S
        steps: dict[int, _Step] = {}
        while len(steps) < len(indices) and self._clock.perf_counter() < until_s:
            self._clock.sleep(_POLL_S)
            now = self._read([index for index in indices if index not in steps])
            steps |= {index: step for index, step in now.items() if step.energy_j != before[index].energy_j}
        return {index: steps[index] for index in indices if index in steps}

    def _begin_soc(self) -> str:
        key = f"energyaware-{next(self._keys)}"
        if self._soc is not None:
            self._ask(lambda: self._soc.begin_window(key))
        return key

    def _end_soc(self, key: str) -> float | None:
        return None if self._soc is None else soc_energy_j(self._ask(lambda: self._soc.end_window(key)))

    @staticmethod
    def _ask(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise MeterError(
                f"a hardware counter stopped answering ({type(error).__name__}: {error})",
                "see whether the device is still there (nvidia-smi, amd-smi); finished benchmarks are kept",
            ) from error


def split_by_mig(gpu: Any) -> bool:
    """Whether a Zeus GPU is an NVIDIA one in MIG mode. Its counter holds all slices, and no slice has its own."""
    if not type(gpu).__module__.endswith("nvidia"):
        return False
    pynvml = importlib.import_module("pynvml")
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(gpu.handle)
    except pynvml.NVMLError:  # GPUs without MIG
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)
