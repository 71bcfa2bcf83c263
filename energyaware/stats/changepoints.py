"""Where the level of a branch's history changed: steps and slow drifts that no single comparison sees. Pure.

Circular binary segmentation: the stretch of sessions whose mean stands out most from the rest is found, and kept where
fewer than a share `alpha` of random orders of the same sessions hold one that stands out as much; then the parts are
searched in the same way. It sees a level that rises and is repaired later, which a split in two averages away, and the
permutation test allows for the search itself, unlike a t test at the best place.

A history without a change raises an alarm with probability `alpha` at most, as long as its sessions are exchangeable;
sessions that wander (neighbours alike) are what this is meant to flag, whatever made them wander.

Sources: Olshen, Venkatraman, Lucito and Wigler (2004), “Circular binary segmentation for the analysis of array-based
DNA copy number data”, Biostatistics 5; Fleming et al. (2023), “Hunter: using change point detection to hunt for
performance regressions”, ICPE, for the step that merges what turns out weak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from energyaware.stats.student import quantile

ALPHA = 0.05
PERMUTATIONS = 999
# A session alone is an outlier, not a level.
SHORTEST = 2
# Values further from their segment's median than this many robust standard deviations count as that far.
CLIP = 4.0
_NORMAL_QUARTILE = 0.6744897501960817
_BLOCK = 2_000_000  # elements of a temporary array
# Starts and ends (exclusive) of stretches of a segment.
Arcs = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, slots=True)
class Step:
    """The level changed between two sessions.

    Attributes:
        index: first session of the new level.
        effect: mean after minus mean before, up to the neighbouring steps; log scale where the values are logs.
        low, high: its 95 % interval by Student's t, given the place, which is itself uncertain.
        p_value: of the permutation test within the two neighbouring segments.
    """

    index: int
    effect: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Drift:
    """The level moved steadily, which describes the history better than steps do.

    Attributes:
        effect: fitted change from the first session to the last.
        low, high: its 95 % interval by Student's t.
    """

    effect: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Changes:
    """Steps in the order of sessions, or one drift, or neither."""

    steps: tuple[Step, ...] = ()
    drift: Drift | None = None


def find_changes(
    values: Sequence[float], *, alpha: float = ALPHA, permutations: int = PERMUTATIONS, seed: int = 0
) -> Changes:
    """Find the changes of level in a history, oldest session first.

    Whether steps or a straight line describe it better is told by the Bayesian information criterion; a step on top of
    a drift appears as whichever of the two weighs more.

    Args:
        values: one value per session, on the log scale where effects are to be ratios.
        alpha: probability of an alarm where nothing changed.
        permutations: random orders per test; p values are multiples of 1 / (permutations + 1).
        seed: of the random orders: the same history gives the same answer.

    Raises:
        ValueError: a value that is not finite.
    """
    history = np.asarray(values, dtype=float)
    if not np.isfinite(history).all():
        raise ValueError("a value of the history is not finite")
    search = _Search(alpha, permutations, np.random.default_rng(seed), _robust_spread(history))
    bounds = search.merge(history, search.split(history, 0, len(history)))
    if not bounds:
        return Changes()
    segments = [search.clipped(part) for part in np.split(history, bounds)]
    drift = _better_line(segments)
    return Changes(drift=drift) if drift else Changes(search.describe(history, bounds, segments))


def _robust_spread(history: NDArray[np.float64]) -> float:
    """Spread of one session from differences of neighbours, which steps hardly touch; infinite where it is 0."""
    if len(history) < 2:
        return math.inf
    typical = float(np.median(np.abs(np.diff(history))))
    return typical / _NORMAL_QUARTILE / math.sqrt(2) or math.inf


@dataclass(frozen=True)
class _Search:
    alpha: float
    permutations: int
    rng: np.random.Generator
    spread: float

    def clipped(self, segment: NDArray[np.float64]) -> NDArray[np.float64]:
        """The segment with its outliers pulled in, so that one disturbed session neither makes nor hides a change."""
        reach = CLIP * self.spread
        centre = np.median(segment)
        return np.clip(segment, centre - reach, centre + reach)

    def split(self, history: NDArray[np.float64], start: int, end: int) -> list[int]:
        """First sessions of new levels between `start` and `end`.

        Splits in two are tried before stretches, each with half of `alpha`: there are few of them, so that the newest
        sessions alone can be told from chance.
        """
        if end - start < 2 * SHORTEST:
            return []
        segment = self.clipped(history[start:end])
        for arcs in (_splits(len(segment)), _stretches(len(segment))):
            if not len(arcs[0]):
                continue
            contrasts = _contrasts(segment[None], arcs)[0]
            best = int(contrasts.argmax())
            if self.p_value(segment, float(contrasts[best]), arcs) <= self.alpha / 2:
                places = {start + int(arcs[0][best]), start + int(arcs[1][best])} - {start, end}
                edges = sorted({start, end, *places})
                inner = (cut for before, after in pairwise(edges) for cut in self.split(history, before, after))
                return sorted([*places, *inner])
        return []

    def p_value(self, segment: NDArray[np.float64], observed: float, arcs: Arcs) -> float:
        """Share of random orders whose strongest contrast reaches the observed one."""
        extreme = 1
        block = max(1, _BLOCK // len(arcs[0]))
        for done in range(0, self.permutations, block):
            orders = np.tile(segment, (min(block, self.permutations - done), 1))
            strongest = _contrasts(self.rng.permuted(orders, axis=1), arcs).max(axis=1)
            extreme += int((strongest >= observed * (1 - 1e-9)).sum())
        return extreme / (self.permutations + 1)

    def strengths(self, history: NDArray[np.float64], bounds: Sequence[int]) -> list[float]:
        """The p value of each bound within its two neighbouring segments."""
        edges = [0, *bounds, len(history)]
        found = []
        for before, place, after in zip(edges, edges[1:], edges[2:], strict=False):
            segment = self.clipped(history[before:after])
            splits = _splits(after - before)
            here = _contrasts(segment[None], splits)[0, place - before - SHORTEST]
            found.append(self.p_value(segment, float(here), splits))
        return found

    def merge(self, history: NDArray[np.float64], bounds: list[int]) -> list[int]:
        """Drop the weakest bound, again and again, until each holds against its neighbours."""
        while bounds:
            strengths = self.strengths(history, bounds)
            weakest = max(range(len(bounds)), key=strengths.__getitem__)
            if strengths[weakest] <= self.alpha:
                break
            bounds = [*bounds[:weakest], *bounds[weakest + 1 :]]
        return bounds

    def describe(
        self, history: NDArray[np.float64], bounds: Sequence[int], segments: Sequence[NDArray[np.float64]]
    ) -> tuple[Step, ...]:
        """Effects with intervals, from the spread within all segments."""
        degrees = len(history) - len(segments)
        variance = _squares(segments) / degrees
        steps = []
        strengths = self.strengths(history, bounds)
        for place, (before, after), p_value in zip(bounds, pairwise(segments), strengths, strict=True):
            effect = float(after.mean() - before.mean())
            half = _half_width(math.sqrt(variance * (1 / len(before) + 1 / len(after))), degrees)
            steps.append(Step(place, effect, effect - half, effect + half, p_value))
        return tuple(steps)


def _splits(count: int) -> Arcs:
    """Starts and ends of the first of two pieces, none shorter than `SHORTEST`."""
    ends = np.arange(SHORTEST, count - SHORTEST + 1)
    return np.zeros_like(ends), ends


def _stretches(count: int) -> Arcs:
    """Starts and ends of all stretches inside, that leave no piece shorter than `SHORTEST`."""
    starts, ends = np.triu_indices(count + 1, SHORTEST)
    inside = (starts >= SHORTEST) & (ends <= count - SHORTEST)
    return starts[inside], ends[inside]


def _contrasts(rows: NDArray[np.float64], arcs: Arcs) -> NDArray[np.float64]:
    """Difference of each stretch's mean from the rest's, in units that make equal spreads comparable: rows × arcs."""
    count = rows.shape[1]
    starts, ends = arcs
    centred = rows - rows.mean(axis=1, keepdims=True)
    sums = np.concatenate([np.zeros((len(rows), 1)), centred.cumsum(axis=1)], axis=1)
    length = ends - starts
    result: NDArray[np.float64] = np.abs(sums[:, ends] - sums[:, starts]) / np.sqrt(length * (count - length) / count)
    return result


def _half_width(standard_error: float, degrees: int) -> float:
    """Half of the 95 % interval."""
    return quantile(0.025, degrees) * standard_error


def _better_line(segments: Sequence[NDArray[np.float64]]) -> Drift | None:
    """The straight line through the history, where it describes it better than the levels of its segments."""
    history = np.concatenate(segments)
    count = len(history)
    time = np.arange(count) - (count - 1) / 2
    slope = float(time @ history / (time @ time))
    off_line = float(((history - history.mean() - slope * time) ** 2).sum())
    off_steps = _squares(segments)
    # Each step costs its height and its place; the line costs its slope.
    penalty = (2 * (len(segments) - 1) - 1) * math.log(count)
    if off_steps == 0 or (off_line > 0 and count * math.log(off_line / off_steps) >= penalty):
        return None
    effect = slope * (count - 1)
    half = _half_width(math.sqrt(off_line / (count - 2) / float(time @ time)) * (count - 1), count - 2)
    return Drift(effect, effect - half, effect + half)


def _squares(segments: Sequence[NDArray[np.float64]]) -> float:
    """Squared deviations from each segment's mean, summed."""
    return sum(float(((part - part.mean()) ** 2).sum()) for part in segments)
