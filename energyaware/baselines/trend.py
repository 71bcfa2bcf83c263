"""A benchmark's sessions over the history of a branch, and where their level changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from energyaware.baselines.comparability import differing
from energyaware.baselines.values import session_value
from energyaware.records import Benchmark, Run
from energyaware.stats.changepoints import ALPHA, PERMUTATIONS, Changes, find_changes
from energyaware.stats.sessions import MIN_SESSIONS


@dataclass(frozen=True)
class Series:
    """One benchmark's sessions that were measured as its newest was, oldest first.

    Attributes:
        values: logs, one per run, with the candle beside each round divided out where there is one.
        left_out: why older sessions are not comparable, to how many.
    """

    fullname: str
    runs: tuple[Run, ...]
    values: tuple[float, ...]
    left_out: Counter[str]


def series(runs: Sequence[Run], metric: str) -> list[Series]:
    """Each benchmark of the newest run that has it, with its comparable sessions.

    Args:
        runs: oldest first.
    """
    newest: dict[str, tuple[Run, Benchmark]] = {}
    for item in runs:
        newest.update({entry.fullname: (item, entry) for entry in item.benchmarks})
    found = []
    for fullname, (last_run, last) in newest.items():
        kept: list[tuple[Run, float]] = []
        left_out: Counter[str] = Counter()
        for item in runs:
            for entry in item.benchmarks:
                if entry.fullname != fullname:
                    continue
                difference = differing(last, entry, last_run.machine, item.machine)
                value = session_value(entry, metric, 1.0)
                if difference or value is None:
                    left_out[difference or "no valid reading"] += 1
                else:
                    kept.append((item, value.centre))
        found.append(Series(fullname, tuple(run for run, _ in kept), tuple(value for _, value in kept), left_out))
    return found


def changes_of(item: Series, family: int) -> Changes | None:
    """What changed; None where too few sessions tell.

    Args:
        family: benchmarks that are searched; where none of them changed, an alarm in any has probability `ALPHA`.
    """
    if len(item.values) < MIN_SESSIONS:
        return None
    # The search splits its level in two, and p values are multiples of 1 / (permutations + 1).
    enough = int(4 * family / ALPHA)
    return find_changes(item.values, alpha=ALPHA / family, permutations=max(PERMUTATIONS, enough))
