"""The answer first: which variant to deploy, what it saves and costs, how sure that is, and what it rests on."""

from __future__ import annotations

from typing import Any

from energyaware.ranking.score import Ranking, Row
from energyaware.reports.columns import plain
from energyaware.reports.html import estimates
from energyaware.reports.html.material import Material, main_ranking, reference_of, said_meters
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
        *_saving(best, reference, ranking.normalised),
        *_cost(best, reference),
        {"name": "how sure", "text": _certainty(ranking, best)},
        {
            "name": "joules are",
            "text": plain(said_meters(item.benchmark for row in ranking.rows for item in row.details)),
        },
    ]
    return {
        "title": f"Deploy {plain(best.name)}" if with_quality else f"{plain(best.name)} needs the least energy",
        "group": plain(ranking.group),
        "variant": plain(best.name),
        "reference": plain(reference.name) if reference else "",
        "facts": facts,
        "charts": [],
    }


def _saving(best: Row, reference: Row | None, normalised: bool) -> list[dict[str, str]]:
    energy = estimates.row_energy(best)
    found = [{"name": "energy per request", "text": si(energy.value, "J")}] if energy else []
    if best.details[0].benchmark.variant is None:
        return found  # work that is no model has no uncompressed form
    if reference is None:
        found.append({"name": "saves", "text": "unknown: no unpruned fp32 variant of this model was ranked beside it"})
    elif reference is best:
        found.append({"name": "saves", "text": "nothing: it is the unpruned fp32 model, and no compression beats it"})
    else:
        share = estimates.row_ratio(best, reference)
        if share is not None:
            found.append({"name": "saves", "text": _change(share, plain(reference.name), normalised)})
    return found


def _change(share: estimates.Interval, reference: str, normalised: bool) -> str:
    """What a share of the reference's energy saves, or how much more it is."""
    saves = share.value <= 1
    ends = [None if end is None else 1 - end if saves else end - 1 for end in (share.value, share.low, share.high)]
    middle, *outer = ends
    known = sorted(end for end in outer if end is not None)
    text = percent(middle) + (f" ({percent(known[0])} … {percent(known[1])})" if len(known) == len(outer) else "")
    text = f"{text} of the energy of {reference}" if saves else f"nothing: it needs {text} more energy than {reference}"
    return text + (", each divided by the candle beside its rounds" if normalised else "")


def _cost(best: Row, reference: Row | None) -> list[dict[str, str]]:
    if best.rho is None:
        return []
    names = " and ".join(dict.fromkeys(item.quality_name for item in best.details))
    text = f"{fixed(best.rho)} ({plain(names)})"
    if reference is not None and reference is not best and reference.rho is not None:
        change = estimates.quality_change(best, reference)
        ends = ""
        if change is not None and change.low is not None and change.high is not None:
            ends = f" ({change.low * 100:+.1f} … {change.high * 100:+.1f})"
        text += f", {(best.rho - reference.rho) * 100:+.1f}{ends} percentage points against {plain(reference.name)}"
    return [{"name": "quality", "text": text}]


def _certainty(ranking: Ranking, best: Row) -> str:
    chance = f"first in {percent(best.first_probability, 0)} of runs drawn from this launch's rounds and examples"
    ties = [plain(row.name) for row in ranking.rows if row.rank == best.rank and row is not best]
    if not ties:
        return f"{chance}; every other row lies behind it"
    shown = ", ".join(ties[:5]) + (f" and {len(ties) - 5} more" if len(ties) > 5 else "")
    return f"{chance}; it cannot be told from {shown}"
