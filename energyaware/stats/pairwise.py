"""How much two things differ: paired over replicates, or over the rounds of one launch.

All values are logarithms, so a difference is the log of a ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from energyaware.stats.location import trimmed_mean
from energyaware.stats.student import quantile, tail


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and how sure it is.

    Attributes:
        low, high: 95 % interval; None where too few values tell.
        p_value: of no difference, two-sided.
        count: values it rests on.
    """

    estimate: float
    low: float | None
    high: float | None
    p_value: float | None
    count: int


def paired(differences: Sequence[float]) -> Difference:
    """Student's t on differences of pairs, one per replicate.

    Raises:
        ValueError: no difference.
    """
    values = np.asarray(differences, dtype=float)
    if not len(values):
        raise ValueError("no pair")
    centre = float(values.mean())
    if len(values) < 2:
        return Difference(centre, None, None, None, 1)
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return _judged(centre, error, len(values) - 1, len(values))


def independent(first: Sequence[float], second: Sequence[float]) -> Difference:
    """`first` minus `second` by Yuen's test: trimmed means, winsorised variances, Welch's degrees of freedom.

    Source: Yuen (1974), “The two-sample trimmed t for unequal population variances”, Biometrika 61.

    Raises:
        ValueError: one has no value.
    """
    a, b = trimmed_mean(first), trimmed_mean(second)
    count = a.count + b.count
    if a.standard_error is None or b.standard_error is None:
        return Difference(a.centre - b.centre, None, None, None, count)
    one, two = a.standard_error**2, b.standard_error**2
    degrees = (one + two) ** 2 / (one**2 / a.degrees + two**2 / b.degrees) if one + two > 0 else 1.0
    return _judged(a.centre - b.centre, math.sqrt(one + two), degrees, count)


def _judged(centre: float, error: float, degrees: float, count: int) -> Difference:
    if error == 0:
        return Difference(centre, centre, centre, 0.0 if centre else 1.0, count)
    half = quantile(0.025, degrees) * error
    p_value = 2 * tail(abs(centre) / error, degrees)
    return Difference(centre, centre - half, centre + half, p_value, count)
