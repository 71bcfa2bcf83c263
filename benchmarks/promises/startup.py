"""What the plugin adds to pytest's start: `python -m benchmarks.promises.startup`.

Interleaves runs of pytest over one trivial test with the plugin and with `-p no:energyaware`, in random order, and
prints the median difference. The promise is 30 ms.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMISE_S = 0.030


def start_s(folder: Path, *arguments: str) -> float:
    """Wall seconds of one pytest process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - begin


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
