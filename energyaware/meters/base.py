"""The protocol of a meter, and several meters read as one."""

from __future__ import annotations

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


MeterFactory = Callable[[], Meter]


class Combined:
    """Several meters with disjoint domains, read as one: counters where they exist, an estimate for the rest."""

    def __init__(self, meters: Sequence[Meter]) -> None:
        self.meters = tuple(meters)
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
        return tuple(meter.start() for meter in self.meters)

    def stop(self, mark: tuple[Any, ...]) -> dict[str, float]:
        """Close the windows in reverse order, so that they nest."""
        energy_j: dict[str, float] = {}
        for meter, own in zip(reversed(self.meters), reversed(mark), strict=True):
            energy_j.update(meter.stop(own))
        return energy_j

    def close(self) -> None:
        """Release every device."""
        for meter in self.meters:
            meter.close()
