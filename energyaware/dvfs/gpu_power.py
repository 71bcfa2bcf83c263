"""`gpu-power`: the power limit of one NVIDIA GPU. It is only ever lowered: never above what was set before."""

from __future__ import annotations

from energyaware.dvfs.gpu import Gpu
from energyaware.dvfs.knob import Offer, State
from energyaware.errors import KnobError

GRID_W = 5.0
SETTLE_S = 1.0
_MW = 1000.0
_TAKEN_MW = 1000


class GpuPower:
    """Limits the power of a GPU."""

    name = "gpu-power"
    unit = "W"
    settle_s = SETTLE_S

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.domain = f"gpu{gpu.index}"

    def _limits_mw(self) -> tuple[int, int]:
        low, high = self._gpu.ask(lambda: self._gpu.gpus.get_power_management_limit_constraints(self._gpu.index))
        return int(low), int(high)

    def _limit_mw(self) -> int:
        return int(self._gpu.ask(lambda: self._gpu.gpus.get_power_management_limit(self._gpu.index)))

    def _set_mw(self, limit_mw: int) -> None:
        self._gpu.ask(lambda: self._gpu.gpus.set_power_management_limit(self._gpu.index, limit_mw))

    def ready(self) -> None:
        """Check that nobody else uses the GPU.

        Raises:
            KnobUnavailableError: split by MIG.
            KnobError: used by others.
        """
        self._gpu.may_be_set()

    def offer(self) -> Offer:
        """From the least that the GPU takes up to the limit now set.

        Raises:
            KnobUnavailableError: this GPU has no power limit.
            KnobError: the GPU does not tell.
        """
        low, high = self._limits_mw()
        top = min(high, self._limit_mw()) / _MW
        return Offer(low / _MW, top, low / _MW, GRID_W)

    def state(self) -> State:
        """The limit in mW, by the GPU's UUID.

        Raises:
            KnobError: the GPU does not tell.
        """
        return {self._gpu.uuid: self._limit_mw()}

    def set(self, setting: float) -> None:
        """Limit the power to `setting` watts.

        Raises:
            KnobUnavailableError: not permitted or not supported.
            KnobError: others use the GPU by now, or the driver refused it or took something else.
        """
        self._gpu.may_be_set()
        wanted = round(setting * _MW)
        self._set_mw(wanted)
        got = self._limit_mw()
        if abs(got - wanted) > _TAKEN_MW:
            raise KnobError(
                f"the power limit of GPU {self._gpu.index} stands at {got / _MW:g} W where {setting:g} W was set",
                "give a setting within its limits (nvidia-smi -q -d POWER)",
            )

    def in_force(self) -> float | None:
        """The limit that the GPU says, in watts.

        Raises:
            KnobError: the GPU does not tell.
        """
        return self._limit_mw() / _MW

    def running_mhz(self) -> float | None:
        """Clock of the multiprocessors now, in MHz: what the limit left of it."""
        return self._gpu.running_mhz()

    def restore(self, state: State) -> None:
        """Set the limit as it was.

        Raises:
            KnobError: the state is of another GPU or outside its limits (nothing is set), or the driver refused it.
        """
        wanted = state.get(self._gpu.uuid)
        low, high = self._limits_mw()
        if wanted is None or len(state) != 1 or not low <= wanted <= high:
            raise KnobError(f"{dict(state)!r} is no power limit of GPU {self._gpu.uuid} in mW", "nothing was set")
        remedy = f"as root: nvidia-smi -i {self._gpu.uuid} -pl {wanted / _MW:g}"
        try:
            self._set_mw(wanted)
        except KnobError as error:
            raise KnobError(
                f"the power limit of GPU {self._gpu.index} could not be put back: {error.cause}", remedy
            ) from error
        if self._limit_mw() != wanted:
            raise KnobError(f"the power limit of GPU {self._gpu.index} did not go back to {wanted / _MW:g} W", remedy)
