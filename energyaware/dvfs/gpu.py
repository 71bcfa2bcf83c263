"""One NVIDIA GPU as the two GPU knobs see it: Zeus sets and reads, NVML tells what Zeus does not."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from energyaware.errors import KnobError, KnobUnavailableError

# The work of others that NVML hides from a container still shows in the utilisation.
_BUSY_PERCENT = 5

_INSTALL = 'pip install "energyaware[gpu]"'
PERMISSION = (
    "run as root, or let the Zeus daemon do it: start `sudo zeusd serve` and set ZEUSD_SOCK_PATH (see Zeus, `System "
    "privileges`); in a container, add the capability SYS_ADMIN"
)


def find_gpus() -> tuple[Any, Any]:
    """Zeus' `GPUs` and the module `pynvml`.

    Raises:
        KnobUnavailableError: no Zeus, or no NVIDIA GPU.
    """
    try:
        nvml = importlib.import_module("pynvml")
        # Zeus imports NVML's package whatever the GPU; its own part comes second.
        devices = importlib.import_module("zeus.device")
    except ImportError as error:
        raise KnobUnavailableError(f"zeus cannot be imported ({error})", _INSTALL) from error
    try:
        return devices.get_gpus(), nvml
    except Exception as error:  # MIG, UUIDs instead of numbers, drivers: each has its own class
        raise KnobUnavailableError(
            f"Zeus finds no GPU here ({type(error).__name__}: {error})", "see nvidia-smi and CUDA_VISIBLE_DEVICES"
        ) from error


def _own_processes() -> set[int]:
    return {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}


def _uses_cuda() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        gpus: Zeus' `GPUs`.
        nvml: the module `pynvml`.
        index: among the visible GPUs, as torch counts them.
        own_processes: ids of this process and its children.
        uses_cuda: whether this process has opened CUDA, and so is listed by NVML itself.
        exists: whether a process id is one of this machine as seen from here.
    """

    gpus: Any
    nvml: Any
    index: int
    own_processes: Callable[[], set[int]] = _own_processes
    uses_cuda: Callable[[], bool] = _uses_cuda
    exists: Callable[[int], bool] = lambda pid: Path(f"/proc/{pid}").exists()

    @property
    def handle(self) -> Any:
        """NVML's handle, which Zeus holds."""
        return self.gpus.gpus[self.index].handle

    @property
    def uuid(self) -> str:
        """What names this GPU whatever is visible.

        Raises:
            KnobError: NVML does not answer.
        """
        found = self.ask(lambda: self.nvml.nvmlDeviceGetUUID(self.handle))
        return found.decode() if isinstance(found, bytes) else str(found)

    def ask(self, call: Callable[[], Any]) -> Any:
        """Call Zeus or NVML.

        Raises:
            KnobUnavailableError: not permitted, or not supported by this GPU.
            KnobError: any other fault.
        """
        try:
            return call()
        except Exception as error:
            # Told apart by name: importing Zeus' classes takes seconds, and NVML's are made when it is loaded.
            kind = type(error).__name__
            if "NoPermission" in kind:
                raise KnobUnavailableError(
                    f"the driver does not let this user set the GPU ({error})", PERMISSION
                ) from error
            if "NotSupported" in kind or "FunctionNotFound" in kind:
                raise KnobUnavailableError(
                    f"this GPU does not support it ({error})", "use another knob or GPU"
                ) from error
            raise KnobError(f"the GPU refused ({kind}: {error})", "see nvidia-smi") from error

    def may_be_set(self) -> None:
        """Check that this GPU is whole and nobody else uses it.

        Raises:
            KnobUnavailableError: it is split by MIG.
            KnobError: other processes use it.
        """
        nvml, handle = self.nvml, self.handle
        if self._split():
            raise KnobUnavailableError(
                f"GPU {self.index} is split by MIG: its clock and power belong to all slices", "use a whole GPU"
            )
        compute = self.ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        graphics = self.ask(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
        listed = {int(process.pid) for process in (*compute, *graphics)}
        own = self.own_processes()
        foreign = listed - own
        unknown = {pid for pid in foreign if not self.exists(pid)}
        if self.uses_cuda() and len(unknown) == 1 and not listed & own:
            foreign -= unknown  # in a container NVML gives ids of the host: this one is ours
        if foreign:
            raise KnobError(
                f"GPU {self.index} is used by other processes too ({', '.join(map(str, sorted(foreign)))})",
                "a sweep would slow them down: end them, or take a GPU that nobody else uses",
            )
        if not self.uses_cuda():
            busy = int(self.ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle)).gpu)
            if busy > _BUSY_PERCENT:
                raise KnobError(
                    f"GPU {self.index} is {busy} % busy although this process does not use it yet",
                    "somebody whom NVML does not show here works on it: take a GPU that nobody else uses",
                )

    def _split(self) -> bool:
        try:
            current, _pending = self.nvml.nvmlDeviceGetMigMode(self.handle)
        except self.nvml.NVMLError:  # GPUs without MIG
            return False
        return bool(current == self.nvml.NVML_DEVICE_MIG_ENABLE)

    def running_mhz(self) -> float | None:
        """Clock of the multiprocessors now, in MHz; None where NVML does not tell."""
        try:
            return float(self.nvml.nvmlDeviceGetClockInfo(self.handle, self.nvml.NVML_CLOCK_SM))
        except self.nvml.NVMLError:
            return None


def open_gpu(index: int, find: Callable[[], tuple[Any, Any]] = find_gpus) -> Gpu:
    """The GPU of that index among the visible ones.

    Raises:
        KnobUnavailableError: no such NVIDIA GPU.
    """
    gpus, nvml = find()
    if not 0 <= index < len(gpus):
        raise KnobUnavailableError(
            f"GPU {index} is not visible: this process sees {len(gpus)}", "see CUDA_VISIBLE_DEVICES and --energy-device"
        )
    if not type(gpus.gpus[index]).__module__.endswith("nvidia"):
        raise KnobUnavailableError("only NVIDIA GPUs can be swept", "sweep the CPU, or use an NVIDIA GPU")
    return Gpu(gpus, nvml, index)


def gpu_of(uuid: str, find: Callable[[], tuple[Any, Any]] = find_gpus) -> Gpu:
    """The visible GPU of that UUID.

    Raises:
        KnobUnavailableError: it is not visible.
    """
    gpus, _nvml = find()
    for index in range(len(gpus)):
        gpu = open_gpu(index, find)
        if gpu.uuid == uuid:
            return gpu
    raise KnobUnavailableError(f"the GPU {uuid} is not visible to this process", "see CUDA_VISIBLE_DEVICES")
