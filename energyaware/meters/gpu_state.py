"""What NVIDIA GPUs do besides the work: temperature, clock, other processes. Read from NVML."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energyaware.errors import MeterError
from energyaware.meters.process_tree import descendants
from energyaware.meters.ranks import own_gpus, visible_gpus


@dataclass(frozen=True, slots=True)
class GpuState:
    """State of the GPUs in use; None where none of them tells.

    Attributes:
        temperature_c: of the hottest.
        sm_clock_mhz: of the slowest.
        foreign_processes: ids of compute processes on them that are neither this one nor one that it started. Inside a
            container NVML gives ids of the host, where this process cannot be told from others: a single id is then
            taken for this process, and of several one may be.
    """

    temperature_c: float | None
    sm_clock_mhz: float | None
    foreign_processes: tuple[int, ...] = ()


def _own_processes() -> set[int]:
    return {os.getpid(), *descendants(os.getpid())}


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class GpuStateReader:
    """Reads the state of some GPUs when called. A fault is a None field, never an exception.

    Args:
        nvml: the module `pynvml`, initialised.
        handles: NVML's handles of the GPUs.
    """

    def __init__(
        self,
        nvml: Any,
        handles: Sequence[Any],
        own_processes: Callable[[], set[int]] = _own_processes,
        exists: Callable[[int], bool] = _exists,
    ) -> None:
        self._nvml, self._handles = nvml, tuple(handles)
        self._own_processes, self._exists = own_processes, exists

    def __call__(self) -> GpuState:
        """The state now."""
        nvml = self._nvml
        temperatures = self._each(lambda handle: nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU))
        clocks = self._each(lambda handle: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        running = self._each(lambda handle: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return GpuState(
            float(max(temperatures)) if temperatures else None,
            float(min(clocks)) if clocks else None,
            self._foreign({int(process.pid) for processes in running for process in processes}),
        )

    def _each(self, ask: Callable[[Any], Any]) -> list[Any]:
        found = []
        for handle in self._handles:
            # Beside NVML's own errors: a function that the installed driver or library lacks.
            with contextlib.suppress(self._nvml.NVMLError, AttributeError):
                found.append(ask(handle))
        return found

    def _foreign(self, running: set[int]) -> tuple[int, ...]:
        own = self._own_processes()
        others = running - own
        unknown = {pid for pid in others if not self._exists(pid)}
        if len(unknown) == 1 and not running & own:
            others -= unknown
        return tuple(sorted(others))

    def close(self) -> None:
        """Give NVML back."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()


def open_gpu_state(
    gpus: Sequence[int] | None = None, environ: Mapping[str, str] = os.environ, nvml: Any = None
) -> GpuStateReader | None:
    """A reader for the GPUs in use; None where there is no NVML (no NVIDIA GPU, AMD) or no visible GPU.

    Args:
        gpus: indices among the visible GPUs; None for all, or the one of this rank.
        nvml: the module `pynvml`; tests put a fake in its place.
    """
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        visible = visible_gpus(environ)
        names: Sequence[int | str] = range(nvml.nvmlDeviceGetCount()) if visible is None else visible
        handles = [_handle(nvml, names[index]) for index in own_gpus(len(names), environ, gpus)]
    except (nvml.NVMLError, MeterError, ValueError):
        handles = []
    reader = GpuStateReader(nvml, handles)
    if not handles:
        reader.close()
        return None
    return reader


def _handle(nvml: Any, name: int | str) -> Any:
    """The GPU of a number or UUID; a slice of MIG stands for the GPU that holds it."""
    if isinstance(name, int) or name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    handle = nvml.nvmlDeviceGetHandleByUUID(name)
    if name.startswith("MIG"):
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    return handle
