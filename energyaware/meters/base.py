"""The protocol of a meter, and several meters read as one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from energyaware.errors import MeterError
from energyaware.records import Domain


@runtime_checkable
class Meter(Protocol):
    """Reads joules per domain over windows.

    Attributes:
        name: as `--energy-meter` takes it.
        domains: what it reads; fixed while the meter is open.
        nests: whether windows may overlap. A meter that cannot do so is never asked for named windows or totals.
    """

    @property
    def name(self) -> str: ...

    @property
    def domains(self) -> Mapping[str, Domain]: ...

    @property
    def nests(self) -> bool: ...

    def start(self) -> Any:
        """Open a window and return its mark.

        Raises:
            MeterError: the device stopped answering.
        """
        ...

    def stop(self, mark: Any) -> Mapping[str, float]:
        """Close the window of `mark` and return joules per domain, as read: zero or negative values are possible here.

        A domain that gave no value is left out.

        Raises:
            MeterError: the device stopped answering.
        """
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@runtime_checkable
class TickingMeter(Protocol):
    """A meter whose counter moves in steps so coarse that it pays to wait for them."""

    def start_on_tick(self) -> Any:
        """As `Meter.start`, but wait for the counter's next step first; `stop` then waits for a step as well.

        Only for windows whose waiting disturbs nobody: one inside another would stretch the outer one.

        Raises:
            MeterError: the device stopped answering.
        """
        ...

    def know_idle(self, idle_w: Mapping[str, float]) -> None:
        """Say what the domains draw when idle, in watts, so that waiting can be taken off."""
        ...


MeterFactory = Callable[[], Meter]


def start_on_tick(meter: Meter) -> Any:
    """Open a window at a step of the meter's counter where it has coarse steps, else at once.

    Raises:
        MeterError: the device stopped answering.
    """
    return meter.start_on_tick() if isinstance(meter, TickingMeter) else meter.start()


class Combined:
    """Several meters with disjoint domains, read as one: counters where they exist, an estimate for the rest.

    Raises:
        MeterError: two of them read the same domain.
    """

    def __init__(self, meters: Sequence[Meter]) -> None:
        # Those that wait come first: their waiting then lies outside the windows of the others.
        self.meters = tuple(sorted(meters, key=lambda meter: not isinstance(meter, TickingMeter)))
        self.name = "+".join(meter.name for meter in self.meters)
        self.nests = all(meter.nests for meter in self.meters)
        self.domains: dict[str, Domain] = {}
        for meter in self.meters:
            twice = self.domains.keys() & meter.domains.keys()
            if twice:
                raise MeterError(
                    f"two meters read the domain {', '.join(sorted(twice))}, so its joules would count twice",
                    "choose one of them with --energy-meter",
                )
            self.domains.update(meter.domains)

    def start(self) -> tuple[Any, ...]:
        """Open a window on every meter."""
        return self._start(lambda meter: meter.start())

    def start_on_tick(self) -> tuple[Any, ...]:
        """Open a window on every meter, those with coarse steps at one of them."""
        return self._start(start_on_tick)

    def know_idle(self, idle_w: Mapping[str, float]) -> None:
        """Hand idle watts on to the meters that wait."""
        for meter in self.meters:
            if isinstance(meter, TickingMeter):
                meter.know_idle(idle_w)

    def _start(self, start: Callable[[Meter], Any]) -> tuple[Any, ...]:
        marks: list[Any] = []
        try:
            for meter in self.meters:
                marks.append(start(meter))  # noqa: PERF401 - what was opened before a fault must be closed
        except BaseException:
            for meter, mark in zip(self.meters, marks, strict=False):
                with contextlib.suppress(MeterError):  # the first fault matters more
                    meter.stop(mark)
            raise
        return tuple(marks)

    def stop(self, mark: tuple[Any, ...]) -> dict[str, float]:
        """Close the windows in reverse order, so that they nest; each is closed even if another meter fails."""
        energy_j: dict[str, float] = {}
        fault: MeterError | None = None
        for meter, own in zip(reversed(self.meters), reversed(mark), strict=True):
            try:
                energy_j.update(meter.stop(own))
            except MeterError as error:
                fault = fault or error
        if fault is not None:
            raise fault
        return energy_j

    def close(self) -> None:
        """Release every device, even if one of them fails."""
        with contextlib.ExitStack() as stack:
            for meter in reversed(self.meters):
                stack.callback(meter.close)
