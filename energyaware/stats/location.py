"""A centre and its standard error that a few disturbed rounds cannot move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from energyaware.stats.student import quantile

TRIM = 0.2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A centre and how sure it is.

    Attributes:
        standard_error: None where too few values tell.
        count: values it rests on.
        degrees: degrees of freedom of the standard error.
    """

    centre: float
    standard_error: float | None
    count: int
    degrees: int = 0

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval, by Student's t; None without a standard error."""
        if self.standard_error is None:
            return None
        return quantile(0.025, self.degrees) * self.standard_error


def trimmed_mean(values: Sequence[float], trim: float = TRIM) -> Estimate:
    """The mean without the share `trim` at each end, with Yuen's standard error from winsorised values.

    Source: Yuen (1974), “The two-sample trimmed t for unequal population variances”, Biometrika 61.

    Raises:
        ValueError: no value.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    count = len(ordered)
    if count == 0:
        raise ValueError("no value to average")
    cut = int(trim * count)
    kept = count - 2 * cut
    centre = float(ordered[cut : count - cut].mean())
    if kept < 2:
        return Estimate(centre, None, count)
    winsorised = np.clip(ordered, ordered[cut], ordered[count - cut - 1])
    spread = float(np.sqrt(((winsorised - winsorised.mean()) ** 2).sum() / (kept * (kept - 1))))
    return Estimate(centre, spread, count, kept - 1)


def log_values(values: Sequence[float]) -> list[float]:
    """Natural logarithms; every value is positive by construction of a reading."""
    return [math.log(value) for value in values]
