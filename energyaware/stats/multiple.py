"""Many tests, one error rate."""

from __future__ import annotations

from collections.abc import Sequence


def holm_levels(p_values: Sequence[float], alpha: float) -> list[float]:
    """The level at which each hypothesis is tested in Holm's step-down procedure, in the order given.

    A hypothesis is rejected when its p value is at most its level. Once one is kept, all with larger p values are: they
    get the level of the step that stopped, which their p value exceeds too.

    Source: Holm (1979), “A simple sequentially rejective multiple test procedure”.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    levels = [0.0] * len(p_values)
    kept: float | None = None
    for step, index in enumerate(order):
        level = alpha / (len(order) - step)
        if kept is not None:
            level = kept
        elif p_values[index] > level:
            kept = level
        levels[index] = level
    return levels
