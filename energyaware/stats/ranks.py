"""Whether two numbers rise together, whatever the shape."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def spearman(first: Sequence[float], second: Sequence[float], blocks: Sequence[Hashable]) -> float | None:
    """Spearman's rank correlation, ranked within each block and averaged over blocks by their number of rows.

    Returns:
        None where in no block both vary over at least three rows.
    """
    rows: dict[Hashable, list[tuple[float, float]]] = {}
    for label, a, b in zip(blocks, first, second, strict=True):
        rows.setdefault(label, []).append((a, b))
    total, weight = 0.0, 0
    for pairs in rows.values():
        one, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if len(pairs) < 3 or len({*one}) < 2 or len({*other}) < 2:
            continue
        total += float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]) * len(pairs)
        weight += len(pairs)
    return total / weight if weight else None


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks from 1 up; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
    return ranks
