"""Student's t distribution, by the special functions that `scipy.stats` calls too: those load in a part of the time."""

from __future__ import annotations

import math


def quantile(level: float, degrees: float) -> float:
    """Value that Student's t exceeds with probability `level`.

    Args:
        degrees: of freedom; infinitely many give the normal distribution.
    """
    from scipy.special import ndtri, stdtrit  # here, as importing it takes long

    return -float(ndtri(level) if math.isinf(degrees) else stdtrit(degrees, level))


def tail(value: float, degrees: float) -> float:
    """Probability that Student's t exceeds `value`.

    Args:
        degrees: of freedom; infinitely many give the normal distribution.
    """
    from scipy.special import ndtr, stdtr  # here, as importing it takes long

    return float(ndtr(-value) if math.isinf(degrees) else stdtr(degrees, -value))
