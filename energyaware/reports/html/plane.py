"""Energy against quality, with the Pareto front."""

from __future__ import annotations

from typing import Any

from energyaware.ranking.score import Ranking
from energyaware.reports.charts import Chart, Column, Rows, make_chart, present
from energyaware.reports.html import estimates
from energyaware.reports.html.material import Material, is_reference, said_source

COLUMNS = (
    Column("variant", "variant"),
    Column("model", "model"),
    Column("source", "source"),
    Column("energy_j", "energy per request", "J"),
    Column("energy_low_j", "energy, low", "J"),
    Column("energy_high_j", "energy, high", "J"),
    Column("quality", "quality ρ"),
    Column("quality_low", "quality, low"),
    Column("quality_high", "quality, high"),
    Column("pareto", "on the Pareto front"),
    Column("reference", "unpruned fp32"),
)

_LEGEND = (
    "Up is better, left is cheaper. The line joins the variants that no other beats in both. Whiskers are 95 % "
    "intervals: of energy over rounds of this launch, of quality over the examples. Large points are the unpruned fp32 "
    "variants. Energy is raw; over several tasks "
    "it is their geometric mean, and quality their mean."
)


def plane(material: Material) -> dict[str, Any] | None:
    """One chart for each group whose rows have energy and quality."""
    charts = present(*(_chart(index, ranking) for index, ranking in enumerate(material.rankings)))
    if not charts:
        return None
    return {
        "title": "Energy and quality",
        "text": [_LEGEND],
        "charts": charts,
    }


def _chart(index: int, ranking: Ranking) -> Chart | None:
    rows: Rows = []
    for row in ranking.rows:
        energy, quality = estimates.row_energy(row), estimates.row_quality(row)
        if energy is None or quality is None:
            continue
        variant = row.details[0].benchmark.variant
        rows.append(
            (
                row.name, variant.model if variant else row.name, said_source(row.details[0].benchmark.source),
                energy.value, energy.low, energy.high, quality.value, quality.low, quality.high,
                row.pareto, is_reference(row),
            )
        )  # fmt: skip
    group = ranking.group or "ranking"
    return make_chart(
        f"plane-{index}", "points", f"Energy and quality: {group}",
        f"Each of {len(rows)} variants by its energy per request and its quality; a line joins the Pareto front.",
        COLUMNS, rows, log=("x",), x="energy_j", x_low="energy_low_j", x_high="energy_high_j", y="quality",
        y_low="quality_low", y_high="quality_high", series="model", front="pareto", mark="reference",
    )  # fmt: skip
