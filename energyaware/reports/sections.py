"""What follows the rankings: fine-tuning, its cost together with inference, who was pruned, the papers' conclusions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from energyaware.ranking.conclusions import conclusions
from energyaware.ranking.cut import Cut
from energyaware.ranking.lifetime import costs
from energyaware.ranking.score import Ranking
from energyaware.ranking.tuning import tunings
from energyaware.records import Benchmark
from energyaware.reports.columns import plain
from energyaware.reports.conclusions import TITLE, conclusion_lines
from energyaware.reports.lifetime import lifetime_table, tuning_table

_TUNING_NOTE = (
    "Losses are nats per token of the answers, epoch by epoch. The target is the worst final validation loss among the "
    "settings of one model; joules count whole epochs."
)
_LIFETIME_NOTE = (
    "Total = fine-tuning + requests × J/request, from raw joules; ± is the 95 % interval over epochs and rounds of "
    "this launch; “from N on” is a number of requests with its 95 % interval. Variants that were pruned or "
    "quantized later carry the fine-tuning that gave them their weights."
)
_NO_LIFETIME = "No variant was both fine-tuned and measured in inference here (--energy-suite=full does both)."


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        table: style and width to table; None where there are lines alone.
        lines: sentences below it.
    """

    title: str
    table: Callable[[str, int | None], str] | None = None
    lines: tuple[str, ...] = ()


def sections(
    benchmarks: Sequence[Benchmark],
    rankings: Sequence[Ranking],
    *,
    full: bool = False,
    requests: int | None = None,
    cuts: Sequence[Cut] = (),
) -> tuple[Section, ...]:
    """Every section that this run has something to say in.

    Args:
        full: whether the whole grid was asked for: only then the papers' conclusions are judged.
        requests: how many requests a variant is to answer in its life; None asks nothing.
        cuts: who was chosen to be pruned.
    """
    found = []
    trained = tunings(benchmarks)
    if trained:
        found.append(
            Section("fine-tuning", lambda style, width: tuning_table(trained, style, width), (_TUNING_NOTE,)),
        )
    if requests is not None:
        found.append(_lifetime(benchmarks, requests))
    if cuts:
        found.append(Section("pruned in the second stage", None, tuple(map(cut_line, cuts))))
    if full:
        found.append(Section(TITLE, None, tuple(conclusion_lines(conclusions(rankings, benchmarks)))))
    return tuple(found)


def cut_line(cut: Cut) -> str:
    """Who went on, and who was skipped with which rank."""
    skipped = [
        f"{plain(name)} ({'no rank' if place is None else f'rank {place}'})"
        for name, place in cut.ranks.items()
        if name not in cut.kept
    ]
    kept = ", ".join(map(plain, cut.kept)) or "none"
    return f"{plain(cut.group)}: the {cut.top} best by R go on: {kept}; skipped: {', '.join(skipped) or 'none'}"


def _lifetime(benchmarks: Sequence[Benchmark], requests: int) -> Section:
    title = f"fine-tuning and {requests:,} requests"
    found = costs(benchmarks)
    known = [cost for cost in found if not cost.trivial]
    broken = ", ".join(plain(cost.row) for cost in found if cost.trivial)
    left_out = (f"Left out, being no better than the trivial baseline: {broken}",) if broken else ()
    if not known:
        return Section(title, None, left_out or (_NO_LIFETIME,))
    return Section(
        title, lambda style, width: lifetime_table(known, requests, style, width), (_LIFETIME_NOTE, *left_out)
    )
