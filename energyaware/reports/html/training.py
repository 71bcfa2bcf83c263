"""Energy and loss per epoch of fine-tuning."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from energyaware.baselines.values import round_value
from energyaware.records import Benchmark
from energyaware.reports.charts import Column, Rows, make_chart, present
from energyaware.reports.html.energy import ROW_COLUMNS, identity
from energyaware.reports.html.material import Material

PHASE = "finetune"
LOSSES = {"training_loss": "training", "validation_loss": "validation"}
"""Names of `samples` with one value per epoch, in order. A round of such a benchmark is an epoch."""


def training(material: Material) -> dict[str, Any] | None:
    """None where no benchmark recorded epochs."""
    energies: Rows = []
    losses: Rows = []
    exchange: Rows = []
    for row, item in material.details:
        bench, who = item.benchmark, identity(row, item)
        if bench.phase != PHASE:
            continue
        spent = _spent_j(bench)
        energies += [(*who, epoch, value) for epoch, value in enumerate(spent, 1)]
        for name, kind in LOSSES.items():
            values = bench.samples.get(name, ())
            curve = f"{row.name}, {kind}"
            losses += [(*who, curve, epoch, value) for epoch, value in enumerate(values, 1)]
            if len(values) == len(spent):
                exchange += [(*who, curve, joules, value) for joules, value in zip(spent, values, strict=True)]
    spent_column = Column("energy_j", "energy since the start", "J")
    curve_column = Column("curve", "curve")
    charts = present(
        make_chart(
            "training-energy", "lines", "Energy of fine-tuning", "Energy spent up to each epoch, a line per variant.",
            (*ROW_COLUMNS, Column("epoch", "epoch"), spent_column), energies,
            x="epoch", y="energy_j", series="variant", choose="work",
        ),
        make_chart(
            "training-loss", "lines", "Loss per epoch", "Loss after each epoch, a line per variant.",
            (*ROW_COLUMNS, curve_column, Column("epoch", "epoch"), Column("loss", "loss")), losses,
            x="epoch", y="loss", series="curve", choose="work",
        ),
        make_chart(
            "training-exchange", "lines", "Loss for energy", "Loss against the energy spent to reach it.",
            (*ROW_COLUMNS, curve_column, spent_column, Column("loss", "loss")), exchange,
            x="energy_j", y="loss", series="curve", choose="work",
        ),
    )  # fmt: skip
    return {"title": "Fine-tuning", "text": [], "charts": charts} if charts else None


def _spent_j(item: Benchmark) -> list[float]:
    """Joules up to the end of each epoch; empty where a round was discarded, so that epochs cannot be told apart."""
    epochs = {len(item.samples[name]) for name in LOSSES if item.samples.get(name)}
    if epochs != {len(item.rounds)}:
        return []
    return list(accumulate(round_value(item, "energy", entry) for entry in item.rounds))
