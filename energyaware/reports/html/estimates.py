"""Numbers with intervals, from what the ranking holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from energyaware.ranking.score import Detail, Row

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its 95 % interval; None where nothing tells them."""

    value: float
    low: float | None = None
    high: float | None = None


def energy(detail: Detail) -> Interval | None:
    """Raw joules per request, with the interval over rounds."""
    return None if detail.energy_j is None else _from_log(math.log(detail.energy_j), detail.energy_error)


def energy_per_token(detail: Detail) -> Interval | None:
    """Raw joules per token, with the interval over rounds."""
    if detail.energy_per_token_j is None:
        return None
    return _from_log(math.log(detail.energy_per_token_j), detail.energy_error)


def row_energy(row: Row) -> Interval | None:
    """Geometric mean over a row's tasks of its raw joules per request."""
    values = [item.energy_j for item in row.details]
    known = [math.log(value) for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return _from_log(fmean(known), _mean_error([item.energy_error for item in row.details]))


def row_quality(row: Row) -> Interval | None:
    """ρ, with the interval of sampling examples; none where no scores of examples were recorded."""
    if row.rho is None:
        return None
    errors = [quality_half_width(item) for item in row.details]
    error = _mean_error(errors)
    return Interval(row.rho) if error is None else Interval(row.rho, row.rho - error, row.rho + error)


def quality_half_width(detail: Detail) -> float | None:
    """Half of the 95 % interval of a mean of scores; None without a score per example."""
    scores = detail.benchmark.scores.get(detail.quality_name, ())
    return _NORMAL_95 * stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else None


def quality_change(first: Row, second: Row) -> Interval | None:
    """ρ of `first` less that of `second`; the interval is over the same examples, read by both."""
    if first.rho is None or second.rho is None:
        return None
    others = {item.benchmark.task: item for item in second.details}
    found = [paired_half_width(item, others.get(item.benchmark.task)) for item in first.details]
    error, change = _mean_error(found), first.rho - second.rho
    return Interval(change) if error is None else Interval(change, change - error, change + error)


def paired_half_width(first: Detail, second: Detail | None) -> float | None:
    """Half of the 95 % interval of the difference of two qualities on the same examples; None without such scores."""
    if second is None or first.quality_name != second.quality_name:
        return None
    if not first.benchmark.example_ids or first.benchmark.example_ids != second.benchmark.example_ids:
        return None
    scores, others = (item.benchmark.scores.get(item.quality_name, ()) for item in (first, second))
    if len(scores) != len(others) or len(scores) < 2:
        return None
    changes = [mine - other for mine, other in zip(scores, others, strict=True)]
    return _NORMAL_95 * stdev(changes) / math.sqrt(len(changes))


def ratio(first: Detail, second: Detail) -> Interval | None:
    """Raw energy of `first` over that of `second`, with the interval over rounds of both."""
    if first.energy_j is None or second.energy_j is None:
        return None
    errors = (first.energy_error, second.energy_error)
    known = [value for value in errors if value is not None]
    error = math.hypot(*known) if len(known) == len(errors) else None
    return _from_log(math.log(first.energy_j / second.energy_j), error)


def row_ratio(first: Row, second: Row) -> Interval | None:
    """Energy of one ranked row over another's, as the ranking compares them: φ is the inverse of energy.

    The interval is that of rounds, by the raw readings: it says nothing about another launch.
    """
    if not first.phi or not second.phi:
        return None
    errors = [item.energy_error for row in (first, second) for item in row.details]
    mean = _mean_error(errors)
    # Both rows have the same number of tasks, and each row's mean is over half of these errors.
    return _from_log(math.log(second.phi / first.phi), None if mean is None else 2 * mean)


def _mean_error(errors: Sequence[float | None]) -> float | None:
    """Half-width of a mean of independent values; None where one has none."""
    known = [error for error in errors if error is not None]
    return math.hypot(*known) / len(known) if known and len(known) == len(errors) else None


def _from_log(centre: float, error: float | None) -> Interval:
    if error is None:
        return Interval(math.exp(centre))
    return Interval(math.exp(centre), math.exp(centre - error), math.exp(min(centre + error, 700.0)))
