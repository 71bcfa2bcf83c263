"""`zeus`: measured joules from hardware counters, read by Zeus (NVIDIA and AMD GPUs, RAPL, Apple silicon, Jetson)."""

from __future__ import annotations

import itertools
import platform
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from energyaware.errors import MeterError
from energyaware.records import Domain

# NVML's total-energy counter moves every 20-100 ms, RAPL's about every 1 ms.
GPU_RESOLUTION_S = 0.1
RAPL_RESOLUTION_S = 0.001
SOC_RESOLUTION_S = 0.1

_INSIDE_CPU_TOTAL = frozenset({"efficiency_core_manager_mj", "performance_core_manager_mj"})

INSTALL = 'pip install "energyaware[gpu]"'


def counters_in_sight(root: Path = Path("/")) -> bool:
    """Whether this machine shows any counter at all: a cheap look, since importing Zeus takes seconds."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    looks = ("dev/nvidia0", "dev/nvidiactl", "dev/kfd", "sys/class/powercap/intel-rapl:0", "dev/dxg")
    return any((root / look).exists() for look in looks)


def _torch_holds_cuda() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _monitor() -> Any:
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError as error:
        raise MeterError(f"zeus cannot be imported ({error})", INSTALL) from error
    try:
        return ZeusMonitor(approx_instant_energy=False)
    except Exception as error:
        raise MeterError(f"Zeus found no usable counter ({error})", "use --energy-meter=cpu-time") from error


def energies(measurement: Any) -> dict[str, float]:
    """Joules per domain out of a Zeus `Measurement`; a domain that Zeus does not read is left out.

    Apple and Jetson report parts of one chip in millijoules: its total, else all parts together, are the domain `soc`.
    """
    energy_j = {f"gpu{index}": float(value) for index, value in measurement.gpu_energy.items()}
    # One package needs no number; several do.
    for kind, values in (("cpu", measurement.cpu_energy), ("dram", measurement.dram_energy)):
        for index, value in (values or {}).items():
            energy_j[kind if len(values) == 1 else f"{kind}{index}"] = float(value)
    if measurement.soc_energy is not None:
        parts = {item.name: getattr(measurement.soc_energy, item.name) for item in fields(measurement.soc_energy)}
        # Jetson's total holds its CPU and GPU; Apple's CPU total holds the managers of its cores.
        names = ["total_energy_mj"] if parts.get("total_energy_mj") is not None else parts.keys() - _INSIDE_CPU_TOTAL
        known = [parts[name] for name in names if isinstance(parts[name], int | float)]
        if known:
            energy_j["soc"] = sum(known) / 1000
    return energy_j


class ZeusMeter:
    """Measures whatever Zeus can read here.

    Args:
        monitor: makes the `ZeusMonitor`; tests put a fake in its place.

    Raises:
        MeterError: Zeus is not installed, or no counter can be read.
    """

    name = "zeus"
    nests = True

    def __init__(self, monitor: Callable[[], Any] = _monitor) -> None:
        self._monitor = monitor()
        self._keys = itertools.count()
        self.domains: Mapping[str, Domain] = {}
        found = self.stop(self.start())
        self.domains = {domain: Domain(self.name, "measured", _resolution_s(domain), "counter") for domain in found}
        if not self.domains:
            raise MeterError(
                "Zeus reads no energy counter on this machine (no supported GPU, RAPL not readable, no SoC counter)",
                "use --energy-meter=cpu-time for an estimate; RAPL needs read access to /sys/class/powercap",
            )

    def start(self) -> str:
        """Open a window, after the GPU has finished what was asked of it."""
        key = f"energyaware-{next(self._keys)}"
        self._ask(lambda: self._monitor.begin_window(key, sync_execution=_torch_holds_cuda()))
        return key

    def stop(self, mark: str) -> dict[str, float]:
        """Close the window, after the GPU has finished."""
        return energies(self._ask(lambda: self._monitor.end_window(mark, sync_execution=_torch_holds_cuda())))

    def close(self) -> None:
        """Zeus releases its devices with the process."""

    @staticmethod
    def _ask(call: Callable[[], Any]) -> Any:
        try:
            with warnings.catch_warnings():
                # Zeus warns of every zero; ours are counted, and a user's -W error must not make them a fault.
                warnings.filterwarnings("ignore", "The energy consumption of one or more GPUs was measured as zero")
                return call()
        except Exception as error:
            raise MeterError(
                f"a hardware counter stopped answering ({type(error).__name__}: {error})",
                "see whether the device is still there (nvidia-smi); finished benchmarks are kept",
            ) from error


def _resolution_s(domain: str) -> float:
    if domain.startswith("gpu"):
        return GPU_RESOLUTION_S
    return SOC_RESOLUTION_S if domain == "soc" else RAPL_RESOLUTION_S
