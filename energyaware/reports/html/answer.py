"""The answer first: which variant to deploy, what it saves and costs, how sure that is, and what it rests on."""

from __future__ import annotations

from typing import Any

from energyaware.ranking.score import Ranking, Row
from energyaware.reports.columns import plain
from energyaware.reports.html import estimates
from energyaware.reports.html.material import Material, main_ranking, reference_of
from energyaware.units import fixed, percent, si


def answer(material: Material) -> dict[str, Any] | None:
    """None where no row could be ranked."""
    ranking = main_ranking(material.rankings)
    if ranking is None:
        return None
    best = next(row for row in ranking.rows if row.rank is not None)
    with_quality = best.r is not None
    reference = reference_of(ranking, best)
    facts = [
        {"name": "rank by", "text": f"R at w = {ranking.weight:g}" if with_quality else "energy alone"},
        *_saving(best, reference),
        *_cost(best, reference),
        {"name": "how sure", "text": _certainty(ranking, best)},
        {"name": "joules are", "text": _source(ranking)},
    ]
    return {
        "title": f"Deploy {plain(best.name)}" if with_quality else f"{plain(best.name)} needs the least energy",
        "group": plain(ranking.group),
        "variant": plain(best.name),
        "reference": plain(reference.name) if reference else "",
        "facts": facts,
        "charts": [],
    }


def _saving(best: Row, reference: Row | None) -> list[dict[str, str]]:
    energy = estimates.row_energy(best)
    found = [{"name": "energy per request", "text": si(energy.value, "J")}] if energy else []
    if reference is None:
        found.append({"name": "saves", "text": "unknown: no unpruned fp32 variant of this model was ranked beside it"})
    elif reference is best:
        found.append({"name": "saves", "text": "nothing: it is the unpruned fp32 model, and no compression beats it"})
    else:
        share = estimates.row_ratio(best, reference)
        if share is not None:
            found.append({"name": "saves", "text": f"{_change(share)} energy against {plain(reference.name)}"})
    return found


def _change(share: estimates.Interval) -> str:
    text = percent(share.value - 1, signed=True)
    if share.low is None or share.high is None:
        return text
    return f"{text} ({percent(share.low - 1, signed=True)} … {percent(share.high - 1, signed=True)})"


def _cost(best: Row, reference: Row | None) -> list[dict[str, str]]:
    if best.rho is None:
        return []
    names = " and ".join(dict.fromkeys(item.quality_name for item in best.details))
    text = f"{fixed(best.rho)} ({plain(names)})"
    if reference is not None and reference is not best and reference.rho is not None:
        text += f", {(best.rho - reference.rho) * 100:+.1f} percentage points against {plain(reference.name)}"
    return [{"name": "quality", "text": text}]


def _certainty(ranking: Ranking, best: Row) -> str:
    chance = f"first in {percent(best.first_probability, 0)} of resampled runs"
    ties = [plain(row.name) for row in ranking.rows if row.rank == best.rank and row is not best]
    if not ties:
        return f"{chance}; every other row lies behind it"
    shown = ", ".join(ties[:5]) + (f" and {len(ties) - 5} more" if len(ties) > 5 else "")
    return f"{chance}; it cannot be told from {shown}"


def _source(ranking: Ranking) -> str:
    meters = sorted({item.benchmark.meters for row in ranking.rows for item in row.details if item.benchmark.meters})
    return f"{ranking.source} ({plain('; '.join(meters))})"
