"""What every task has: a name, and the prompt it makes of an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from energyaware.examples import Example


class Task(Protocol):
    """One thing a model is asked to do."""

    @property
    def name(self) -> str:
        """Word for ids and tables, e.g. `rca`."""
        ...

    def prompt(self, example: Example) -> str:
        """What the model reads."""
        ...


@dataclass(frozen=True)
class Workload:
    """A fixed piece of work, ready to be metered: calling it does the same every time.

    Attributes:
        run: does the work once.
        requests: examples answered per call.
        tokens_in: tokens read per call, padding not counted.
    """

    run: Callable[[], object]
    requests: int
    tokens_in: int

    def __call__(self) -> object:
        """Do the work once."""
        return self.run()
