"""Fine-tuning and inference added up: T(N) = F + N · E, and the N from which one variant costs less than another.

F is the energy of the whole fine-tuning, E that of one request. Both come from rounds of one launch, so the intervals
tell how well that launch was read, not how launches differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from energyaware.ranking.score import detail, quality_of, trivial_quality_of
from energyaware.ranking.tuning import EPOCHS_FEATURE, is_tuning
from energyaware.records import Benchmark
from energyaware.stats.location import log_values, trimmed_mean
from energyaware.variants.tuned import trained_as


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity and half of its 95 % interval, in the same unit; None where too few rounds tell."""

    value: float
    half_width: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a variant costs.

    Attributes:
        row: the variant's id.
        finetune_j: joules of its fine-tuning, once.
        request_j: joules of one request; with several tasks their mean, each task having the same share of requests.
        quality: mean over the tasks, None where one has none.
        trivial: whether it answers some task no better than a reader who looks at nothing: that saves no joules.
    """

    row: str
    finetune_j: Amount
    request_j: Amount
    quality: float | None
    trivial: bool = False

    def total_j(self, requests: int) -> Amount:
        """Joules of fine-tuning and `requests` requests."""
        return _sum(self.finetune_j, _scaled(self.request_j, requests))


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many requests on the variant that costs more to train costs less in all.

    Attributes:
        dearer: the variant whose fine-tuning costs more.
        cheaper: the other one.
        requests: from here on `dearer` has cost less; None where it never does.
        low, high: 95 % interval; `high` is None where the data do not say that it ever happens.
    """

    dearer: str
    cheaper: str
    requests: float | None
    low: float | None
    high: float | None


def costs(benchmarks: Sequence[Benchmark]) -> tuple[Cost, ...]:
    """The cost of every variant that was fine-tuned and then measured in inference.

    A pruned variant, or one that was quantized later, has its weights from the fine-tuning of another variant and
    carries its cost. Only inference with a recorded quality counts: that is what answers requests at their natural
    length.
    """
    spent: dict[str, Amount] = {}
    for item in benchmarks:
        if is_tuning(item) and item.variant is not None:
            spent[item.variant.id] = tuning_j(item)
    answered: dict[str, list[Benchmark]] = {}
    sources: dict[str, str] = {}
    for item in benchmarks:
        variant = item.variant
        if variant is None or item.phase != "inference" or item.outcome != "passed" or not item.rounds:
            continue
        source = trained_as(variant).id
        if item.quality and source in spent:
            answered.setdefault(item.row, []).append(item)
            sources[item.row] = source
    return tuple(
        Cost(row, spent[sources[row]], _request(items), _quality(items), any(map(_is_trivial, items)))
        for row, items in answered.items()
    )


def tuning_j(benchmark: Benchmark) -> Amount:
    """Joules of a whole fine-tuning: its epochs times their mean, so that a discarded round leaves no hole.

    The interval is the spread of its epochs: what another training of as many epochs would draw from.
    """
    joules = [item.reading.above_idle_j(benchmark.idle_w) / item.calls for item in benchmark.rounds]
    epochs = benchmark.features.get(EPOCHS_FEATURE, float(len(joules)))
    total = math.fsum(joules) / len(joules) * epochs
    relative = trimmed_mean(log_values(joules)).half_width
    return Amount(total, None if relative is None else total * relative)


def ordered(found: Sequence[Cost], requests: int) -> tuple[Cost, ...]:
    """The variants by what they cost for `requests` requests, least first."""
    return tuple(sorted(found, key=lambda cost: cost.total_j(requests).value))


def break_even(one: Cost, other: Cost) -> BreakEven:
    """Solve F₁ + N·E₁ = F₂ + N·E₂ for N.

    The interval takes both differences at the ends of theirs (independent errors added in quadrature), which is wider
    than 95 % asks for.
    """
    dearer, cheaper = (one, other) if one.finetune_j.value >= other.finetune_j.value else (other, one)
    extra = _difference(dearer.finetune_j, cheaper.finetune_j)
    saved = _difference(cheaper.request_j, dearer.request_j)
    requests = extra.value / saved.value if saved.value > 0 else None
    low = high = None
    if extra.half_width is not None and saved.half_width is not None:
        most_saved, least_saved = saved.value + saved.half_width, saved.value - saved.half_width
        if most_saved > 0:
            low = max(0.0, extra.value - extra.half_width) / most_saved
        if least_saved > 0:
            high = (extra.value + extra.half_width) / least_saved
    return BreakEven(dearer.row, cheaper.row, requests, low, high)


def break_evens(found: Sequence[Cost], requests: int) -> tuple[BreakEven, ...]:
    """The variant that is best for `requests` requests against each of the others."""
    if not found:
        return ()
    best, *others = ordered(found, requests)
    return tuple(break_even(best, other) for other in others)


def _request(items: Sequence[Benchmark]) -> Amount:
    details = [detail(item) for item in items]
    values = [item.energy_j for item in details if item.energy_j is not None]
    halves = [
        None if item.energy_error is None or item.energy_j is None else item.energy_error * item.energy_j
        for item in details
    ]
    known = [half for half in halves if half is not None]
    half_width = math.hypot(*known) / len(details) if len(known) == len(details) else None
    return Amount(math.fsum(values) / len(values), half_width)


def _quality(items: Sequence[Benchmark]) -> float | None:
    values = [quality_of(item)[1] for item in items]
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _is_trivial(item: Benchmark) -> bool:
    value, floor = quality_of(item)[1], trivial_quality_of(item)
    return value is not None and floor is not None and value <= floor


def _scaled(amount: Amount, factor: float) -> Amount:
    return Amount(amount.value * factor, None if amount.half_width is None else amount.half_width * factor)


def _sum(one: Amount, other: Amount) -> Amount:
    half_width = None
    if one.half_width is not None and other.half_width is not None:
        half_width = math.hypot(one.half_width, other.half_width)
    return Amount(one.value + other.value, half_width)


def _difference(one: Amount, other: Amount) -> Amount:
    return _sum(one, _scaled(other, -1.0))
