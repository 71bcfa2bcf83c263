"""Verdicts of one run against a stored baseline. Pure: records in, verdicts out; nobody exits here.

A stored baseline was measured in another session, so its distance carries the variance between sessions of identical
code; where the baseline's branch has more sessions since its last change point, their mean is the baseline. With the
log ratio `e` of candle-normalised values, its standard error `s` and the limit `L = log(1 + limit)`:

    regressed     e ≥ L, and the lower end of the interval is above 0 (Holm over all noisy pairs, 1 % for the suite)
    improved      the upper end of the interval is below 0
    pass          an increase of L or more is ruled out with 99 %
    inconclusive  none of these
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from energyaware.baselines.comparability import differing, differing_subject
from energyaware.baselines.noise import session_noise, steady_sessions
from energyaware.baselines.values import mean_session, raw_value, session_candle, session_value
from energyaware.config import Limit
from energyaware.records import Benchmark, Run
from energyaware.stats.multiple import holm_levels
from energyaware.stats.student import quantile, tail
from energyaware.units import ABSENT

Verdict = Literal["pass", "improved", "regressed", "inconclusive", "incomparable", "missing"]

# Error rates: a false alarm anywhere in the suite; an increase of the limit that gets through, per benchmark.
SUITE_ALPHA = 0.01
BETA = 0.01


@dataclass(frozen=True)
class Judgement:
    """One benchmark and metric, judged.

    Attributes:
        effect: increase as a ratio (0.05 is 5 %); for quality the drop as a share of 1; None where not comparable.
        low, high: ends of its interval; None where there is none (exact metrics).
        decidable: smallest increase that this comparison catches with 99 %; None where it does not apply.
        baseline, candidate: raw values in the metric's unit, per request where requests are known.
        reason: why it is incomparable, missing or inconclusive, and what would decide it.
    """

    fullname: str
    row: str
    metric: str
    limit: str
    verdict: Verdict
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    decidable: float | None = None
    baseline: float | None = None
    candidate: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Pending:
    """A noisy comparison that waits for its Holm level."""

    judgement: Judgement
    effect: float
    standard_error: float
    degrees: float
    limit: float


def failing(judgements: Sequence[Judgement], strict: bool) -> tuple[Judgement, ...]:
    """Those that fail the run: `regressed`, and with `strict` all that are neither `pass` nor `improved`."""
    bad = {"regressed", "inconclusive", "incomparable", "missing"} if strict else {"regressed"}
    return tuple(item for item in judgements if item.verdict in bad)


def judge(
    candidate: Run,
    baseline: Run | None,
    limits_of: Callable[[str], Sequence[Limit]],
    history: Sequence[Run] = (),
    expected: Callable[[str], bool] = lambda fullname: True,  # noqa: ARG005 - named for callers
    failed: Collection[str] = (),
) -> tuple[Judgement, ...]:
    """Judge every benchmark of `candidate`, and name those of `baseline` that vanished.

    Args:
        limits_of: limits of a benchmark by its full name.
        history: runs of the baseline's branch, oldest first; five or more give the spread between sessions.
        expected: whether a benchmark that only the baseline has should have run here (False: it was deselected).
        failed: benchmarks whose test failed here.
    """
    known = {item.fullname: item for item in baseline.benchmarks} if baseline else {}
    broken = {*failed, *(item.fullname for item in candidate.benchmarks if item.outcome == "failed")}
    done: list[Judgement] = []
    pending: list[_Pending] = []
    for item in candidate.benchmarks:
        if item.fullname in broken:
            continue
        for limit in limits_of(item.fullname):
            start = Judgement(item.fullname, item.row, limit.metric, limit.text, "missing")
            other = known.get(item.fullname)
            if baseline is None or other is None:
                done.append(replace(start, reason="the baseline has no such benchmark"))
                continue
            difference = (
                differing(item, other, candidate.machine, baseline.machine)
                if limit.kind == "noisy"
                else differing_subject(item, other)
            )
            if difference:
                done.append(replace(start, verdict="incomparable", reason=difference))
            elif limit.kind == "exact":
                done.append(judge_exact(start, limit, other, item))
            elif limit.kind == "quality":
                if limit.metric not in item.quality and limit.metric not in other.quality:
                    continue  # a suite-wide limit says nothing about a benchmark that has no such quality
                done.append(judge_quality(start, limit, other, item))
            else:
                outcome = _noisy(start, limit, other, item, history, candidate.machine)
                (pending if isinstance(outcome, _Pending) else done).append(outcome)  # type: ignore[arg-type]
    done.extend(_decide(pending))
    present = {item.fullname for item in candidate.benchmarks}
    for fullname, item in known.items():
        gone = fullname not in present or fullname in broken
        if gone and expected(fullname):
            reason = "its test failed in this run" if fullname in broken else "it is in the baseline, but did not run"
            done.extend(
                Judgement(fullname, item.row, limit.metric, limit.text, "missing", reason=reason)
                for limit in limits_of(fullname)
            )
    order = {name: index for index, name in enumerate([*(b.fullname for b in candidate.benchmarks), *known])}
    return tuple(sorted(done, key=lambda item: order[item.fullname]))


def _noisy(
    start: Judgement,
    limit: Limit,
    baseline: Benchmark,
    candidate: Benchmark,
    history: Sequence[Run],
    machine: Mapping[str, str],
) -> _Pending | Judgement:
    metric = limit.metric
    noise = session_noise(candidate, metric, history, machine)
    steady = steady_sessions(baseline, metric, noise, history, machine)
    before, now = mean_session(steady, metric, noise.slope), session_value(candidate, metric, noise.slope)
    raw_before, raw_now = raw_value(baseline, metric), raw_value(candidate, metric)
    start = replace(start, baseline=raw_before, candidate=raw_now)
    if before is None or now is None or raw_before is None:
        sides = [name for name, side in (("the baseline", before), ("this run", now)) if side is None]
        return replace(start, verdict="incomparable", reason=f"{metric}: no valid reading in {' and '.join(sides)}")
    candles = [value for entry in steady if (value := session_candle(entry, metric)) is not None]
    own_candle = session_candle(candidate, metric)
    moved = own_candle - math.fsum(candles) / len(candles) if own_candle is not None and candles else 0.0
    within = (before.standard_error or 0.0) ** 2 + (now.standard_error or 0.0) ** 2
    error = math.sqrt(noise.variance(moved, len(steady)) + within)
    log_limit = math.log1p(limit.value if limit.relative else limit.value / raw_before)
    return _Pending(start, now.centre - before.centre, error, noise.degrees, log_limit)


def _p_value(item: _Pending) -> float:
    if item.standard_error == 0:  # readings without any noise, as a recording's: nothing is left to chance
        return 0.0 if item.effect > 0 else 1.0
    return tail(item.effect / item.standard_error, item.degrees)


def ratio(log_ratio: float) -> float:
    """A log ratio as a ratio; beyond what a float holds it stays at its largest power."""
    return math.expm1(min(log_ratio, 700.0))


def _decide(pending: Sequence[_Pending]) -> list[Judgement]:
    p_values = [_p_value(item) for item in pending]
    levels = holm_levels(p_values, SUITE_ALPHA)
    decided = []
    for item, p_value, level in zip(pending, p_values, levels, strict=True):
        alarm, miss = quantile(level, item.degrees), quantile(BETA, item.degrees)
        low = item.effect - alarm * item.standard_error
        high = item.effect + alarm * item.standard_error
        verdict: Verdict = "inconclusive"
        if item.effect >= item.limit and p_value <= level:
            verdict = "regressed"
        elif high < 0:
            verdict = "improved"
        elif item.effect + miss * item.standard_error < item.limit:
            verdict = "pass"
        decidable = max(item.limit, (alarm + miss) * item.standard_error)
        needed = math.ceil(((alarm + miss) * item.standard_error / item.limit) ** 2)
        reason = (
            f"about {needed} sessions a side would decide {item.judgement.limit}" if verdict == "inconclusive" else ""
        )
        decided.append(
            replace(
                item.judgement,
                verdict=verdict,
                effect=ratio(item.effect),
                low=ratio(low),
                high=ratio(high),
                decidable=ratio(decidable),
                reason=reason,
            )
        )
    return decided


def _absent(metric: str, before: float | None, now: float | None) -> str:
    return f"{metric}: {ABSENT if before is None else before} in the baseline, {ABSENT if now is None else now} now"


def judge_exact(start: Judgement, limit: Limit, baseline: Benchmark, candidate: Benchmark) -> Judgement:
    """Gate a count, which has no noise."""
    field = "flops" if limit.metric == "flops" else "weight_bytes"
    before, now = getattr(baseline.work, field), getattr(candidate.work, field)
    start = replace(start, baseline=before, candidate=now)
    if not before or now is None:
        return replace(
            start,
            verdict="incomparable",
            reason=_absent(limit.metric, before, now),
        )
    allowed = before * limit.value if limit.relative else limit.value
    # The limit itself must not get through, whatever floating point makes of 5 % of it; 1e-12 as for quality.
    too_much = now > before and now - before >= allowed - 1e-12 * before
    verdict: Verdict = "regressed" if too_much else "improved" if now < before else "pass"
    return replace(start, verdict=verdict, effect=now / before - 1)


def judge_quality(start: Judgement, limit: Limit, baseline: Benchmark, candidate: Benchmark) -> Judgement:
    """Gate the observed drop on the same test set, which is the population; its interval is for the reader."""
    metric = limit.metric
    before, now = baseline.quality.get(metric), candidate.quality.get(metric)
    start = replace(start, baseline=before, candidate=now)
    if before is None or now is None:
        return replace(
            start,
            verdict="incomparable",
            reason=_absent(metric, before, now),
        )
    drop = before - now
    low = high = None
    reason = ""
    theirs, ours = baseline.scores.get(metric), candidate.scores.get(metric)
    if theirs and ours:
        if baseline.example_ids != candidate.example_ids or len(theirs) != len(ours):
            return replace(start, verdict="incomparable", reason=f"{metric}: other examples than in the baseline")
        differences = [old - new for old, new in zip(theirs, ours, strict=True)]
        count, mean = len(differences), math.fsum(differences) / len(differences)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / max(count - 1, 1))
        half = quantile(0.025, math.inf) * deviation / math.sqrt(count)
        low, high = drop - half, drop + half
        if half > limit.value > 0:
            needed = math.ceil((quantile(0.025, math.inf) * deviation / limit.value) ** 2)
            reason = f"{count} examples; {limit.text} needs about {needed} to hold beyond this test set"
    # 1e-12: a drop of exactly the limit is caught although 0.91 - 0.88 is not 0.03 in floating point.
    too_much = drop > 0 and drop >= limit.value - 1e-12
    verdict: Verdict = "regressed" if too_much else "improved" if high is not None and high < 0 else "pass"
    return replace(start, verdict=verdict, effect=drop, low=low, high=high, reason=reason)
