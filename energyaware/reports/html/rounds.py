"""The rounds behind each variant: shown when it is clicked."""

from __future__ import annotations

from typing import Any

from energyaware.baselines.values import round_value
from energyaware.reports.charts import rounded
from energyaware.reports.columns import plain
from energyaware.reports.html.material import Material, said_source, work_of

MOST = 40
"""Rounds of one benchmark in a page; of more, every so-manieth. `rounds.csv` has all."""


def rounds(material: Material) -> dict[str, list[dict[str, Any]]]:
    """Variant to its benchmarks, each with joules per request round by round, in the order of measuring."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row, item in material.details:
        bench = item.benchmark
        step = -(-len(bench.rounds) // MOST)
        values = [rounded(round_value(bench, "energy", entry), 4) for entry in bench.rounds[::step]]
        found.setdefault(plain(row.name), []).append(
            {
                "work": plain(work_of(bench)),
                "source": said_source(bench.source),
                "rounds": len(bench.rounds),
                "step": step,
                "energy_j": values,
            }
        )
    return found
