"""What a report is made of."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from energyaware.ranking.score import Ranking, Row, Winner, detail, rank
from energyaware.records import Benchmark, Ceiling, Domain, Reading, Round, Run, Totals, Variant, Work
from energyaware.reports.html.material import Material


def make_material(*benchmarks: Benchmark, weight: float = 0.5, runs=(), judgements=(), analyses=(), **changes: Any):
    totals = Totals(9.0, "estimated", intensity_g_per_kwh=475.0, intensity_source="a table")
    run = Run(benchmarks, {"cpu": "Test CPU"}, {"weight": weight}, totals, "0.1", **changes)
    return Material(
        run, rank(benchmarks, weight), lambda energy_j: energy_j * 1e-4, tuple(runs) or (run,), tuple(judgements),
        "0001_main.json" if judgements else "", tuple(analyses),
    )  # fmt: skip


def make_table(chart: dict[str, Any]) -> list[dict[str, Any]]:
    names = [column["name"] for column in chart["columns"]]
    return [dict(zip(names, row, strict=True)) for row in chart["rows"]]


def make_large_material(variants: int = 200, tasks: int = 5, rounds: int = 60) -> Material:
    """Many variants; ranks are made up, as working them out takes long and changes no size."""
    rng = random.Random(7)
    benchmarks, rows = [], []
    domains = {name: Domain("cpu-time", "estimated", 1e-6, "4 W per core") for name in ("cpu", "dram")}
    for number in range(variants):
        precision = ("fp32", "bf16", "nf4", "int8")[number % 4]
        variant = Variant(f"some-model-{number // 8}", precision, ("dense", "magnitude-50")[number // 4 % 2])
        mine = []
        for task in range(tasks):
            entries = tuple(
                Round(1, rng.uniform(0.1, 0.2), Reading({"cpu": rng.uniform(1, 2), "dram": rng.uniform(0.1, 0.2)}, 0.1))
                for _ in range(rounds)
            )
            mine.append(
                Benchmark(
                    fullname=f"t.py::test[{variant.id}-{task}]", name=f"test[{variant.id}-{task}]", group="inference",
                    task=f"task-{task}", phase="inference", candle="", layout="", domains=domains, rounds=entries,
                    variant=variant, quality={"accuracy": rng.random()}, ceiling=Ceiling(1e11, 1e10),
                    work=Work(flops=10**9, requests=1, tokens_in=9),
                )
            )  # fmt: skip
        phi, rho = rng.random(), rng.random()
        rows.append(
            Row(
                "inference", variant.id, tuple(map(detail, mine)), number + 1, phi, rho, (phi + rho) / 2, 0.1, 0.9,
                rng.random(), number % 20 == 0,
            )
        )  # fmt: skip
        benchmarks += mine
    winners = (Winner(0.0, 0.5, rows[0].name), Winner(0.5, 1.0, rows[1].name))
    ranking = Ranking("inference", tuple(rows), 0.5, winners, False, "estimated")
    run = Run(tuple(benchmarks), {"cpu": "Test CPU"}, {}, Totals(), "0.1")
    return Material(run, (ranking,), lambda energy_j: energy_j * 1e-4, (run,))


@pytest.fixture(scope="session")
def material_of() -> Callable[..., Material]:
    return make_material


@pytest.fixture(scope="session")
def table() -> Callable[..., list[dict[str, Any]]]:
    return make_table


@pytest.fixture(scope="session")
def large_material() -> Callable[[], Material]:
    return make_large_material
