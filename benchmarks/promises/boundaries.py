"""Does the group-sequential test keep its promise? `python -m benchmarks.promises.boundaries --runs 10000`.

Simulates whole suites of launch pairs and judges them with `energyaware.stats.sequential.decide`. First table: how
often a suite of identical code fails; of one benchmark that costs exactly its limit more, among others that did not
change, how often it is caught, gets through, stays open; and the pairs this took, beside the pairs of a fixed design
with the same two error rates, which would have to know the spread ahead. Second table: verdicts by true increase.
Third: what `energyaware.stats.changepoints` finds in histories of 30 sessions with 1.5 % of noise.

`spread` is the standard deviation of a pair's log ratio. Tails: `normal`; `t3`, Student's t with 3 degrees of freedom
scaled to that deviation; `outliers`, normal with every twentieth pair disturbed eight times as widely.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tabulate import tabulate

from energyaware.stats.changepoints import find_changes
from energyaware.stats.sequential import Decision, Plan, decide, planned_looks

SUITES = {"normal": (1, 6, 20), "t3": (6,), "outliers": (6,)}
TABLES = ("errors", "increases", "histories")
# (limit, spread), as ratios.
CASES = ((0.05, 0.005), (0.05, 0.011), (0.05, 0.02), (0.05, 0.03), (0.05, 0.05), (0.02, 0.011))
INCREASES = (-0.05, -0.02, 0.0, 0.01, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.10)


def noise(rng: np.random.Generator, tails: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draws of standard deviation 1; of `outliers`, the undisturbed ones."""
    if tails == "t3":
        return rng.standard_t(3, shape) / math.sqrt(3)
    draws = rng.normal(size=shape)
    return np.where(rng.random(shape) < 0.05, 8 * draws, draws) if tails == "outliers" else draws


def fixed_pairs(plan: Plan, limit: float, spread: float, suite: int) -> int:
    """Pairs with which one t test at level α / suite catches the limit with 1 - β, for normal noise."""
    pairs = 2
    while (
        stats.nct.sf(stats.t.isf(plan.alpha / suite, pairs - 1), pairs - 1, limit / spread * math.sqrt(pairs))
        < 1 - plan.beta
    ):
        pairs += 1
    return pairs


@dataclass(frozen=True)
class Case:
    """One setting: `suite` benchmarks, of which the first costs `increase` (log scale) more."""

    plan: Plan
    limit: float
    spread: float
    suite: int
    tails: str
    increase: float
    seed: int

    def simulate(self, runs: int) -> list[dict[int, Decision]]:
        """Verdicts of `runs` suites."""
        rng = np.random.default_rng(self.seed)
        limits = dict.fromkeys(range(self.suite), self.limit)
        found = []
        for _ in range(runs):
            pairs = self.spread * noise(rng, self.tails, (self.suite, self.plan.looks[-1]))
            pairs[0] += self.increase
            found.append(decide(self.plan, dict(enumerate(pairs.tolist())), limits))
        return found


def share(found: Sequence[dict[int, Decision]], *verdicts: str, key: int = 0) -> float:
    """Share of runs in which benchmark `key` has one of the verdicts."""
    return sum(run[key].verdict in verdicts for run in found) / len(found)


def mean_pairs(found: Sequence[dict[int, Decision]], key: int | None = None) -> float:
    """Mean pairs of one benchmark; without a key, of the benchmark that took longest."""
    return float(np.mean([run[key].pairs if key is not None else max(d.pairs for d in run.values()) for run in found]))


def row(plan: Plan, limit: float, spread: float, suite: int, tails: str, runs: int, seed: int) -> list[object]:
    """One line of the first table."""
    level = math.log1p(limit)
    same = Case(plan, level, spread, suite, tails, 0.0, seed).simulate(runs)
    more = Case(plan, level, spread, suite, tails, level, seed + 1).simulate(runs)
    alarms = sum(any(item.verdict == "regressed" for item in run.values()) for run in same) / runs
    improved = sum(any(item.verdict == "improved" for item in run.values()) for run in same) / runs
    return [
        f"{limit:.0%}", f"{spread:.1%}", suite, tails,
        f"{alarms:.2%}", f"{improved:.2%}", f"{share(same, 'inconclusive'):.1%}",
        f"{mean_pairs(same, 0):.1f}", f"{mean_pairs(same):.1f}",
        f"{share(more, 'regressed'):.2%}", f"{share(more, 'pass', 'improved'):.2%}",
        f"{share(more, 'inconclusive'):.1%}", f"{mean_pairs(more, 0):.1f}",
        fixed_pairs(plan, level, spread, suite),
    ]  # fmt: skip


HEADERS = [
    "limit", "spread", "suite", "tails",
    "A/A: suite fails", "A/A: any improved", "A/A: undecided", "A/A: pairs", "A/A: pairs of the slowest",
    "at the limit: caught", "gets through", "undecided", "pairs", "fixed design",
]  # fmt: skip


def errors(plan: Plan, runs: int, seed: int, tails: Sequence[str]) -> None:
    """Print the first table."""
    rows = []
    settings = [(case, suite, kind) for kind in tails for case in CASES for suite in SUITES[kind]]
    for number, ((limit, spread), suite, kind) in enumerate(settings):
        rows.append(row(plan, limit, spread, suite, kind, runs, seed + 2 * number))
        print(f"row {number + 1} of {len(settings)}", file=sys.stderr)
    print(f"{runs} suites per row, looks after {', '.join(map(str, plan.looks))} pairs\n")
    print(tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True))


def increases(plan: Plan, runs: int, seed: int) -> None:
    """Print the second table."""
    rows = []
    for number, increase in enumerate(INCREASES):
        case = Case(plan, math.log1p(0.05), 0.011, 6, "normal", math.log1p(increase), seed + 1000 + number)
        found = case.simulate(runs)
        shares = [f"{share(found, name):.2%}" for name in ("improved", "pass", "regressed", "inconclusive")]
        rows.append([f"{increase:+.1%}", *shares, f"{mean_pairs(found, 0):.1f}"])
    print(f"\nlimit 5%, spread 1.1%, six benchmarks, normal, {runs} suites: verdicts of the one that changed\n")
    headers = ["increase", "improved", "pass", "regressed", "inconclusive", "pairs"]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def histories(count: int, seed: int) -> None:
    """Print the third table."""
    rng = np.random.default_rng(seed)
    sessions = np.arange(30)
    levels = {
        "flat": 0.0 * sessions,
        "+5 % from session 16 on": 0.05 * (sessions >= 15),
        "+5 % in the newest 4 sessions": 0.05 * (sessions >= 26),
        "+5 % in the newest 3 sessions": 0.05 * (sessions >= 27),
        "+5 % in the newest 2 sessions": 0.05 * (sessions >= 28),
        "+2 % from session 16 on": 0.02 * (sessions >= 15),
        "+5 % in sessions 13 to 18": 0.05 * ((sessions >= 12) & (sessions < 18)),
        "+5 % twice": 0.05 * (sessions >= 10) + 0.05 * (sessions >= 20),
        "+0.3 % per session": 0.003 * sessions,
        "one session of +50 %": 0.5 * (sessions == 20),
    }
    rows = []
    for tails in ("normal", "t3"):
        for name, level in levels.items():
            found = [find_changes(level + 0.015 * noise(rng, tails, (30,))) for _ in range(count)]
            kinds = [len(item.steps) if item.drift is None else -1 for item in found]
            none, one, two = (kinds.count(number) / count for number in (0, 1, 2))
            drift, more = kinds.count(-1) / count, sum(kind > 2 for kind in kinds) / count
            rows.append([name, tails, *(f"{value:.1%}" for value in (none, one, two, more, drift))])
    print(f"\n{count} histories per row: share with so many steps, or a drift\n")
    print(tabulate(rows, ["history", "tails", "silent", "1", "2", "more", "drift"], tablefmt="github"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=20, help="the last look (20)")
    parser.add_argument(
        "--tails", choices=SUITES, action="append", help="of the first table; repeatable (default: all)"
    )
    parser.add_argument("--table", choices=TABLES, action="append", help="repeatable (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    plan = Plan(planned_looks(options.pairs))
    tables = options.table or TABLES
    if "errors" in tables:
        errors(plan, options.runs, options.seed, options.tails or tuple(SUITES))
    if "increases" in tables:
        increases(plan, options.runs, options.seed)
    if "histories" in tables:
        histories(max(1, options.runs // 20), options.seed)


if __name__ == "__main__":
    main()
