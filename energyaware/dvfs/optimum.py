"""Which setting is best: energy, latency and their product against the setting of a knob. Pure functions.

    EDP = energy × latency, the energy-delay product (Horowitz, Indermaur and Gonzalez 1994)

Several observations of one setting (rounds, or better launches) give an interval. Settings are compared with Welch's
t-test on logarithms, with Bonferroni's correction over all that are compared with the best one: what that cannot tell
apart is a tie. Rounds of one launch share its luck, so their ties are too few rather than too many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

LEVEL = 0.05
# Of logarithms: what rounding of floats leaves.
_NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True)
class Point:
    """What one setting gave.

    Attributes:
        energy_j: geometric mean over its observations, as `latency_s` and `edp_js`.
        observations: how many there were.
    """

    setting: float
    energy_j: float
    latency_s: float
    edp_js: float
    observations: int


@dataclass(frozen=True, slots=True)
class Best:
    """The best setting by one criterion.

    Attributes:
        ties: settings, ascending, that cannot be told from it; None where there are too few observations to tell.
    """

    setting: float
    ties: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Optimum:
    """What a sweep found for one phase of one variant.

    Attributes:
        points: ascending by setting.
        energy: the least joules.
        edp: the least energy-delay product.
        bounded: the least joules among settings at most `slowdown` slower than the fastest one.
        slowdown: the latency bound, as a share: 0.05 allows 5 % more than the fastest setting.
        saving: share of the joules at the highest setting that `bounded` saves; negative where it costs more.
        delay: share by which `bounded` is slower than the highest setting; negative where it is faster.
    """

    points: tuple[Point, ...]
    energy: Best
    edp: Best
    bounded: Best
    slowdown: float
    saving: float
    delay: float


def optimum(observations: Iterable[tuple[float, float, float]], slowdown: float = 0.05) -> Optimum | None:
    """The best settings of one sweep.

    Args:
        observations: (setting, energy_j, latency_s), each of one call or request; several of one setting are allowed.
        slowdown: the latency bound, see `Optimum`.

    Returns:
        None where fewer than two settings were observed: there is nothing to choose.

    Raises:
        ValueError: a value that is not positive and finite, or a negative bound.
    """
    if not slowdown >= 0:
        raise ValueError(f"a latency bound of {slowdown}")
    groups: dict[float, list[tuple[float, float]]] = {}
    for setting, energy_j, latency_s in observations:
        if not all(math.isfinite(value) and value > 0 for value in (setting, energy_j, latency_s)):
            raise ValueError(f"{energy_j} J and {latency_s} s at {setting}: not positive and finite")
        groups.setdefault(setting, []).append((math.log(energy_j), math.log(latency_s)))
    if len(groups) < 2:
        return None
    groups = dict(sorted(groups.items()))
    energy = {setting: [pair[0] for pair in group] for setting, group in groups.items()}
    edp = {setting: [sum(pair) for pair in group] for setting, group in groups.items()}
    points = tuple(_point(setting, group) for setting, group in groups.items())
    fastest_s = min(point.latency_s for point in points)
    # A hair of slack: the fastest one is within a bound of 0.
    allowed = {point.setting for point in points if point.latency_s <= fastest_s * (1 + slowdown) * (1 + 1e-12)}
    bounded = _best({setting: values for setting, values in energy.items() if setting in allowed})
    chosen, highest = next(item for item in points if item.setting == bounded.setting), points[-1]
    return Optimum(
        points,
        _best(energy),
        _best(edp),
        bounded,
        slowdown,
        1 - chosen.energy_j / highest.energy_j,
        chosen.latency_s / highest.latency_s - 1,
    )


def _point(setting: float, group: Sequence[tuple[float, float]]) -> Point:
    energy, latency = fmean(pair[0] for pair in group), fmean(pair[1] for pair in group)
    return Point(setting, math.exp(energy), math.exp(latency), math.exp(energy + latency), len(group))


def _best(logs: dict[float, list[float]]) -> Best:
    """The setting with the least mean, and those that cannot be told from it."""
    best = min(logs, key=lambda setting: fmean(logs[setting]))
    others = [setting for setting in logs if setting != best]
    if any(len(values) < 2 for values in logs.values()):
        return Best(best, () if not others else None)
    level = LEVEL / max(len(others), 1)
    return Best(best, tuple(sorted(item for item in others if not _differ(logs[best], logs[item], level))))


def _differ(best: Sequence[float], other: Sequence[float], level: float) -> bool:
    first, second = fmean(best), fmean(other)
    spread, other_spread = stdev(best), stdev(other)
    if max(spread, other_spread) < _NO_SPREAD:
        return abs(first - second) > _NO_SPREAD  # the test would divide by it
    from scipy.special import stdtr  # here, as importing it takes long

    variance, other_variance = spread**2 / len(best), other_spread**2 / len(other)
    both = variance + other_variance
    degrees = both**2 / (variance**2 / (len(best) - 1) + other_variance**2 / (len(other) - 1))  # Welch's
    return bool(2 * stdtr(degrees, -abs(first - second) / math.sqrt(both)) < level)


def sentences(found: Optimum, unit: str) -> tuple[str, ...]:
    """The finding in words, one per criterion, ties said."""
    bound = f"within {found.slowdown * 100:g} % of the fastest"
    against = f"against {found.points[-1].setting:g} {unit}"
    change = f"{-found.saving * 100:+.1f} % energy and {found.delay * 100:+.1f} % latency"
    return (
        f"least energy: {_said(found.energy, unit)}",
        f"least energy × latency: {_said(found.edp, unit)}",
        f"least energy {bound}: {_said(found.bounded, unit)}, {against} {change}",
    )


def _said(best: Best, unit: str) -> str:
    text = f"{best.setting:g} {unit}"
    if best.ties is None:
        return f"{text} (too few observations to say how surely)"
    return f"{text}, not to be told from {', '.join(f'{tie:g}' for tie in best.ties)}" if best.ties else text
