"""Rankings to show."""

from collections.abc import Callable
from typing import Any

import pytest

from energyaware.ranking.score import Ranking, rank
from energyaware.records import Benchmark, Domain, Reading, Round


def make_benchmark(row: str, energy_j: float = 1.0, quality: float | None = 0.8, **changes: Any) -> Benchmark:
    rounds = changes.pop("count", 6)
    plain: dict[str, Any] = {
        "fullname": f"t.py::{row}", "name": row, "group": "", "task": "rca", "phase": "inference",
        "candle": "matmul/1", "layout": "redrawn every round",
        "domains": {"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W per core: a table")},
        "rounds": tuple(
            Round(1, 0.1, Reading({"cpu": energy_j * (1 + 0.001 * index)}, 0.1), Reading({"cpu": 0.5}, 0.05))
            for index in range(rounds)
        ),
        "quality": {} if quality is None else {"accuracy": quality},
    }  # fmt: skip
    return Benchmark(**(plain | changes))


def make_ranking(*benchmarks: Benchmark, weight: float = 0.5) -> Ranking:
    (ranking,) = rank(benchmarks, weight)
    return ranking


@pytest.fixture(scope="session")
def bench() -> Callable[..., Benchmark]:
    return make_benchmark


@pytest.fixture(scope="session")
def ranking_of() -> Callable[..., Ranking]:
    return make_ranking
