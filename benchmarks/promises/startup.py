"""What the plugin and a measuring run add to pytest's start: `python -m benchmarks.promises.startup`.

Interleaves runs of pytest over one trivial test, with and without, in random order, and prints the median difference in
CPU seconds, which neighbours disturb less than wall time. The promise is 30 ms for the plugin. `--energy`, which opens
a meter and reads CodeCarbon's tables, has none; every launch of `energyaware compare` pays for the like.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROMISE_S = 0.030


def start_s(folder: Path, *arguments: str) -> float:
    """CPU seconds of one pytest process and its children."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    begin = os.times()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    end = os.times()
    return end.children_user + end.children_system - begin.children_user - begin.children_system


def added_s(folder: Path, pairs: int, arguments: tuple[str, ...], against: tuple[str, ...]) -> list[float]:
    """CPU seconds that a run with `arguments` takes more than one with `against`, of each pair."""
    order = random.Random(0)
    differences = []
    for _ in range(pairs):
        seconds = {side: start_s(folder, *side) for side in order.sample([arguments, against], 2)}
        differences.append(seconds[arguments] - seconds[against])
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    print("| what | pairs | median added | quartiles | promise |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_one.py").write_text("def test_one(): pass\n")
        for title, arguments, against, promise in (
            ("the plugin", (), ("-p", "no:energyaware"), f"≤ {PROMISE_S * 1000:.0f} ms"),
            ("`--energy`", ("--energy", "--energy-meter=cpu-time"), (), ""),
        ):
            differences = added_s(folder, pairs, arguments, against)
            low, _, high = statistics.quantiles(differences, n=4)
            print(
                f"| {title} | {pairs} | {statistics.median(differences) * 1000:.1f} ms "
                f"| {low * 1000:.1f} … {high * 1000:.1f} ms | {promise} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
