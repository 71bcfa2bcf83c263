"""How near each row comes to what its machine can do."""

from __future__ import annotations

from typing import Any

from energyaware.reports.charts import Column, Rows, make_chart
from energyaware.reports.html.energy import ROW_COLUMNS, identity
from energyaware.reports.html.material import Material
from energyaware.work.utilisation import mbu, mfu


def limits(material: Material) -> dict[str, Any] | None:
    """None where no row has counted work and a measured ceiling."""
    rows: Rows = []
    for row, item in material.details:
        bench = item.benchmark
        shares = (
            ("MFU: products", mfu(bench.work, item.latency_s, bench.ceiling)),
            ("MBU: memory", mbu(bench.work, item.latency_s, bench.ceiling)),
        )
        rows += [(*identity(row, item), name, share) for name, share in shares if share is not None]
    chart = make_chart(
        "limits", "intervals", "Distance to the physical limit",
        "Share of the machine's rate of products (MFU) and of reading memory (MBU) that each variant reaches.",
        (*ROW_COLUMNS, Column("limit_name", "limit"), Column("share", "share of the machine's best", "%")), rows,
        x="share", y="variant", series="limit_name", choose="work", rules=((1.0, "limit"),),
        note="The machine's rates were measured on it, at each row's compute type and working-set size.",
    )  # fmt: skip
    return {"title": "Distance to the physical limit", "text": [], "charts": [chart]} if chart else None
