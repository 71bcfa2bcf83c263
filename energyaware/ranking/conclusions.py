"""Do the papers' conclusions hold here? Each claim gets a verdict from this run's rows, and the rows that say so.

A verdict rests on intervals: `confirmed` where they stand on the claim's side, `refuted` where they stand against it,
`undecided` where they hold both, and `not testable` where the run lacks the rows. Models are judged one by one, since
a claim about precisions must not become one about sizes; a claim that fails on one model does not hold here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from energyaware.ranking.score import Ranking, Row, quality_of
from energyaware.ranking.tuning import BASE_TRAIT
from energyaware.records import Benchmark, Variant
from energyaware.stats.location import Estimate, log_values, trimmed_mean
from energyaware.stats.multiple import holm_levels
from energyaware.stats.pairwise import independent, paired

Verdict = Literal["confirmed", "refuted", "undecided", "not testable"]

SIXTEEN_BIT = ("bf16", "fp16")
TWO_OF_FOUR = tuple(f"{method}2of4{end}" for method in ("", "wanda-", "sparsegpt-") for end in ("", "-recovered"))
PHASES = ("finetune", "inference")
HARDLY = 0.10
"""A change of time by less than this share counts as `hardly`: the papers give no number, this one is ours."""
ALPHA = 0.05
MASKED = "zeros run dense (masked)"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """One claim and what this run says about it.

    Attributes:
        rows: the rows that say so.
        reason: their numbers, or what is missing.
    """

    claim: str
    verdict: Verdict
    rows: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one model, or one setting, says: True for the claim, False against it, None where both may be."""

    holds: bool | None
    rows: tuple[str, ...]
    text: str


def conclusions(rankings: Sequence[Ranking], benchmarks: Sequence[Benchmark]) -> tuple[Conclusion, ...]:
    """Every claim of the papers, in their order."""
    return (
        sixteen_bit_best(rankings),
        sixteen_bit_2of4_best(rankings),
        compression_improves_quality(benchmarks),
        decode_dominates(benchmarks),
        decode_ignores_clock(benchmarks),
    )


def sixteen_bit_best(rankings: Sequence[Ranking]) -> Conclusion:
    """16-bit is the best trade-off in both phases: per phase and model, the best unpruned 16-bit row against others."""
    claim = "16-bit is the best trade-off of energy and quality, in fine-tuning and in inference"
    findings: list[_Finding] = []
    missing: list[str] = []
    for phase in PHASES:
        found = [
            finding
            for ranking in rankings
            for model, rows in _by_model(_unpruned(ranking, phase)).items()
            if (finding := _best(f"{phase}, {model}", rows, _is_sixteen_bit)) is not None
        ]
        findings += found
        if not found:
            missing.append(phase)
    return _judge(claim, findings, missing, "rows in 16 bit and in another precision, with an R")


def sixteen_bit_2of4_best(rankings: Sequence[Ranking]) -> Conclusion:
    """16-bit with 2:4 is the best balance: per model, its best row against all others of inference."""
    claim = "16-bit with 2:4 sparsity is the best balance in inference"
    findings = []
    for ranking in rankings:
        rows = [row for row in ranking.rows if _phase(row) == "inference" and row.r is not None]
        for model, of_model in _by_model(rows).items():
            finding = _best(model, of_model, _is_sixteen_bit_2of4)
            if finding is not None:
                findings.append(finding)
    found = _judge(claim, findings, [] if findings else ["inference"], "a 2:4 row in 16 bit and others, with an R")
    named = set(found.rows)
    dense_kernels = any(
        note.startswith(MASKED)
        for ranking in rankings
        for row in ranking.rows
        if row.name in named
        for item in row.details
        for note in item.benchmark.notes
    )
    if not dense_kernels:
        return found
    return Conclusion(claim, found.verdict, found.rows, f"{found.reason}; here the zeros run through dense kernels")


def compression_improves_quality(benchmarks: Sequence[Benchmark]) -> Conclusion:
    """Compression can improve quality: each compressed variant against fp32 dense, example by example.

    One-sided paired tests on the first recorded metric, with Holm's correction over all of them. Refuted where every
    interval lies below 0.
    """
    claim = "compression can improve quality"
    usable = [item for item in benchmarks if item.outcome == "passed" and item.variant and item.phase == "inference"]
    plain = {_place(item): item for item in usable if item.variant and _is_plain(item.variant)}
    differences = []
    for item in usable:
        reference = plain.get(_place(item))
        if reference is None or item is reference:
            continue
        pairs = _pairs(item, reference)
        if pairs:
            differences.append((item, paired(pairs)))
    tested = [(item, found) for item, found in differences if found.p_value is not None]
    if not tested:
        return Conclusion(
            claim, "not testable", (), "needs a compressed variant and fp32 dense, scored on the same examples"
        )
    # One-sided: half of the two-sided value where the difference points upwards.
    p_values = [
        (found.p_value or 0.0) / 2 if found.estimate > 0 else 1 - (found.p_value or 0.0) / 2 for _, found in tested
    ]
    levels = holm_levels(p_values, ALPHA)
    better = [
        (item, found)
        for (item, found), p_value, level in zip(tested, p_values, levels, strict=True)
        if p_value <= level and found.estimate > 0
    ]
    if better:
        text = ", ".join(f"{item.row} {found.estimate * 100:+.1f} pp" for item, found in better)
        return Conclusion(claim, "confirmed", tuple(dict.fromkeys(item.row for item, _ in better)), text)
    top, found = max(tested, key=lambda pair: pair[1].estimate)
    text = f"best of {len(tested)} comparisons: {top.row} {_points(found.estimate, found.low, found.high)}"
    if all(entry.high is not None and entry.high < 0 for _, entry in tested):
        return Conclusion(claim, "refuted", (top.row,), text)
    return Conclusion(claim, "undecided", (top.row,), text)


def decode_dominates(benchmarks: Sequence[Benchmark]) -> Conclusion:
    """Decode takes more than half of the joules of a generation whose phases were metered as windows."""
    claim = "decode dominates the energy of a generation"
    findings = []
    for item in benchmarks:
        shares = [
            entry.windows["decode"].total_j / (entry.windows["decode"].total_j + entry.windows["prefill"].total_j)
            for entry in item.rounds
            if {"prefill", "decode"} <= set(entry.windows)
        ]
        if item.outcome != "passed" or not shares:
            continue
        low, high = _interval(trimmed_mean(shares))
        holds = None
        if low is not None and high is not None and not low <= 0.5 <= high:
            holds = low > 0.5
        lengths = f"{item.traits.get('input tokens', '?')} tokens in, {item.traits.get('output tokens', '?')} out"
        centre = trimmed_mean(shares).centre
        findings.append(_Finding(holds, (item.row,), f"{item.row} ({lengths}) {100 * centre:.0f} %"))
    return _judge(claim, findings, [] if findings else ["generation"], "prefill and decode metered in one benchmark")


def decode_ignores_clock(benchmarks: Sequence[Benchmark]) -> Conclusion:
    """The time of decode at the lowest and the highest setting of a sweep differs by less than `HARDLY`."""
    claim = f"the time of decode hardly depends on the clock (less than {100 * HARDLY:.0f} %)"
    sweeps: dict[str, list[Benchmark]] = {}
    for item in benchmarks:
        if item.phase == "decode" and "dvfs" in item.traits and item.rounds and item.outcome == "passed":
            sweeps.setdefault(item.row, []).append(item)
    findings = []
    for row, items in sweeps.items():
        seconds = {
            item.traits["dvfs"]: log_values([entry.duration_s / entry.calls for entry in item.rounds]) for item in items
        }
        if len(seconds) < 2:
            continue
        ordered = sorted(seconds, key=lambda setting: trimmed_mean(seconds[setting]).centre)
        fastest, slowest = ordered[0], ordered[-1]
        found = independent(seconds[slowest], seconds[fastest])
        limit = math.log1p(HARDLY)
        holds = None
        if found.low is not None and found.high is not None and not found.low <= limit <= found.high:
            holds = found.high < limit
        text = f"{row}: {100 * math.expm1(found.estimate):+.0f} % from {fastest} to {slowest}"
        findings.append(_Finding(holds, (row,), text))
    return _judge(claim, findings, [] if findings else ["clocks"], "decode at two settings or more (--energy-dvfs=…)")


def _judge(claim: str, findings: Sequence[_Finding], missing: Sequence[str], needed: str) -> Conclusion:
    """All for it: confirmed. One against it: refuted, whatever is missing. Else undecided."""
    against = [item for item in findings if item.holds is False]
    if against:
        return Conclusion(claim, "refuted", _rows(against), "; ".join(item.text for item in against))
    if missing:
        text = f"needs {needed}: none for {' and '.join(missing)}"
        return Conclusion(claim, "not testable", _rows(findings), "; ".join([text, *(item.text for item in findings)]))
    open_ = [item for item in findings if item.holds is None]
    verdict: Verdict = "undecided" if open_ else "confirmed"
    shown = open_ or findings
    return Conclusion(claim, verdict, _rows(shown), "; ".join(item.text for item in shown))


def _rows(findings: Iterable[_Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row for item in findings for row in item.rows))


def _best(label: str, rows: Sequence[Row], wanted: Callable[[Variant], bool]) -> _Finding | None:
    """The best row of those wanted against the best of the others, by R; None where one side is empty."""
    ours: list[Row] = []
    others: list[Row] = []
    for row in rows:
        variant = _variant(row)
        if variant is not None and row.r is not None:
            (ours if wanted(variant) else others).append(row)
    if not ours or not others:
        return None
    one, other = max(ours, key=_score), max(others, key=_score)
    holds = None
    if one.r_low is not None and other.r_high is not None and one.r_low > other.r_high:
        holds = True
    elif other.r_low is not None and one.r_high is not None and other.r_low > one.r_high:
        holds = False
    text = f"{label}: {one.name} R {_score(one):.3f} against {other.name} {_score(other):.3f}"
    return _Finding(holds, (one.name, other.name), text)


def _score(row: Row) -> float:
    return row.r if row.r is not None else -math.inf


def _variant(row: Row) -> Variant | None:
    return row.details[0].benchmark.variant if row.details else None


def _phase(row: Row) -> str:
    return row.details[0].benchmark.phase if row.details else ""


def _unpruned(ranking: Ranking, phase: str) -> list[Row]:
    rows = []
    for row in ranking.rows:
        variant = _variant(row)
        if variant is not None and variant.pruning == "dense" and _phase(row) == phase and row.r is not None:
            rows.append(row)
    return rows


def _by_model(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the model that they come from, before any fine-tuning."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        variant = _variant(row)
        if variant is not None:
            base = row.details[0].benchmark.traits.get(BASE_TRAIT, variant.model)
            found.setdefault(base, []).append(row)
    return found


def _is_sixteen_bit(variant: Variant) -> bool:
    return variant.precision in SIXTEEN_BIT


def _is_sixteen_bit_2of4(variant: Variant) -> bool:
    return variant.precision in SIXTEEN_BIT and variant.pruning in TWO_OF_FOUR


def _is_plain(variant: Variant) -> bool:
    return variant.precision == "fp32" and variant.pruning == "dense"


def _place(benchmark: Benchmark) -> tuple[str, str, str]:
    """What two variants must share for their qualities to be compared."""
    return benchmark.group, benchmark.task, benchmark.variant.model if benchmark.variant else ""


def _pairs(item: Benchmark, reference: Benchmark) -> list[float]:
    """Differences of the first metric, example by example; empty where the examples are not the same."""
    metric, _ = quality_of(reference)
    ours, theirs = item.scores.get(metric, ()), reference.scores.get(metric, ())
    if not ours or len(ours) != len(theirs) or item.example_ids != reference.example_ids:
        return []
    return [one - other for one, other in zip(ours, theirs, strict=True)]


def _points(estimate: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{estimate * 100:+.1f} pp"
    return f"{estimate * 100:+.1f} pp [{low * 100:+.1f}, {high * 100:+.1f}]"


def _interval(estimate: Estimate) -> tuple[float | None, float | None]:
    half_width = estimate.half_width
    if half_width is None:
        return None, None
    return estimate.centre - half_width, estimate.centre + half_width
