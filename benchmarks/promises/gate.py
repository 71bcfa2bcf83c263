"""What the gate promises, tried: `python -m benchmarks.promises.gate --launches 40 --real 20 --sessions 10`.

Six short NumPy and Python benchmarks (three bound by matrix products, three by small operations and the interpreter)
are compared with themselves and with a revision that does 2, 5 or 15 % more work:

- launches of `energyaware compare` are recorded, then resampled into thousands of suites;
- real comparisons run to their verdict;
- separate sessions are judged against each other as stored baselines, beside pytest-benchmark's own gate on the same
  sessions.

Everything measured is kept in --store, so that the script goes on where it was stopped and can be asked for more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from energyaware.baselines.codec import from_json, to_json
from energyaware.baselines.gate import judge
from energyaware.baselines.store import load_run, stored_files
from energyaware.baselines.values import session_value
from energyaware.branches.comparison import Comparison, Settings, compare
from energyaware.branches.janitor import Janitor
from energyaware.branches.launches import Journal, Launch
from energyaware.branches.verdicts import launch_value
from energyaware.config import parse_limit
from energyaware.meters.selection import cpu_time
from energyaware.paths import cache_dir
from energyaware.records import Run
from energyaware.stats.sequential import Plan, decide
from energyaware.units import si

PACKAGE = """
import json
import numpy as np

MORE = {more}

DRAW = np.random.default_rng(0)
A, B = DRAW.random((2, 256, 256), dtype=np.float32)
X = DRAW.random((64, 512), dtype=np.float32)
W = DRAW.random((512, 512), dtype=np.float32) / 512
ROWS = [{{"a": index, "b": str(index)}} for index in range(200)]


def times(count):
    return range(round(count * (1 + MORE)))


def products():
    for _ in times(100):
        A @ B


def layers():
    x = X
    for _ in times(100):
        x = np.maximum(x @ W, 0)
    return x


def attention():
    for _ in times(40):
        scores = A @ B
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores / scores.sum(axis=1, keepdims=True)


def vectors():
    x = X[0]
    for _ in times(200):
        x = np.tanh(W[0] * x + x)
    return x


def interpreter():
    return sum(index * index % 7 for index in times(20000))


def text():
    for _ in times(20):
        json.loads(json.dumps(ROWS))
"""

BENCHMARKS = """
import pytest
import workload

@pytest.mark.parametrize("name", ["products", "layers", "attention"])
@pytest.mark.energy(candle="{candle}")
def test_prefill_like(energy, name):
    energy(getattr(workload, name))

@pytest.mark.parametrize("name", ["vectors", "interpreter", "text"])
def test_decode_like(energy, name):
    energy(getattr(workload, name))
"""
CANDLES = {"compare": "interpreter", "sessions": "matmul"}
SUITES = 10_000
# They have nothing to do here, and take longer to load than all the rest of a launch's start.
UNUSED_PLUGINS = ("hypothesispytest", "xdist", "typeguard", "anyio")
FIXED_ROUNDS = 100
FIXED_LAUNCHES = 2
POOLED = 5
"""Stored sessions from which on their own spread is known."""


class Silent:
    """A comparison of this script says nothing on its way."""

    def preparing(self, *_: object) -> None:
        """Say nothing."""

    def begin(self, *_: object) -> None:
        """Say nothing."""

    def round(self, *_: object) -> None:
        """Say nothing."""


def make_repository(folder: Path, more: float) -> Path:
    """A repository whose last commit does `more` work than the one before: 0.05 is 5 %."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "test_workload.py").write_text(BENCHMARKS.format(candle=CANDLES["compare"]))
    (folder / "pytest.ini").write_text("[pytest]\n")
    git = ["git", "-c", "user.name=promise", "-c", "user.email=promise@localhost"]
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    for amount in (0.0, more):
        (folder / "workload.py").write_text(PACKAGE.format(more=amount) + f"# {time.time_ns()}\n")
        subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
        subprocess.run([*git, "commit", "-q", "-m", f"more work: {amount}"], cwd=folder, check=True)
    return folder


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let NumPy use that many threads in the processes that are started inside."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_comparison(repository: Path, limit: str, launches: int, rounds: int) -> Comparison:
    """One comparison of the last commit with the one before it."""
    settings = Settings(
        base="HEAD~1", head="HEAD", benchmarks_from="head", prepare="", limits=(limit,), rounds=rounds,
        launches=launches, max_s=math.inf, max_j=math.inf, resume=False,
        pytest_arguments=("benchmarks", "--energy-meter=cpu-time", *(f"-pno:{name}" for name in UNUSED_PLUGINS)),
    )  # fmt: skip
    journal = Journal(repository.parent / f"{repository.name}.jsonl")
    with Janitor() as janitor:
        found = compare(settings, repository, repository, journal, janitor, cpu_time(None), Silent())
    journal.finish()
    return found


class Store:
    """Lines of JSON per kind of measurement, so that a stopped script loses only what was under way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def lines(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / f"{kind}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def add(self, kind: str, entry: object) -> None:
        with (self.folder / f"{kind}.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")


def recorded(store: Store, more: float, threads_used: int, wanted: int, rounds: int) -> list[Launch]:
    """At least `wanted` launches of that much more work; those that are missing are measured now."""
    kind = f"launches-{more:g}-{threads_used}"
    while (missing := wanted - len(store.lines(kind))) > 0:
        repository = make_repository(store.folder / "repository", more)
        # Up to four launches have one look, after the last: all six benchmarks are in each of them.
        with threads(threads_used):
            found = run_comparison(repository, "energy:5%", min(max(missing, 2), 4), rounds)
        for launch in found.launches:
            store.add(kind, to_json(launch))
        print(f"{kind}: {len(store.lines(kind))} of {wanted}", file=sys.stderr)
    return [from_json(line, Launch, kind) for line in store.lines(kind)]


def values_of(launches: Sequence[Launch]) -> dict[str, list[float]]:
    """Log ratio of each launch, per benchmark."""
    names = launches[0].pairs
    return {
        name: [value for launch in launches if (value := launch_value(launch.pairs[name], "energy")) is not None]
        for name in names
    }


def resample(values: dict[str, list[float]], limit: float, seed: int = 0) -> dict[str, float]:
    """Suites drawn with replacement from recorded launches, judged as they would have been.

    Returns:
        Shares of suites that fail, of benchmarks caught and undecided, and mean launches per suite.
    """
    rng = np.random.default_rng(seed)
    plan = Plan()
    names = list(values)
    limits = dict.fromkeys(names, math.log1p(limit))
    count = min(map(len, values.values()))
    failed = caught = undecided = pairs = 0
    for _ in range(SUITES):
        # One draw of launches for the whole suite: its benchmarks share their launches.
        drawn = rng.integers(count, size=plan.looks[-1])
        decisions = decide(plan, {name: [values[name][index] for index in drawn] for name in names}, limits)
        verdicts = [decision.verdict for decision in decisions.values()]
        failed += "regressed" in verdicts
        caught += verdicts.count("regressed")
        undecided += verdicts.count("inconclusive")
        pairs += max(decision.pairs for decision in decisions.values())
    every = SUITES * len(names)
    return {
        "fails": failed / SUITES,
        "caught": caught / every,
        "undecided": undecided / every,
        "launches": pairs / SUITES,
    }


def real(store: Store, more: float, limit: str, wanted: int, rounds: int) -> list[dict[str, Any]]:
    """At least `wanted` comparisons run to their verdict."""
    kind = f"real-{more:g}-{limit.partition(':')[2]}"
    while len(store.lines(kind)) < wanted:
        repository = make_repository(store.folder / "repository", more)
        with threads(1):
            found = run_comparison(repository, limit, 20, rounds)
        for launch in found.launches:
            if len(launch.pairs) == len(found.question.ids):  # later ones leave out what is decided
                store.add(f"launches-{more:g}-1", to_json(launch))
        store.add(
            kind,
            {
                "verdicts": {item.fullname: item.verdict for item in found.standing.judgements},
                "launches": len(found.launches), "duration_s": found.duration_s, "energy_j": found.energy_j,
            },
        )  # fmt: skip
        print(f"{kind}: {len(store.lines(kind))} of {wanted}", file=sys.stderr)
    return store.lines(kind)


def session_folder(store: Store, more: float) -> Path:
    """Where the sessions with that much more work are run and stored."""
    return store.folder / f"sessions-{more:g}"


def recorded_sessions(store: Store, more: float) -> list[Run]:
    """The sessions that are stored, oldest first; none is measured."""
    return [load_run(path) for path in reversed(stored_files(session_folder(store, more) / ".benchmarks"))]


def sessions(store: Store, more: float, wanted: int) -> list[Run]:
    """At least `wanted` separate sessions with that much more work, each in a process of its own."""
    folder = session_folder(store, more)
    folder.mkdir(exist_ok=True)
    (folder / "workload.py").write_text(PACKAGE.format(more=more))
    (folder / "test_workload.py").write_text(BENCHMARKS.format(candle=CANDLES["sessions"]))
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--energy", "--energy-meter=cpu-time"]
    while len(stored_files(folder / ".benchmarks")) < wanted:
        with threads(1):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        print(f"session of {more:g}: {len(stored_files(folder / '.benchmarks'))} of {wanted}", file=sys.stderr)
    return recorded_sessions(store, more)


def own_gate(candidate: Run, baseline: Run, limit: float) -> dict[str, bool]:
    """What pytest-benchmark's `--benchmark-compare-fail=mean:LIMIT` says of the same two files, per benchmark."""

    def means(run: Run) -> dict[str, float]:
        data = json.loads(Path(run.path).read_text())
        return {item["fullname"]: item["stats"]["mean"] for item in data["benchmarks"]}

    before, now = means(baseline), means(candidate)
    return {name: now[name] / before[name] - 1 > limit for name in now}


def session_table(store: Store, wanted: int, pairs: int) -> str:
    """Stored baselines: how many pairs of separate sessions fail, ours beside pytest-benchmark's own gate.

    The benchmarks of a kind are judged as a suite of their own, against one session, and against the mean of five.
    """
    same, more = sessions(store, 0.0, wanted), sessions(store, 0.15, wanted)
    draw = random.Random(0)
    limit = parse_limit("energy:10%")
    rows = []
    for kind, stored in itertools.product(("prefill", "decode"), (1, POOLED)):
        for title, candidates in (("unchanged", same), ("+15 % work", more)):
            tried = 0
            ours = theirs = units = suites = own_suites = 0
            for candidate, history in drawn(draw, candidates, same, stored, pairs):
                head, baselines = part(candidate, kind), [part(run, kind) for run in history]
                found = judge(head, baselines[-1], lambda _: (limit,), baselines)
                failed = [item.verdict == "regressed" for item in found]
                own = [bad for name, bad in own_gate(head, baselines[-1], 0.10).items() if kind in name]
                ours, theirs, units = ours + sum(failed), theirs + sum(own), units + len(failed)
                suites, own_suites = suites + any(failed), own_suites + any(own)
                tried += 1
            rows.append(
                (f"{kind}-like", f"{stored} stored", title, f"{suites} of {tried}", f"{ours} of {units}",
                 f"{own_suites} of {tried}", f"{theirs} of {units}")
            )  # fmt: skip
    heads = (
        *("work", "baseline", "head", "pairs that fail", "benchmarks"),
        *("pytest-benchmark mean:10%: pairs", "benchmarks"),
    )
    return tabulate(rows, heads, tablefmt="github")


def drawn(
    draw: random.Random, candidates: Sequence[Run], same: Sequence[Run], stored: int, pairs: int
) -> Iterator[tuple[Run, list[Run]]]:
    """Up to `pairs` sessions with `stored` other, unchanged ones each, oldest first; no single pair twice."""
    if stored == 1:
        possible = [(run, [base]) for run, base in itertools.product(candidates, same) if run is not base]
        yield from draw.sample(possible, min(pairs, len(possible)))
        return
    for _ in range(pairs):
        candidate = draw.choice(candidates)
        others = [run for run in same if run is not candidate]
        chosen = sorted(draw.sample(range(len(others)), min(stored, len(others))))
        yield candidate, [others[index] for index in chosen]


def part(run: Run, kind: str) -> Run:
    """The benchmarks of one kind, as a suite of their own."""
    return replace(run, benchmarks=tuple(item for item in run.benchmarks if kind in item.fullname))


def resampled_table(store: Store, wanted: int, rounds: int, thread_counts: Sequence[int]) -> str:
    """Launches that were recorded, drawn into suites of six."""
    rows = []
    for used in thread_counts:
        for more, limit in ((0.0, 0.05), (0.05, 0.05), (0.0, 0.02), (0.02, 0.02)):
            launches = recorded(store, more, used, wanted, rounds)
            values = values_of(launches)
            found = resample(values, limit)
            spread = max(float(np.std(item, ddof=1)) for item in values.values())
            rows.append(
                (used, "unchanged" if not more else f"+{more:.0%} work", f"energy:{limit:.0%}", len(launches),
                 f"{spread:.1%}", f"{found['fails']:.1%}", f"{found['caught']:.1%}", f"{found['undecided']:.1%}",
                 f"{found['launches']:.1f}")
            )  # fmt: skip
    heads = (
        *("threads", "head", "limit", "recorded launches", "largest σ of a launch", "suites that fail"),
        *("benchmarks regressed", "inconclusive", "launches per suite"),
    )
    return tabulate(rows, heads, tablefmt="github")


def real_table(store: Store, wanted: int, rounds: int) -> str:
    """Comparisons that were run to their verdict."""
    rows = []
    for more, limit in ((0.0, "energy:5%"), (0.05, "energy:5%")):
        found = real(store, more, limit, wanted, rounds)
        verdicts = [verdict for entry in found for verdict in entry["verdicts"].values()]
        failed = sum("regressed" in entry["verdicts"].values() for entry in found)
        seconds = [entry["duration_s"] for entry in found]
        joules = [entry["energy_j"] for entry in found]
        launches = [entry["launches"] for entry in found]
        rows.append(
            ("unchanged" if not more else f"+{more:.0%} work", limit, f"{failed} of {len(found)}",
             f"{verdicts.count('regressed')} of {len(verdicts)}",
             f"{verdicts.count('inconclusive')} of {len(verdicts)}",
             f"{np.mean(launches):.1f}", f"{np.mean(seconds):.0f} s", si(float(np.mean(joules)), "J"))
        )  # fmt: skip
    heads = ("head", "limit", "suites that fail", "rows regressed", "inconclusive", "launches", "time", "joules")
    return tabulate(rows, heads, tablefmt="github")


def cost_table(store: Store, rounds: int) -> str:
    """What a verdict costs: ours, against a fixed design that runs 100 rounds on each side whatever comes out."""
    rows = []
    for more, limit in ((0.0, "energy:5%"), (0.05, "energy:5%")):
        found = real(store, more, limit, 0, rounds)
        if found:
            seconds, joules = ([entry[key] for entry in found] for key in ("duration_s", "energy_j"))
            verdicts = len(found[0]["verdicts"])
            what = "unchanged" if not more else f"+{more:.0%} work"
            rows.append((f"compare, {what}", len(found), np.mean(seconds) / verdicts, np.mean(joules) / verdicts))
    if len(store.lines("fixed")) < FIXED_LAUNCHES:
        repository = make_repository(store.folder / "repository", 0.0)
        with threads(1):
            for launch in run_comparison(repository, "energy:5%", FIXED_LAUNCHES, FIXED_ROUNDS).launches:
                store.add(
                    "fixed", {"duration_s": launch.duration_s, "energy_j": launch.energy_j, "n": len(launch.pairs)}
                )
    fixed = store.lines("fixed")
    seconds, joules = ([entry[key] / entry["n"] for entry in fixed] for key in ("duration_s", "energy_j"))
    rows.append((f"{FIXED_ROUNDS} rounds per side, one launch", len(fixed), np.mean(seconds), np.mean(joules)))
    heads = ("design", "n", "seconds per verdict", "joules per verdict (estimated)")
    return tabulate(rows, heads, tablefmt="github", floatfmt=("", "", ".1f", ".0f"))


def draw(store: Store, used: int, path: Path) -> None:
    """Every recorded launch as a point: how far off 0, or off what was added, a single launch is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    titles = {0.0: "unchanged", 0.02: "+2 % work", 0.05: "+5 % work"}
    names: list[str] = []
    for row, (more, title) in enumerate(titles.items()):
        kind = f"launches-{more:g}-{used}"
        lines = store.lines(kind)
        if not lines:
            continue
        values = values_of([from_json(line, Launch, kind) for line in lines])
        names = [name.partition("[")[2].rstrip("]") for name in values]
        points = [(100 * math.expm1(value), place) for place, found in enumerate(values.values()) for value in found]
        axes.plot(
            [point[0] for point in points], [point[1] + 0.22 * (row - 1) for point in points],
            linestyle="", marker="osD"[row], markersize=3.5, alpha=0.45, color=("#0072B2", "#E69F00", "#D55E00")[row],
            label=f"{title}, {len(lines)} launches",
        )  # fmt: skip
        axes.axvline(100 * more, color="0.4", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("energy of the head above the base, one launch (%; estimated by cpu-time)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def changes_of_sessions(runs: Sequence[Run], base: Sequence[Run], slope: float) -> dict[str, list[float]]:
    """Each session's energy above the mean of the `base` sessions, log ratios per benchmark.

    Args:
        slope: how much of the log of the candle is taken out: 0 none, 1 all of it.
    """

    def logs(chosen: Sequence[Run]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for run in chosen:
            for item in run.benchmarks:
                value = session_value(item, "energy", slope)
                if value is not None:
                    found.setdefault(item.name, []).append(value.centre)
        return found

    centres = {name: math.fsum(values) / len(values) for name, values in logs(base).items()}
    return {name: [value - centres[name] for value in values] for name, values in logs(runs).items() if name in centres}


def draw_sessions(store: Store, path: Path) -> None:
    """Every stored session as a point, raw and divided by the candle: how far separate sessions lie apart.

    Raises:
        SystemExit: fewer than two sessions of unchanged work are stored.
    """
    from matplotlib.figure import Figure

    base = recorded_sessions(store, 0.0)
    if len(base) < 2:
        raise SystemExit("fewer than two sessions are stored: run with --sessions first")
    kinds = [("unchanged", base), ("+15 % work", recorded_sessions(store, 0.15))]
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (title, slope) in zip(panels, (("raw", 0.0), ("divided by the candle", 1.0)), strict=True):
        for row, (kind, runs) in enumerate(kinds):
            values = changes_of_sessions(runs, base, slope)
            points = [
                (100 * math.expm1(value), place) for place, found in enumerate(values.values()) for value in found
            ]
            axes.plot(
                [point[0] for point in points], [point[1] + 0.24 * (row - 0.5) for point in points],
                linestyle="", marker="oD"[row], markersize=4, alpha=0.6, color=("#0072B2", "#D55E00")[row],
                label=f"{kind}, {len(runs)} sessions",
            )  # fmt: skip
            if not row:
                for place, found in enumerate(values.values()):
                    spread = f"{100 * float(np.std(found, ddof=1)):.1f} %"
                    axes.annotate(
                        spread, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize="x-small"
                    )
                names = [f"{name.partition('[')[2].rstrip(']')}" for name in values]
                axes.set_yticks(range(len(names)), names)
        for place in (0, 15):
            axes.axvline(place, color="0.4", linewidth=0.8, linestyle="--")
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("energy above the mean unchanged session (%)", fontsize="small")
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=40, help="launches to record per revision (40)")
    parser.add_argument("--real", type=int, default=60, help="real comparisons per revision (60)")
    parser.add_argument("--sessions", type=int, default=10, help="sessions per revision for stored baselines (10)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of NumPy (1 2)")
    parser.add_argument("--pairs", type=int, default=40, help="pairs of sessions that are judged (40)")
    parser.add_argument("--rounds", type=int, default=8, help="pairs of rounds per benchmark and launch (8)")
    parser.add_argument("--figure", type=Path, default=None, help="draw the recorded launches of one thread: SVG, PNG")
    parser.add_argument("--figure-sessions", type=Path, default=None, help="draw the stored sessions: SVG, PNG")
    parser.add_argument("--store", type=Path, default=None, help="folder for what was measured")
    options = parser.parse_args()
    store = Store(options.store or cache_dir() / "promises" / "gate")
    if options.real:
        print(f"## Real comparisons\n\n{real_table(store, options.real, options.rounds)}\n")
        print(f"## Cost of a verdict\n\n{cost_table(store, options.rounds)}\n")
    if options.launches:
        # After the real comparisons, whose launches are recorded too.
        table = resampled_table(store, options.launches, options.rounds, options.threads)
        print(f"## Recorded launches, {SUITES} suites drawn\n\n{table}\n")
    if options.figure is not None:
        draw(store, options.threads[0], options.figure)
    if options.sessions:
        table = session_table(store, options.sessions, options.pairs)
        print(f"## Stored baselines, separate sessions\n\n{table}\n")
    if options.figure_sessions is not None:
        draw_sessions(store, options.figure_sessions)


if __name__ == "__main__":
    main()
