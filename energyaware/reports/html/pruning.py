"""What each way of pruning does to energy and quality, against the same model and precision unpruned."""

from __future__ import annotations

from typing import Any

from energyaware.reports.charts import Column, Rows, make_chart, present
from energyaware.reports.html import estimates
from energyaware.reports.html.energy import ROW_COLUMNS, identity
from energyaware.reports.html.material import REFERENCE_PRUNING, Material


def pruning(material: Material) -> dict[str, Any] | None:
    """None where no pruned row has an unpruned one beside it."""
    dense = {}
    for _, item in material.details:
        variant = item.benchmark.variant
        if variant is not None and variant.pruning == REFERENCE_PRUNING:
            dense[variant.model, variant.precision, item.benchmark.group, item.benchmark.task] = item
    energies: Rows = []
    qualities: Rows = []
    for row, item in material.details:
        bench = item.benchmark
        variant = bench.variant
        if variant is None or variant.pruning == REFERENCE_PRUNING:
            continue
        before = dense.get((variant.model, variant.precision, bench.group, bench.task))
        if before is None:
            continue
        who = (*identity(row, item), variant.pruning, f"{variant.model} {variant.precision}")
        share = estimates.ratio(item, before)
        if share is not None:
            low, high = (None if end is None else end - 1 for end in (share.low, share.high))
            energies.append((*who, share.value - 1, low, high))
        if item.quality is not None and before.quality is not None:
            change, error = item.quality - before.quality, estimates.paired_half_width(item, before)
            qualities.append((*who, change, *((None, None) if error is None else (change - error, change + error))))
    columns = (*ROW_COLUMNS, Column("pruning", "pruning"), Column("base", "model and precision"))
    charts = present(
        make_chart(
            "pruning-energy", "intervals", "Energy of pruned variants",
            "Change of energy per request by each way of pruning, against the unpruned model.",
            (
                *columns, Column("energy_change", "change of energy", "%"), Column("low", "low", "%"),
                Column("high", "high", "%"),
            ),
            energies, x="energy_change", x_low="low", x_high="high", y="pruning", series="base", choose="work",
            rules=((0.0, "unpruned"),),
        ),
        make_chart(
            "pruning-quality", "intervals", "Quality of pruned variants",
            "Change of quality by each way of pruning, against the unpruned model.",
            (
                *columns, Column("quality_change", "change of quality", "%"), Column("low", "low", "%"),
                Column("high", "high", "%"),
            ),
            qualities, x="quality_change", x_low="low", x_high="high", y="pruning", series="base",
            choose="work", rules=((0.0, "unpruned"),),
            note="1 % of quality is one percentage point; 95 % intervals over the examples, compared one by one.",
        ),
    )  # fmt: skip
    return {"title": "Pruning", "text": [], "charts": charts} if charts else None
