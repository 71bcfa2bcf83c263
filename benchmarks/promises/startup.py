"""What the plugin adds to pytest's start: `python -m benchmarks.promises.startup`.

Interleaves runs of pytest over one trivial test with the plugin and with `-p no:energyaware`, in random order, and
prints the median difference in CPU seconds, which neighbours disturb less than wall time. The promise is 30 ms.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    order = random.Random(0)
    differences = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_one.py").write_text("def test_one(): pass\n")
        for _ in range(pairs):
            sides: list[tuple[str, ...]] = [(), ("-p", "no:energyaware")]
            order.shuffle(sides)
            seconds = {side: start_s(folder, *side) for side in sides}
            differences.append(seconds[()] - seconds["-p", "no:energyaware"])
    low, _, high = statistics.quantiles(differences, n=4)
    print("| pairs | median added | quartiles | promise |\n| --- | --- | --- | --- |")
    print(
        f"| {pairs} | {statistics.median(differences) * 1000:.1f} ms | {low * 1000:.1f} … {high * 1000:.1f} ms "
        f"| ≤ {PROMISE_S * 1000:.0f} ms |"
    )


if __name__ == "__main__":
    main()
