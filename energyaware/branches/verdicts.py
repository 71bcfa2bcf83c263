"""Verdicts on interleaved launches. Pure: launches in, judgements out.

Joules and seconds are judged by the sequential test of `energyaware.stats.sequential` on one value per launch, the mean
of log(head / base) over the middle half of its rounds: neighbours disturb single rounds by tens of percent. Exact
counts and qualities do not depend on the launch: the first one is judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from energyaware.baselines.comparability import differing
from energyaware.baselines.gate import Judgement, judge_exact, judge_quality, ratio
from energyaware.baselines.values import raw_value, round_value
from energyaware.branches.launches import Launch, Pair, Question
from energyaware.config import Limit, parse_limits
from energyaware.records import Benchmark
from energyaware.stats.location import trimmed_mean
from energyaware.stats.sequential import Decision, Plan, decide

Key = tuple[str, str]

LAUNCH_TRIM = 0.25
"""Share of a launch's rounds that is left out at each end."""


@dataclass(frozen=True)
class Standing:
    """How a comparison stands.

    Attributes:
        judgements: in the order of the benchmarks; those still open are `inconclusive` so far.
        open: benchmarks that need more launches.
    """

    judgements: tuple[Judgement, ...]
    open: tuple[str, ...]


def launch_value(pair: Pair, metric: str) -> float | None:
    """Mean of log(head / base) over the middle rounds of one launch; None where a side has no value."""
    base, head = pair.base, pair.head
    if base is None or head is None:
        return None
    if metric == "memory":
        if not base.peak_memory_bytes or not head.peak_memory_bytes:
            return None
        return math.log(head.peak_memory_bytes / base.peak_memory_bytes)
    ratios = [
        math.log(round_value(head, metric, now) / round_value(base, metric, before))
        for before, now in zip(base.rounds, head.rounds, strict=True)
    ]
    return trimmed_mean(ratios, LAUNCH_TRIM).centre if ratios else None


def standing(question: Question, launches: Sequence[Launch], plan: Plan, *, ended: bool) -> Standing:
    """Judge every benchmark on the launches so far.

    Args:
        ended: no further launch will come.
    """
    judged: dict[Key, Judgement] = {}
    evidence: dict[Key, list[float]] = {}
    limits: dict[Key, float] = {}
    closed: set[Key] = set()
    failed: dict[Key, str] = {}
    for name in question.ids:
        pairs = [launch.pairs[name] for launch in launches if name in launch.pairs]
        measured = [(pair.base, pair.head) for pair in pairs if pair.base is not None and pair.head is not None]
        why = next((problem for pair in pairs if (problem := _problem(pair))), "")
        for limit in parse_limits(question.limits[name]):
            key = (name, limit.metric)
            start = judged[key] = Judgement(name, _row(pairs, name), limit.metric, limit.text, "inconclusive")
            if not measured:
                if why:
                    judged[key] = replace(start, verdict="missing", reason=why)
                continue
            base, head = measured[0]
            if limit.kind == "quality" and not any(limit.metric in side.quality for side in (base, head)):
                del judged[key]  # a suite-wide limit says nothing about a benchmark that has no such quality
                continue
            certain = _certain(start, limit, base, head, question)
            if certain is not None:
                judged[key] = certain
                continue
            judged[key] = replace(
                start,
                baseline=_raw([before for before, _ in measured], limit.metric),
                candidate=_raw([after for _, after in measured], limit.metric),
            )
            evidence[key] = [value for pair in pairs if (value := launch_value(pair, limit.metric)) is not None]
            limits[key] = _log_limit(limit, [before for before, _ in measured[: plan.looks[0]]])
            if len(evidence[key]) < len(pairs):
                closed.add(key)
            if why:
                failed[key] = why
    decisions = decide(plan, evidence, limits, closed=closed, ended=ended) if limits else {}
    for key, decision in decisions.items():
        undecided = decision.verdict in ("open", "inconclusive")
        judged[key] = (
            replace(judged[key], verdict="missing", reason=failed[key])
            if undecided and key in failed
            else _decided(judged[key], decision, evidence[key])
        )
    for name, reason in question.missing.items():
        for limit in parse_limits(question.limits[name]):
            judged[name, limit.metric] = Judgement(name, name, limit.metric, limit.text, "missing", reason=reason)
    still_open = {key[0] for key, decision in decisions.items() if decision.verdict == "open" and key not in failed}
    unseen = set() if launches else set(question.ids)
    return Standing(tuple(judged.values()), tuple(name for name in question.ids if name in still_open | unseen))


def _problem(pair: Pair) -> str:
    """Why a test has no numbers; empty where it has."""
    errors = {"base": pair.base_error, "head": pair.head_error}
    return "; ".join(f"its test failed in the {side}: {error}" for side, error in errors.items() if error)


def _log_limit(limit: Limit, first: Sequence[Benchmark]) -> float:
    """The limit on the log scale; one in joules is taken relative to the base up to the first look, then stays."""
    return math.log1p(limit.value if limit.relative else limit.value / (_raw(first, limit.metric) or math.nan))


def _certain(start: Judgement, limit: Limit, base: Benchmark, head: Benchmark, question: Question) -> Judgement | None:
    """The judgement, where one launch is enough for it."""
    difference = differing(head, base, question.machine, question.machine)
    if difference:
        return replace(start, verdict="incomparable", reason=difference)
    if limit.kind == "exact":
        return judge_exact(start, limit, base, head)
    if limit.kind == "quality":
        return judge_quality(start, limit, base, head)
    missing = [side for side, item in (("base", base), ("head", head)) if raw_value(item, limit.metric) is None]
    if missing:
        reason = f"{limit.metric}: no valid reading in the {' and the '.join(missing)}"
        return replace(start, verdict="incomparable", reason=reason)
    return None


def _decided(start: Judgement, decision: Decision, values: Sequence[float]) -> Judgement:
    verdict = "inconclusive" if decision.verdict == "open" else decision.verdict
    reason = ""
    if verdict == "inconclusive":
        enough = "too few launches" if decision.needed is None else f"about {decision.needed} more would"
        reason = f"{len(values)} launches do not decide {start.limit}: {enough}"
    return replace(
        start,
        verdict=verdict,
        effect=None if decision.effect is None else ratio(decision.effect),
        low=None if decision.low is None else ratio(decision.low),
        high=None if decision.high is None else ratio(decision.high),
        reason=reason,
    )


def _raw(side: Sequence[Benchmark], metric: str) -> float | None:
    """What people read: the geometric mean over launches."""
    values = [value for item in side if (value := raw_value(item, metric)) is not None]
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None


def _row(pairs: Sequence[Pair], name: str) -> str:
    known = next((item for pair in pairs for item in (pair.head, pair.base) if item is not None), None)
    return known.row if known is not None else name
