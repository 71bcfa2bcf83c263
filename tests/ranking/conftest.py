"""Benchmarks to rank."""

from collections.abc import Callable
from typing import Any

import pytest

from energyaware.records import Benchmark, Domain, Reading, Round, Work


def make_benchmark(row: str, energy_j: float = 1.0, quality: float | None = None, **changes: Any) -> Benchmark:
    """One row's benchmark: `noise` scales a fixed ripple over its rounds, `candle_j` may drift with them."""
    noise, count = changes.pop("noise", 0.001), changes.pop("count", 10)
    candle_j, seconds, calls = changes.pop("candle_j", 0.5), changes.pop("seconds", 0.1), changes.pop("calls", 1)
    rounds = []
    for index in range(count):
        factor = 1 + noise * ((index * 7 % count) - (count - 1) / 2) / count
        candle = None if candle_j is None else Reading({"cpu": candle_j}, 0.05)
        rounds.append(Round(calls, seconds, Reading({"cpu": energy_j * factor}, seconds), candle))
    plain: dict[str, Any] = {
        "fullname": f"t.py::{row}", "name": row, "group": "", "task": "rca", "phase": "inference",
        "candle": "matmul/1", "layout": "", "domains": {"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W per core")},
        "rounds": tuple(rounds), "quality": {} if quality is None else {"accuracy": quality}, "work": Work(),
    }  # fmt: skip
    return Benchmark(**(plain | changes))


@pytest.fixture(scope="session")
def bench() -> Callable[..., Benchmark]:
    return make_benchmark
