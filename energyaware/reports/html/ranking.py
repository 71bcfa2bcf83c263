"""The ranking with its weight as a slider: ranks are worked out anew in the page from φ and ρ."""

from __future__ import annotations

from typing import Any

from energyaware.ranking.score import FORMULA, Ranking, Row
from energyaware.records import Benchmark
from energyaware.reports.charts import Chart, Column, Rows, make_chart, present, rounded
from energyaware.reports.columns import plain
from energyaware.reports.html import estimates
from energyaware.reports.html.material import Material, said_source
from energyaware.reports.tables import ranking_notes, remarks
from energyaware.units import ABSENT, fixed, percent, si

LINES = 12
"""Rows of the chart of R over w, beside those that win somewhere."""

COLUMNS = (Column("variant", "variant"), Column("model", "model"), Column("w", "weight w of energy"), Column("r", "R"))


def ranking(material: Material) -> dict[str, Any] | None:
    """None where there is no group."""
    if not material.rankings:
        return None
    groups = [_group(index, item, material) for index, item in enumerate(material.rankings)]
    return {
        "title": "Ranking",
        "text": [f"{FORMULA}. Move w: the order follows. The rank, its interval and P(first) are those of the run's w."]
        if any(group["movable"] for group in groups)
        else [],
        "groups": groups,
        "charts": [chart for group in groups for chart in group["charts"]],
    }


def _group(index: int, found: Ranking, material: Material) -> dict[str, Any]:
    return {
        "name": plain(found.group) or "all",
        "number": index,
        "weight": found.weight,
        "source": " and ".join(dict.fromkeys(said_source(item.source) for item in _measured(found))),
        "movable": any(row.r is not None for row in found.rows),
        "remarks": remarks(found),
        "rows": [_row(row) for row in found.rows],
        "winners": [
            {"low": rounded(item.low), "high": rounded(item.high), "variant": plain(item.name)}
            for item in found.winners
        ],
        "notes": [plain(note) for note in ranking_notes(found, material.run.totals)],
        "charts": present(_lines(index, found)),
    }


def _measured(found: Ranking) -> list[Benchmark]:
    return [item.benchmark for row in found.rows for item in row.details if item.benchmark.rounds]


def _row(row: Row) -> dict[str, Any]:
    variant = row.details[0].benchmark.variant if row.details else None
    energy = estimates.row_energy(row)
    return {
        "variant": plain(row.name),
        "model": plain(variant.model) if variant else "",
        "rank": ABSENT if row.rank is None else str(row.rank),
        # Full precision: the page works out R from them.
        "phi": row.phi if row.r is not None else None,
        "rho": row.rho if row.r is not None else None,
        "energy": si(energy.value, "J") if energy else ABSENT,
        "phi_text": fixed(row.phi),
        "rho_text": fixed(row.rho),
        "r_text": fixed(row.r),
        "interval": ABSENT if row.r_low is None or row.r_high is None else f"{row.r_low:.3f} … {row.r_high:.3f}",
        "first": percent(row.first_probability, 0),
        "pareto": row.pareto,
    }


def _lines(index: int, found: Ranking) -> Chart | None:
    """R over w of the rows that win somewhere and of the best ones: straight lines from ρ to φ."""
    names = {item.name for item in found.winners}
    scored = [row for row in found.rows if row.phi is not None and row.rho is not None and row.r is not None]
    shown = [row for place, row in enumerate(scored) if row.name in names or place < LINES]
    rows: Rows = []
    for row in shown:
        variant = row.details[0].benchmark.variant
        model = variant.model if variant else row.name
        rows += [(row.name, model, 0.0, row.rho), (row.name, model, 1.0, row.phi)]
    breaks = [(item.low, f"{item.name} from w = {item.low:.3f}") for item in found.winners[1:]]
    return make_chart(
        f"weights-{index}", "lines", f"R over w: {found.group or 'all'}",
        f"R of {len(shown)} variants as straight lines over the weight of energy; upright lines mark where the winner "
        "changes.",
        COLUMNS, rows, rules=breaks, x="w", y="r", series="variant",
    )  # fmt: skip
