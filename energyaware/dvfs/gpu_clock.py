"""`gpu-clock`: the locked clock of one NVIDIA GPU.

NVML can set a lock and take it off, but not tell what is locked. So a lock that stood before cannot be put back: where
the GPU shows that its clocks are limited by a setting, the knob is refused, and else the clock is unlocked at the end.
"""

from __future__ import annotations

import contextlib

from energyaware.dvfs.gpu import Gpu
from energyaware.dvfs.knob import Offer, State
from energyaware.errors import KnobError

GRID_MHZ = 15.0
SETTLE_S = 0.5
UNLOCKED = 0


class GpuClock:
    """Locks the clock of a GPU."""

    name = "gpu-clock"
    unit = "MHz"
    settle_s = SETTLE_S

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.domain = f"gpu{gpu.index}"

    def ready(self) -> None:
        """Check that nobody else uses the GPU, and that its clock is not locked already.

        Raises:
            KnobUnavailableError: split by MIG.
            KnobError: used by others, or its clocks are limited by a setting that could not be put back.
        """
        self._gpu.may_be_set()
        nvml = self._gpu.nvml
        reasons = 0
        # Older drivers do not tell, and nothing else does.
        with contextlib.suppress(nvml.NVMLError, AttributeError):
            reasons = int(nvml.nvmlDeviceGetCurrentClocksEventReasons(self._gpu.handle))
        if reasons & int(nvml.nvmlClocksEventReasonApplicationsClocksSetting):
            raise KnobError(
                f"the clocks of GPU {self._gpu.index} are limited by a setting; NVML does not tell which, so it could "
                "not be put back",
                "take it off first (nvidia-smi -rgc, nvidia-smi -rac), and set it again afterwards",
            )

    def offer(self) -> Offer:
        """The clocks that go with the fastest memory clock.

        Raises:
            KnobError: the GPU does not tell.
        """
        gpus, index = self._gpu.gpus, self._gpu.index
        memory_mhz = max(self._gpu.ask(lambda: gpus.get_supported_memory_clocks(index)))
        clocks = self._gpu.ask(lambda: gpus.get_supported_graphics_clocks(index, memory_mhz))
        choices = tuple(sorted(float(clock) for clock in clocks))
        return Offer(choices[0], choices[-1], choices[0], GRID_MHZ, choices)

    def state(self) -> State:
        """Unlocked: `ready` has refused what may be something else."""
        return {self._gpu.uuid: UNLOCKED}

    def set(self, setting: float) -> None:
        """Lock the clock at `setting` MHz.

        Raises:
            KnobUnavailableError: not permitted or not supported.
            KnobError: others use the GPU by now, or the driver refused it.
        """
        self._gpu.may_be_set()
        clock = round(setting)
        self._gpu.ask(lambda: self._gpu.gpus.set_gpu_locked_clocks(self._gpu.index, clock, clock))

    def in_force(self) -> float | None:
        """Nothing: NVML does not tell what is locked."""
        return None

    def running_mhz(self) -> float | None:
        """Clock of the multiprocessors now, in MHz."""
        return self._gpu.running_mhz()

    def restore(self, state: State) -> None:
        """Unlock the clock.

        Raises:
            KnobError: the state is of another GPU or says something else (nothing is set), or the driver refused it.
        """
        if dict(state) != {self._gpu.uuid: UNLOCKED}:
            raise KnobError(f"{dict(state)!r} is no state of the clock of GPU {self._gpu.uuid}", "nothing was set")
        try:
            self._gpu.ask(lambda: self._gpu.gpus.reset_gpu_locked_clocks(self._gpu.index))
        except KnobError as error:
            raise KnobError(
                f"the clock of GPU {self._gpu.index} could not be unlocked: {error.cause}",
                f"as root: nvidia-smi -i {self._gpu.uuid} -rgc",
            ) from error
