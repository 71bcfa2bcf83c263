"""Energy, carbon and quality of the precisions, of unpruned variants."""

from __future__ import annotations

from typing import Any

from energyaware.reports.charts import Column, Rows, make_chart, present, rounded
from energyaware.reports.html import estimates
from energyaware.reports.html.energy import ROW_COLUMNS, identity
from energyaware.reports.html.material import REFERENCE_PRUNING, Material
from energyaware.reports.html.sweeps import is_sweep

ORDER = ("fp32", "bf16", "fp16", "int8", "nf4", "fp4")


def precision(material: Material) -> dict[str, Any] | None:
    """None where fewer than two precisions were measured."""
    energies: Rows = []
    carbons: Rows = []
    qualities: Rows = []
    found = [
        (row, item, variant)
        for row, item in material.details
        if (variant := item.benchmark.variant) and variant.pruning == REFERENCE_PRUNING and not is_sweep(item.benchmark)
    ]
    if len({variant.precision for _, _, variant in found}) < 2:
        return None
    place = {name: number for number, name in enumerate(ORDER)}
    for row, item, variant in sorted(found, key=lambda entry: place.get(entry[2].precision, len(ORDER))):
        who = (*identity(row, item), variant.precision)
        energy, quality = estimates.energy(item), item.quality
        if energy is not None:
            energies.append((*who, energy.value, energy.low, energy.high))
            carbons.append((*who, rounded(material.grams(energy.value))))
        error = estimates.quality_half_width(item)
        ends = (None, None) if quality is None or error is None else (quality - error, quality + error)
        qualities.append((*who, quality, *ends))
    columns = (*ROW_COLUMNS, Column("precision", "precision"))
    charts = present(
        make_chart(
            "precision-energy", "intervals", "Energy by precision", "Energy per request at each precision, per model.",
            (
                *columns, Column("energy_j", "energy per request", "J"), Column("low_j", "low", "J"),
                Column("high_j", "high", "J"),
            ),
            energies, x="energy_j", x_low="low_j", x_high="high_j", y="precision", series="model", choose="work",
            note="95 % intervals over rounds of this launch.",
        ),
        make_chart(
            "precision-carbon", "intervals", "Carbon by precision", "CO₂e per request at each precision, per model.",
            (*columns, Column("carbon_g", "CO₂e per request", "g")), carbons,
            x="carbon_g", y="precision", series="model", choose="work",
        ),
        make_chart(
            "precision-quality", "intervals", "Quality by precision", "Quality at each precision, per model.",
            (*columns, Column("quality", "quality"), Column("low", "low"), Column("high", "high")), qualities,
            x="quality", x_low="low", x_high="high", y="precision", series="model", choose="work",
            note="95 % intervals over examples.",
        ),
    )  # fmt: skip
    return {"title": "Precision: energy, carbon and quality", "text": [], "charts": charts} if charts else None
