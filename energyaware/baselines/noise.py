"""How much two sessions of identical code differ: learnt from stored sessions, else a documented default."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energyaware.baselines.comparability import differing
from energyaware.baselines.values import session_candle, session_value
from energyaware.records import Benchmark, Run
from energyaware.stats.changepoints import find_changes
from energyaware.stats.sessions import MIN_SESSIONS, control_slope, session_spread, squares

# Standard deviation between sessions of identical code after the candle, where no history tells. Measured twice by
# `python -m benchmarks.promises.sessions --sessions 10`: 2.3 and 1.9 % for matrix products beside `matmul`. Beside
# `interpreter`, the default candle, loops, regular expressions and JSON spread by 0.6 to 4.5 %, but allocation-heavy
# and NumPy work by 10 to 21 %, which no default covers: 7 % lies between, and five stored sessions replace it.
DEFAULT_SPREADS = {"matmul": 0.03, "interpreter": 0.07}
OTHER_SPREAD = 0.08


@dataclass(frozen=True, slots=True)
class SessionNoise:
    """What is known about sessions of identical code.

    Attributes:
        slope: how much of the candle's log is taken out.
        spread: standard deviation of what remains, between sessions.
        degrees: degrees of freedom of `spread`; infinite for a default.
        control_squares: sum of squared deviations of the sessions' candles, by which the slope is uncertain; infinite
            for a slope that was not fitted.
    """

    slope: float
    spread: float
    degrees: float
    control_squares: float

    def variance(self, candle_difference: float, pooled: int = 1) -> float:
        """Variance of a session's difference from the mean of `pooled` others.

        Args:
            candle_difference: by how much the log candles of the two sides differ.
        """
        return self.spread**2 * (1 + 1 / pooled + candle_difference**2 / self.control_squares)


def comparable_sessions(item: Benchmark, history: Sequence[Run], machine: Mapping[str, str]) -> list[Benchmark]:
    """What `history` holds of the same benchmark, measured as `item` was; oldest first."""
    return [
        entry
        for run in history
        for entry in run.benchmarks
        if entry.fullname == item.fullname
        and entry.outcome == "passed"
        and entry.rounds
        and differing(item, entry, machine, run.machine) is None
    ]


def steady_sessions(
    baseline: Benchmark, metric: str, noise: SessionNoise, history: Sequence[Run], machine: Mapping[str, str]
) -> list[Benchmark]:
    """The sessions of `history` that say the same as `baseline`, its newest: those since the last change point.

    Their mean is a baseline of several sessions. Fewer than `MIN_SESSIONS` cannot tell a change point, and where a
    drift is seen none of the older ones says what holds now: then `baseline` stands alone.
    """
    sessions = comparable_sessions(baseline, history, machine)
    found = [(entry, value.centre) for entry in sessions if (value := session_value(entry, metric, noise.slope))]
    if len(found) < MIN_SESSIONS or metric == "memory":
        return [baseline]
    changes = find_changes([value for _, value in found])
    if changes.drift is not None:
        return [baseline]
    start = changes.steps[-1].index if changes.steps else 0
    return [entry for entry, _ in found[start:]]


def session_noise(item: Benchmark, metric: str, history: Sequence[Run], machine: Mapping[str, str]) -> SessionNoise:
    """Learn from the sessions of `history` that were measured as `item` was; under `MIN_SESSIONS`, the default."""
    default = DEFAULT_SPREADS.get(item.candle.split("/")[0], OTHER_SPREAD)
    unknown = SessionNoise(1.0, default, math.inf, math.inf)
    if metric == "memory":
        return unknown
    sessions = comparable_sessions(item, history, machine)
    if len(sessions) < MIN_SESSIONS:
        return unknown
    candles = [value for entry in sessions if (value := session_candle(entry, metric)) is not None]
    slope, control_squares = 1.0, math.inf
    if len(candles) == len(sessions):
        raw = [found.centre for entry in sessions if (found := session_value(entry, metric, 0.0))]
        slope, control_squares = control_slope(raw, candles), squares(candles) or math.inf
    remaining = [found.centre for entry in sessions if (found := session_value(entry, metric, slope))]
    spread = session_spread(remaining)
    if spread is None:
        return unknown
    # One degree of freedom goes to the mean, one to the slope.
    return SessionNoise(slope, spread, float(len(sessions) - 2), control_squares)
