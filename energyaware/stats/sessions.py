"""How much two sessions of identical code differ, learnt from stored sessions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MIN_SESSIONS = 5


def squares(values: Sequence[float]) -> float:
    """Sum of squared deviations from the mean."""
    array = np.asarray(values, dtype=float)
    return float(((array - array.mean()) ** 2).sum())


def control_slope(values: Sequence[float], controls: Sequence[float]) -> float:
    """Slope of a control variate on the log scale, between 0 and 1; 1 where fewer than `MIN_SESSIONS` sessions tell.

    Dividing by the candle (slope 1) helps only where both move together; a smaller slope takes less of it out.

    Args:
        values: log energy of each session.
        controls: log candle energy of the same sessions.
    """
    if len(values) < MIN_SESSIONS:
        return 1.0
    x, c = np.asarray(values, dtype=float), np.asarray(controls, dtype=float)
    variance = squares(controls)
    if variance == 0:
        return 1.0
    return float(np.clip(((x - x.mean()) * (c - c.mean())).sum() / variance, 0.0, 1.0))


def session_spread(values: Sequence[float]) -> float | None:
    """Standard deviation between sessions, from differences of neighbours in time; None under `MIN_SESSIONS`.

    Half the mean squared successive difference estimates the variance whatever slow drift lies under it, so that a
    history in which the code changed now and then stays usable; a step only widens it (von Neumann 1941).

    Args:
        values: one log value per session, oldest first.
    """
    if len(values) < MIN_SESSIONS:
        return None
    steps = np.diff(np.asarray(values, dtype=float))
    return math.sqrt(float((steps**2).mean()) / 2)
