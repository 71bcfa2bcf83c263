"""Verdicts on launch pairs while they arrive: a group-sequential t test with an indifference zone. Pure.

Each benchmark yields one value per launch pair, the mean log ratio candidate / baseline. Looks are planned ahead. At a
look after n pairs, with mean d, standard deviation s and T(m) = (d - m) / (s / √n), two one-sided hypotheses are
tested by Student's t with n - 1 degrees of freedom:

    no increase        mean ≤ 0        rejected by large T(0); error α over the whole suite (Holm)
    increase of limit  mean ≥ limit    rejected by small T(limit); error β per benchmark

    pass          the second is rejected (also where the first is: a real increase, but surely under the limit)
    improved      pass, and the interval lies below 0: that the mean is 0 or more is rejected, error β per benchmark
    regressed     only the first is rejected
    inconclusive  neither is, after the last look

Spending: look k may spend the share w_k of α and of β, with w_k ∝ √n_k and Σ w_k = 1, and its nominal level is that
share. The union bound makes this valid for any number and distance of looks, with no assumption on how the looks
depend on each other. Levels computed for normal variables and mapped to t quantiles, the usual way, overspend by 9 to
14 % at these sample sizes; exact levels would save up to 4 % of the pairs (docs/statistics.md has the figures).

Sources: Lan and DeMets (1983), Biometrika 70, error spending; Jennison and Turnbull (2000), “Group Sequential Methods”,
chapters 7 and 9, spending and repeated confidence intervals; Maurer and Bretz (2013), Statistics in Biopharmaceutical
Research 5, Holm's procedure in group-sequential trials with many hypotheses.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from energyaware.stats.multiple import holm_levels
from energyaware.stats.student import quantile, tail

Verdict = Literal["open", "pass", "improved", "regressed", "inconclusive"]
Key = TypeVar("Key", bound=Hashable)

FIRST_LOOK = 4
GROWTH = 1.5
DEFAULT_MOST = 20
# A smaller standard error is rounding of log ratios, not knowledge: values that equal the limit must not pass by it.
RESOLUTION = 1e-12
# Stand for p values of hypotheses rejected at an earlier look, and of those not tested at this one.
_REJECTED, _UNTESTED = -1.0, 2.0


def planned_looks(most: int) -> tuple[int, ...]:
    """Looks after 4, 6, 9, 13, 20, 30, 45, … pairs, each about half as many again as the one before, up to `most`.

    `most` is what the budget allows, chosen before the first pair; it is the last look, and takes the place of one that
    it exceeds by less than a fifth. Each further look costs the earlier ones some error to spend: a plan up to 45 needs
    about a tenth more pairs where 20 would do.

    Raises:
        ValueError: `most` is under 2, with which nothing can be tested.
    """
    if most < 2:
        raise ValueError(f"{most} pairs: a spread needs at least 2")
    looks = []
    position = float(FIRST_LOOK)
    while 1.2 * position < most:
        looks.append(int(position))
        position *= GROWTH
    return (*looks, most)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before the first pair.

    Attributes:
        looks: pairs at which a decision may fall, increasing.
        alpha: probability that any benchmark of the suite is `regressed` where none increased.
        beta: probability, per benchmark, that an increase of the limit or more is `pass` or `improved`.

    Raises:
        ValueError: looks that do not increase from 2, or an error rate outside (0, 0.5).
    """

    looks: tuple[int, ...] = planned_looks(DEFAULT_MOST)
    alpha: float = 0.01
    beta: float = 0.01

    def __post_init__(self) -> None:
        if not self.looks or self.looks[0] < 2 or any(a >= b for a, b in zip(self.looks, self.looks[1:], strict=False)):
            raise ValueError(f"looks {self.looks} do not increase from 2")
        for name, rate in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 < rate < 0.5:
                raise ValueError(f"{name} {rate} is no error rate in (0, 0.5)")

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of each error rate that each look spends; their sum is 1."""
        roots = [math.sqrt(pairs) for pairs in self.looks]
        return tuple(root / sum(roots) for root in roots)

    def boundaries(self, level: float) -> tuple[float, ...]:
        """Value of t at each look beyond which a one-sided hypothesis is rejected, with `level` over all looks."""
        return tuple(quantile(level * share, n - 1) for n, share in zip(self.looks, self.shares, strict=True))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known about one benchmark and metric, on the log scale.

    Attributes:
        effect: mean log ratio at the last look that was taken; None before the first.
        low, high: repeated confidence bounds at that look: each side holds at all looks together, the lower with error
            at most α (the level Holm gives it), the upper with error β. `regressed` means low ≥ 0, `pass` means
            high ≤ limit, `improved` means high ≤ 0.
        pairs: pairs that look rests on; 0 before the first.
        needed: for `open` and `inconclusive`, how many more pairs would make the interval narrower than the limit,
            so that something is decided whatever the mean, if the spread stays as it is; None where nothing tells.
    """

    verdict: Verdict
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """One benchmark at one look; p values are divided by the look's share, so that they compare with α and β."""

    pairs: int
    share: float
    mean: float
    standard_error: float
    rise: float
    fall: float
    increase: float

    def margin(self, level: float) -> float:
        """Half width of a one-sided bound with error `level` over all looks."""
        return quantile(level * self.share, self.pairs - 1) * self.standard_error


def decide(
    plan: Plan,
    evidence: Mapping[Key, Sequence[float]],
    limits: Mapping[Key, float],
    *,
    closed: Collection[Key] = (),
    ended: bool = False,
) -> dict[Key, Decision]:
    """Judge every benchmark on the pairs so far.

    A look is taken once every open benchmark has its pairs, so that what Holm's procedure gives one benchmark because
    another regressed does not depend on which of them was faster. Decisions are final: with the values so far kept
    and more appended, with the same plan, limits and closed benchmarks (or more of them), they come out the same.

    Args:
        evidence: mean log ratio of each launch pair, in the order of launches; a benchmark without any may be left out.
        limits: every gated benchmark and metric of the suite with its limit on the log scale, as log(1.05).
        closed: benchmarks that will get no more pairs, as they failed; looks no longer wait for them. They stay closed.
        ended: the budget is spent: what is open is `inconclusive`, until a resumed comparison adds pairs.

    Raises:
        ValueError: a limit that is not above 0, a value that is not finite, or evidence without a limit.
    """
    _check(evidence, limits, closed)
    values = {key: tuple(map(float, evidence.get(key, ()))) for key in limits}
    last: dict[Key, tuple[_Look, float]] = {}
    verdicts: dict[Key, Verdict] = dict.fromkeys(limits, "open")
    rose: set[Key] = set()
    upcoming = math.inf  # pairs of the first look that was not taken
    for pairs, share in zip(plan.looks, plan.shares, strict=True):
        waiting = [key for key, verdict in verdicts.items() if verdict == "open"]
        tested = [key for key in waiting if len(values[key]) >= pairs]
        if not tested or any(len(values[key]) < pairs and key not in closed for key in waiting):
            upcoming = pairs
            break
        looks = {key: _look(values[key][:pairs], limits[key], share) for key in tested}
        levels = _reject({key: look.rise for key, look in looks.items()}, rose, limits, plan.alpha)
        for key, look in looks.items():
            last[key] = (look, levels[key])
            verdicts[key] = _verdict(look, key in rose, plan.beta)
    for key, verdict in verdicts.items():
        at_its_end = upcoming == math.inf or (key in closed and len(values[key]) < upcoming)
        if verdict == "open" and (ended or at_its_end):
            verdicts[key] = "inconclusive"
    return {
        key: _describe(plan, *last[key], verdict, limits[key]) if key in last else Decision(verdict)
        for key, verdict in verdicts.items()
    }


def _check(evidence: Mapping[Key, Sequence[float]], limits: Mapping[Key, float], closed: Collection[Key]) -> None:
    for key in (*evidence, *closed):
        if key not in limits:
            raise ValueError(f"{key!r} has no limit")
    for key, limit in limits.items():
        if not (math.isfinite(limit) and limit > 0):
            raise ValueError(f"the limit {limit} of {key!r} is not above 0")
    for key, values in evidence.items():
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{key!r} has a value that is not finite")


def _look(values: Sequence[float], limit: float, share: float) -> _Look:
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    error = max(math.sqrt(variance / count), RESOLUTION)
    rise, fall, increase = (tail(shift / error, count - 1) / share for shift in (mean, -mean, limit - mean))
    return _Look(count, share, mean, error, rise, fall, increase)


def _reject(
    p_values: Mapping[Key, float], rejected: set[Key], family: Collection[Key], alpha: float
) -> dict[Key, float]:
    """Holm's step at one look: adds to `rejected`, and returns the level of each benchmark.

    Rejections of earlier looks have left the family; a hypothesis that is not tested at this look stays in it.
    """
    keys = list(family)
    current = [_REJECTED if key in rejected else p_values.get(key, _UNTESTED) for key in keys]
    steps = sorted(zip(current, holm_levels(current, alpha), strict=True))
    lowest: dict[float, float] = {}
    for p_value, level in steps:
        lowest.setdefault(p_value, level)  # equal p values get one level, whatever their order
    rejected.update(key for key, p_value in zip(keys, current, strict=True) if p_value <= lowest[p_value])
    return {key: lowest[p_value] for key, p_value in zip(keys, current, strict=True)}


def _verdict(look: _Look, rose: bool, beta: float) -> Verdict:
    """`pass` goes first: it alone keeps a sure but small increase from failing, and its own test keeps its promise."""
    if look.increase <= beta:
        return "improved" if look.fall <= beta else "pass"
    return "regressed" if rose else "open"


def _describe(plan: Plan, look: _Look, level: float, verdict: Verdict, limit: float) -> Decision:
    undecided = verdict in ("open", "inconclusive")
    return Decision(
        verdict,
        look.mean,
        look.mean - look.margin(level),
        look.mean + look.margin(plan.beta),
        look.pairs,
        _needed(plan, look, level, limit) if undecided else None,
    )


def _needed(plan: Plan, look: _Look, level: float, limit: float) -> int:
    """More pairs until low and high are less than the limit apart; beyond the plan, with the last look's share."""
    spread = look.standard_error * math.sqrt(look.pairs)

    def decides(pairs: int, share: float) -> bool:
        width = quantile(level * share, pairs - 1) + quantile(plan.beta * share, pairs - 1)
        return width * spread / math.sqrt(pairs) <= limit

    for pairs, share in zip(plan.looks, plan.shares, strict=True):
        if pairs > look.pairs and decides(pairs, share):
            return pairs - look.pairs
    share = plan.shares[-1]
    too_few, enough = plan.looks[-1], 2 * plan.looks[-1]
    while not decides(enough, share):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if decides(middle, share) else (middle, enough)
    return enough - look.pairs
