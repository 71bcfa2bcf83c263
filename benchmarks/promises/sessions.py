"""How much sessions of identical code differ: `python -m benchmarks.promises.sessions --sessions 14`.

Runs the same small suite in fresh processes, one after the other, and prints per workload the spread (standard
deviation of the log) between sessions, raw and divided by the candle, and how often the gate would have failed one
session against another of identical code. The default spreads of `energyaware.baselines.noise` rest on this table.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from energyaware.baselines.gate import judge
from energyaware.baselines.store import load_run, stored_files
from energyaware.baselines.values import session_value
from energyaware.config import parse_limit
from energyaware.records import Run

SUITE = """
import json
import random
import re

import pytest

DRAW = random.Random(1)
ROWS = [{"a": index, "b": str(index), "c": [index] * 3} for index in range(3000)]
NUMBERS = [DRAW.random() for _ in range(60000)]
TEXT = "alpha beta 123 gamma " * 5000


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


def loop():
    return sum(index * index % 7 for index in range(100_000))


def objects():
    return sum(point.x * point.y for point in [Point(index, index + 1) for index in range(40_000)])


@pytest.mark.parametrize(
    "work",
    [
        loop,
        objects,
        lambda: json.loads(json.dumps(ROWS)),
        lambda: sorted(NUMBERS),
        lambda: len(re.findall(r"[a-z]+ ([0-9]+)", TEXT)),
    ],
    ids=["loop", "objects", "json", "sort", "regex"],
)
def test_python(energy, work):
    energy(work)


def test_numpy(energy):
    numpy = pytest.importorskip("numpy")
    a = numpy.random.default_rng(0).random((300, 300))
    energy(lambda: a @ a @ a @ a)


@pytest.mark.parametrize("candle", ["matmul", "interpreter"])
def test_prefill(energy, candle):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(8)))
    x = torch.randn(256, 512)

    def redraw():
        padding = torch.empty(DRAW.randrange(1, 8 << 20), dtype=torch.uint8)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        del padding

    def forward():
        with torch.inference_mode():
            return model(x)

    energy.pedantic(forward, before_round=redraw, candle=candle)
"""


def record(sessions: int, folder: Path) -> list[Run]:
    """Run the suite that often; the runs, oldest first."""
    (folder / "test_sessions.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--energy", "--energy-meter=cpu-time"]
    for number in range(sessions):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        print(f"session {number + 1} of {sessions}", file=sys.stderr)
    return [load_run(path) for path in reversed(stored_files(folder / ".benchmarks"))]


def spread(runs: list[Run], fullname: str, slope: float) -> float:
    """Standard deviation between sessions of log energy, with `slope` times the log of the candle taken out."""
    values = [
        estimate.centre
        for run in runs
        for item in run.benchmarks
        if item.fullname == fullname and (estimate := session_value(item, "energy", slope)) is not None
    ]
    return statistics.stdev(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=14)
    parser.add_argument("--limit", default="energy:10%")
    arguments = parser.parse_args()
    limit = parse_limit(arguments.limit)
    with tempfile.TemporaryDirectory() as name:
        runs = record(arguments.sessions, Path(name))
    alarms: dict[str, int] = {}
    pairs = list(itertools.permutations(runs, 2))
    suites = 0
    for candidate, baseline in pairs:
        bad = [item for item in judge(candidate, baseline, lambda _: (limit,)) if item.verdict == "regressed"]
        suites += bool(bad)
        for item in bad:
            alarms[item.fullname] = alarms.get(item.fullname, 0) + 1
    print(f"{len(runs)} sessions, {len(pairs)} ordered pairs, limit {limit.text}\n")
    print(
        "| workload | candle | raw spread | divided by the candle | pairs that fail |\n| --- | --- | --- | --- | --- |"
    )
    for row in runs[0].benchmarks:
        raw, divided = (spread(runs, row.fullname, slope) for slope in (0.0, 1.0))
        failed = alarms.get(row.fullname, 0)
        print(f"| {row.name} | {row.candle} | {raw:.1%} | {divided:.1%} | {failed} of {len(pairs)} |")
    print(f"\nsuites with a false alarm: {suites} of {len(pairs)}")


if __name__ == "__main__":
    main()
