"""Which benchmarks belong to a sweep of clocks or lengths, and are drawn as curves."""

from __future__ import annotations

from energyaware.records import Benchmark
from energyaware.reports.clocks import TRAIT

LENGTH_GROUP = " by length"


def is_sweep(item: Benchmark) -> bool:
    """Whether a benchmark is one point of a curve."""
    return TRAIT in item.traits or item.group.endswith(LENGTH_GROUP)
