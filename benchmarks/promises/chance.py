"""What chance gives a process at its start, and what sharing it brings.

Two processes run identical code and take turns, as in `energyaware compare`. Whatever the log ratio of a launch, the
mean over the middle half of its rounds, is off 0 by more than its rounds explain was drawn once per process: the
addresses, the salt of Python's hashes, the core that the scheduler gave it. Prints the standard deviation of that value
over launches, for workloads of the gate's promise.
Run: python -m benchmarks.promises.chance
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmarks.promises.gate import PACKAGE
from energyaware.branches.chance import at_fixed_addresses, first_blocks, seeded
from energyaware.branches.verdicts import LAUNCH_TRIM
from energyaware.measure.cores import move_to_core
from energyaware.measure.layout import HeapShift
from energyaware.measure.rounds import calls_per_window
from energyaware.meters.selection import cpu_time
from energyaware.stats.location import trimmed_mean

WORKLOADS = ("products", "vectors", "interpreter", "text")
WINDOW_S = 0.008


@dataclass(frozen=True)
class Sharing:
    """What the two processes of a launch have in common.

    Attributes:
        title: for the table.
        heap: the heap is shifted before each round, on both sides alike.
        core: a round of both runs on the same core.
        salt: the same hashes.
        addresses: no random addresses.
        apart: heaps begin with blocks of other sizes on each side, as after a change that moves memory.
    """

    title: str
    heap: bool = False
    core: bool = False
    salt: bool = False
    addresses: bool = False
    apart: bool = False


SHARINGS = (
    Sharing("nothing"),
    Sharing("heap shifted each round", heap=True),
    Sharing("+ salt of hashes", heap=True, salt=True),
    Sharing("+ core", heap=True, salt=True, core=True),
    Sharing("+ addresses (what compare does)", heap=True, salt=True, core=True, addresses=True),
    Sharing("the same, heaps begin differently", heap=True, salt=True, core=True, addresses=True, apart=True),
)


def worker(name: str, folder: str, heap: bool, core: bool, seed: str) -> None:
    """One side: a round for each line of input, answered by its CPU seconds."""
    held = first_blocks(seed) if heap else []
    sys.path.insert(0, folder)
    function = getattr(__import__("workload"), name)
    shift = HeapShift(random.Random(seed))
    meter = cpu_time(None)
    calls, _ = calls_per_window(function, WINDOW_S)
    print(calls, len(held), flush=True)
    for line in sys.stdin:
        share, calls_text = line.split()
        if core:
            move_to_core(float(share))
        if heap:
            shift()
        function()
        mark = meter.start()
        for _ in range(int(calls_text)):
            function()
        print(meter.stop(mark)["cpu"], flush=True)


def launch(name: str, sharing: Sharing, folder: str, seed: int, rounds: int) -> float:
    """Log ratio of one pair of fresh processes, over its middle rounds, as `compare` has it."""
    rng = random.Random(seed)
    processes = []
    for side in range(2):
        own = f"{seed}/{side}" if sharing.apart else str(seed)
        options = ["-m", "benchmarks.promises.chance", "--worker", name, folder]
        options += [str(int(sharing.heap)), str(int(sharing.core)), own]
        python = Path(sys.executable)
        command = at_fixed_addresses(python, options) if sharing.addresses else [str(python), *options]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "random"}
        processes.append(
            subprocess.Popen(
                command,
                env=seeded(environment, seed) if sharing.salt else environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    calls = max(int(_answer(process).split()[0]) for process in processes)
    ratios = []
    for _ in range(rounds):
        share, joules = rng.random(), [0.0, 0.0]
        for side in rng.sample(range(2), 2):
            process = processes[side]
            assert process.stdin is not None
            process.stdin.write(f"{share} {calls}\n")
            process.stdin.flush()
            joules[side] = float(_answer(process))
        ratios.append(math.log(joules[1] / joules[0]))
    for process in processes:
        process.communicate()
    return trimmed_mean(ratios, LAUNCH_TRIM).centre


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a worker died")
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=12, help="per workload and row (12)")
    parser.add_argument("--rounds", type=int, default=8, help="pairs of rounds per launch (8, as compare)")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        name, folder, heap, core, seed = options.worker
        worker(name, folder, heap == "1", core == "1", seed)
        return 0
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="energyaware-") as folder:
        (Path(folder) / "workload.py").write_text(PACKAGE.format(more=0.0))
        # Row by row within each repetition, so that a slow minute falls on all rows alike.
        for number in range(options.launches):
            for sharing in SHARINGS:
                for name in WORKLOADS:
                    value = launch(name, sharing, folder, number, options.rounds)
                    found.setdefault((sharing.title, name), []).append(value)
            print(f"\r{number + 1}/{options.launches}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = [
        (item.title, *(f"{100 * statistics.stdev(found[item.title, name]):.1f} %" for name in WORKLOADS))
        for item in SHARINGS
    ]
    print(f"Standard deviation over {options.launches} launches of {options.rounds} pairs of rounds, identical code:\n")
    print(tabulate(rows, ("shared by both processes", *WORKLOADS), tablefmt="github"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
