"""What drives energy: effects with intervals, of stored runs."""

from __future__ import annotations

import math
from typing import Any

from energyaware.reports.charts import Column, Rows, make_chart, present
from energyaware.reports.columns import plain
from energyaware.reports.html.material import Material
from energyaware.units import percent

_LARGEST_LOG = 300.0


def drivers(material: Material) -> dict[str, Any] | None:
    """None where nothing was analysed or no regression could be fitted."""
    effects: Rows = []
    shares: Rows = []
    texts: list[str] = []
    for index, analysis in enumerate(material.analyses):
        for section in analysis.sections:
            if section.fit is None:
                texts.append(plain(f"{section.kind}: not fitted, {section.problem}."))
                continue
            kind = section.kind if len(material.analyses) == 1 else f"{section.kind} ({index + 1})"
            source = analysis.conditions.get("source", "")
            texts.append(
                plain(
                    f"{kind}: {section.fit.rows} rows{f' of {source} joules' if source else ''}; all drivers explain "
                    f"{percent(section.fit.r2)} of the variance of log energy."
                )
            )
            told = [
                term for term in section.fit.terms if _times(term.low) is not None and _times(term.high) is not None
            ]
            untold = [term.name for term in section.fit.terms if term not in told]
            if untold:
                texts.append(plain(f"{kind}: the rows do not tell the effect of {', '.join(untold)}."))
            effects += [
                (kind, term.driver, term.name, _times(term.estimate), _times(term.low), _times(term.high))
                for term in told
            ]
            shares += [
                (kind, share.driver, share.average if share.average is not None else share.alone)
                for share in section.fit.shares
            ]
    kind_column, driver = Column("kind", "kind of work"), Column("driver", "driver")
    charts = present(
        make_chart(
            "drivers-effects", "intervals", "Effects on energy",
            "By which factor each driver changes the energy of a request, with 95 % intervals; 1 is no effect.",
            (
                kind_column, driver, Column("effect", "with"), Column("factor", "factor on energy"),
                Column("low", "low"), Column("high", "high"),
            ),
            effects, log=("x",), x="factor", x_low="low", x_high="high", y="effect", series="driver", choose="kind",
            rules=((1.0, "no effect"),),
        ),
        make_chart(
            "drivers-shares", "intervals", "Shares of the variance", "Share of the variance that each driver explains.",
            (kind_column, driver, Column("share", "share of the variance", "%")), shares,
            x="share", y="driver", choose="kind",
        ),
    )  # fmt: skip
    return {"title": "What drives energy", "text": texts, "charts": charts} if charts else None


def _times(log_ratio: float | None) -> float | None:
    """A log ratio as a factor; None where no float holds it."""
    return None if log_ratio is None or abs(log_ratio) > _LARGEST_LOG else math.exp(log_ratio)
