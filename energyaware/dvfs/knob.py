"""The protocol of a knob: something that sets a clock or a power cap, and can put back what was set before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

State = Mapping[str, int]
"""What is set: the knob's own keys (a file, a GPU's UUID) to a number in the driver's unit."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Which settings a knob takes, in its unit.

    Attributes:
        lowest: the smallest setting taken.
        highest: the largest setting taken.
        grid_lowest: where evenly spaced settings begin: below it a machine hardly works.
        step: evenly spaced settings are multiples of it.
        choices: ascending; where not empty, the driver takes these alone.
    """

    lowest: float
    highest: float
    grid_lowest: float
    step: float
    choices: tuple[float, ...] = ()


class Knob(Protocol):
    """One clock or power cap of all CPU packages, or of one GPU. Opening it changes nothing.

    Attributes:
        name: as `--energy-dvfs` takes it.
        unit: of settings, `MHz` or `W`.
        domain: of the energy that it changes: `cpu`, or `gpu0`, `gpu1`, …
        settle_s: seconds from a change until the hardware follows it.
    """

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def domain(self) -> str: ...

    @property
    def settle_s(self) -> float: ...

    def ready(self) -> None:
        """Check that it can and may be set here and now.

        Raises:
            KnobUnavailableError: not supported, or not permitted.
            KnobError: others use the device.
        """
        ...

    def offer(self) -> Offer:
        """The settings that it takes.

        Raises:
            KnobError: the device does not tell.
        """
        ...

    def state(self) -> State:
        """What is set now, complete enough for `restore`.

        Raises:
            KnobError: the device does not tell.
        """
        ...

    def set(self, setting: float) -> None:
        """Set it and check that the driver took it.

        Raises:
            KnobUnavailableError: not permitted.
            KnobError: the driver refused it or took something else, or others use the device.
        """
        ...

    def in_force(self) -> float | None:
        """The setting as the driver gives it back, rounded as it likes; None where it does not tell.

        Raises:
            KnobError: the device stopped answering.
        """
        ...

    def running_mhz(self) -> float | None:
        """The clock at which the hardware really runs, in MHz; None where it does not tell. Read it under load."""
        ...

    def restore(self, state: State) -> None:
        """Set what `state` says. Nothing is written unless every key and value is one that this knob could have given.

        Raises:
            KnobError: a key or value that is none of this knob's, or a part that could not be put back; the other
                parts are.
        """
        ...
