"""What a report is made of."""

from collections.abc import Callable
from typing import Any

import pytest

from energyaware.ranking.score import rank
from energyaware.records import Benchmark, Run, Totals
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


@pytest.fixture(scope="session")
def material_of() -> Callable[..., Material]:
    return make_material


@pytest.fixture(scope="session")
def table() -> Callable[..., list[dict[str, Any]]]:
    return make_table
