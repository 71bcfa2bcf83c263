"""`energyaware history`: steps and slow drifts of a branch, which no single comparison sees."""

from __future__ import annotations

import argparse
from pathlib import Path

from energyaware.baselines.gate import ratio
from energyaware.baselines.store import load_run, stored_files
from energyaware.baselines.trend import Series, changes_of, series
from energyaware.config import METRICS
from energyaware.errors import OptionError, StoredRunError
from energyaware.records import Run
from energyaware.reports.columns import plain
from energyaware.stats.changepoints import Changes, Drift, Step
from energyaware.stats.sessions import MIN_SESSIONS
from energyaware.units import percent

_NOISY = tuple(name for name, metric in METRICS.items() if metric.kind == "noisy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--metric", choices=_NOISY, default="energy", help="what is followed")
    parser.add_argument(
        "--storage",
        type=Path,
        default=Path(".benchmarks"),
        metavar="DIR",
        help="pytest-benchmark's, default: %(default)s",
    )
    parser.add_argument("--branch", metavar="NAME", help="default: the branch of the newest stored run")
    parser.add_argument("--fail", action="store_true", help="exit status 1 where the last change is an increase")


def run(parsed: argparse.Namespace) -> int:
    """Print what changed, and return the exit status.

    Raises:
        OptionError: no complete clean run of that branch is stored there.
    """
    runs, skipped = _stored(parsed.storage)
    branch = parsed.branch or (runs[-1].branch if runs else "")
    own = [item for item in runs if item.branch == branch]
    for problem in skipped:
        print(f"skipped: {plain(problem)}")
    if not own:
        known = ", ".join(sorted({plain(item.branch) for item in runs})) or "none"
        raise OptionError(
            f"no complete run from a clean tree of the branch {branch!r} is stored under {parsed.storage}",
            f"stored branches: {known}; store one with pytest --energy --benchmark-save=NAME",
        )
    count = "1 run" if len(own) == 1 else f"{len(own)} runs"
    print(f"{parsed.metric} of {plain(branch)}: {count} under {plain(str(parsed.storage))}")
    found = series(own, parsed.metric)
    increased = False
    for item in found:
        print(plain(item.fullname))
        changes = changes_of(item, len(found))
        increased |= changes is not None and _increased(changes)
        for line in _lines(item, changes):
            print(f"  {plain(line)}")
    return 1 if parsed.fail and increased else 0


def _stored(storage: Path) -> tuple[list[Run], list[str]]:
    """Complete runs from clean trees, oldest first, and why others cannot be read."""
    runs, skipped = [], []
    for path in reversed(stored_files(storage)):
        try:
            item = load_run(path)
        except StoredRunError as error:
            skipped.append(error.cause)
            continue
        if item.benchmarks and not item.dirty and not item.interrupted:
            runs.append(item)
    return sorted(runs, key=lambda item: item.datetime), skipped


def _increased(changes: Changes) -> bool:
    if changes.drift is not None:
        return changes.drift.effect > 0
    return bool(changes.steps) and changes.steps[-1].effect > 0


def _lines(item: Series, changes: Changes | None) -> list[str]:
    lines = [f"{len(item.values)} sessions" + (f", too few to tell (from {MIN_SESSIONS})" if changes is None else "")]
    lines += [f"{count} left out ({why})" for why, count in item.left_out.items()]
    if changes is not None:
        lines += [f"step {_effect(step)} at {_named(item.runs[step.index])}" for step in changes.steps]
        if changes.drift is not None:
            first, last = item.runs[0], item.runs[-1]
            lines.append(f"drift {_effect(changes.drift)} from {_named(first)} to {_named(last)}")
        if changes == Changes():
            lines.append("no change")
    return lines


def _effect(change: Step | Drift) -> str:
    effect, low, high = (percent(ratio(value), signed=True) for value in (change.effect, change.low, change.high))
    return f"{effect} ({low} … {high})"


def _named(item: Run) -> str:
    return f"{Path(item.path).stem} (commit {item.commit[:12]}, {item.datetime[:19]})"
