"""The candle: a small fixed workload, metered beside every round, that tells how fast the machine is right now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candle:
    """A reference workload.

    Attributes:
        version: raised whenever `run` changes what it does; name and version are part of comparability.
        run: one fixed unit of work, some milliseconds long.
    """

    name: str
    version: int
    run: Callable[[], object]

    @property
    def id(self) -> str:
        """`matmul/1`."""
        return f"{self.name}/{self.version}"


def _interpret() -> int:
    # Calls, attribute and dictionary traffic, integers and a short-lived list: what interpreted code is made of.
    table: dict[int, int] = {}
    total = 0
    for index in range(6000):
        key = (index * 7919) % 257
        table[key] = table.get(key, 0) + index
        total += len([key, index]) + key
    return total + len(table)


INTERPRETER = Candle("interpreter", 1, _interpret)
