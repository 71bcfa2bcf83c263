"""Base against head: an interval per benchmark, the limit as a line."""

from __future__ import annotations

from typing import Any

from energyaware.baselines.gate import Judgement, ratio
from energyaware.config import METRICS, parse_limit
from energyaware.errors import OptionError
from energyaware.reports.charts import Chart, Column, make_chart, present
from energyaware.reports.columns import plain
from energyaware.reports.html.material import Material, said_meters

COLUMNS = (
    Column("benchmark", "benchmark"),
    Column("metric", "metric"),
    Column("verdict", "verdict"),
    Column("change", "change for the worse", "%"),
    Column("low", "low", "%"),
    Column("high", "high", "%"),
    Column("limit", "limit", "%"),
)


def gate(material: Material) -> dict[str, Any] | None:
    """None where nothing was judged."""
    if not material.judgements:
        return None
    # The first metric is the one that is shown first.
    judgements = sorted(material.judgements, key=lambda item: item.metric != "energy")
    rows = [
        (item.row, item.metric, item.verdict, item.effect, item.low, item.high, _limit(item)) for item in judgements
    ]
    chart = make_chart(
        "gate", "intervals", "Change against the baseline",
        "Change of each benchmark with its interval; the upright line is the limit, the shape is the verdict.",
        COLUMNS, rows, x="change", x_low="low", x_high="high", y="benchmark", series="verdict", choose="metric",
        limit="limit", rules=((0.0, "no change"),),
        note="Right of 0 is worse. For quality the change is the drop, and 1 % is one percentage point.",
    )  # fmt: skip
    counts = {name: sum(item.verdict == name for item in material.judgements) for name in _VERDICTS}
    return {
        "title": "Verdicts",
        "text": [
            f"Baseline: {plain(material.baseline)}." if material.baseline else "There is no baseline.",
            ", ".join(f"{count} {name}" for name, count in counts.items() if count) + ".",
            *([f"Joules are {plain(meters)}."] if (meters := said_meters(material.run.benchmarks)) else []),
        ],
        "verdicts": [
            {
                "benchmark": plain(item.row), "limit": plain(item.limit), "verdict": item.verdict,
                "reason": plain(item.reason),
            }
            for item in sorted(judgements, key=lambda item: _VERDICTS.index(item.verdict))
        ],
        "charts": present(chart, _launches(material)),
    }  # fmt: skip


def _launches(material: Material) -> Chart | None:
    """What each launch of a comparison in turns said; None where a stored run was the baseline."""
    columns = (*COLUMNS[:3], Column("launch", "launch"), Column("change", "change of one launch", "%"), COLUMNS[-1])
    rows = [
        (item.row, item.metric, item.verdict, number, ratio(value), _limit(item))
        for item in material.judgements
        for number, value in enumerate(material.launches.get((item.fullname, item.metric), ()), 1)
    ]
    return make_chart(
        "gate-launches", "intervals", "The launches behind it",
        "Change of each benchmark in each launch, one point for a pair of fresh processes.",
        columns, rows, x="change", y="benchmark", series="verdict", choose="metric", limit="limit",
        rules=((0.0, "no change"),), note="A launch is the only evidence that counts: its rounds share its luck.",
    )  # fmt: skip


_VERDICTS = ("regressed", "inconclusive", "incomparable", "missing", "pass", "improved")


def _limit(item: Judgement) -> float | None:
    """The limit on the scale of the change; None where an absolute one has nothing to be divided by."""
    try:
        limit = parse_limit(item.limit)
    except OptionError:  # a hook may name limits of its own
        return None
    if limit.relative or METRICS[limit.metric].kind == "quality":
        return limit.value
    return limit.value / item.baseline if item.baseline else None
