"""How long it takes to work on many stored runs: `python -m benchmarks.promises.scale --runs 10000`.

Writes a repository of as many commits and a storage of as many runs, then times what people wait for, each in a fresh
process: seconds, CPU seconds and peak memory. The runs lie on two branches, alternating, so that a search has to pass
others. The contents are invented (every reading 1 J); only the time to find and read them is a result.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from energyaware.baselines.codec import to_json
from energyaware.baselines.gate import judge
from energyaware.baselines.index import INDEX_NAME
from energyaware.baselines.store import find_baseline, history, load_run, stored_files
from energyaware.config import NEWEST_ANCESTOR, parse_limit
from energyaware.ranking.score import rank
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Variant, Work
from energyaware.reports.files import csv_text, markdown

SCRATCH = "scratch"
OLDEST = "oldest"
# How many different contents the runs have, in turn.
SESSIONS = 7


def repository(root: Path, commits: int) -> list[str]:
    """A repository with `commits` empty commits on main; their hashes, oldest first."""
    root.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=root, check=True)
    lines = []
    for number in range(commits):
        lines += ["commit refs/heads/main", f"committer T <t@example.org> {1_700_000_000 + number} +0000", "data 0", ""]
    stream = "\n".join(lines) + "\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, check=True, input=stream.encode())
    listed = subprocess.run(
        ["git", "rev-list", "--reverse", "main"], cwd=root, check=True, capture_output=True, text=True
    )
    return listed.stdout.split()


def _windows(number: int, session: int, rounds: int) -> tuple[Round, ...]:
    """Rounds that differ a little from each other and between sessions, as measured ones do."""
    found = []
    for index in range(rounds):
        joules = (1.0 + number / 1000) * (1 + 0.01 * (session % 3 - 1)) * (1 + 0.002 * (index % 3))
        reading = Reading({"cpu": joules, "dram": 0.25}, 0.125)
        candle = Reading({"cpu": 0.5 * (1 + 0.01 * (session % 4)), "dram": 0.125}, 0.0625)
        found.append(Round(3, 0.125, reading, candle, windows={"prefill": reading}))
    return tuple(found)


def benchmark(number: int, session: int, rounds: int) -> Benchmark:
    """An invented benchmark of usual size."""
    model, precision = f"model-{number // 10}", f"p{number % 10}"
    return Benchmark(
        fullname=f"benchmarks/test_inference.py::test_rca[{model}-{precision}]",
        name=f"test_rca[{model}-{precision}]",
        group="rca",
        task="rca",
        phase="inference",
        candle="matmul/1",
        layout="redrawn every round",
        domains={name: Domain("cpu-time", "estimated", 1e-6, "4 W per core") for name in ("cpu", "dram")},
        rounds=_windows(number, session, rounds),
        variant=Variant(model, precision),
        quality={"accuracy": 0.9},
        scores={"accuracy": tuple(float(index % 10 > 0) for index in range(200))},
        example_ids=tuple(f"ticket-{index}" for index in range(200)),
        work=Work(flops=10**9, weight_bytes=10**7, tokens_in=64, tokens_out=1, requests=1),
        fingerprints={"dataset": "a" * 64, "weights": "b" * 64},
        traits={"device": "cpu", "compute dtype": "fp32"},
    )


def fill(storage: Path, commits: list[str], benchmarks: int, rounds: int) -> int:
    """One run per commit, on `main` and `scratch` in turn, the very first on `oldest`; bytes written."""
    bodies = []
    for session in range(SESSIONS):
        items = (benchmark(number, session, rounds) for number in range(benchmarks))
        entries = [
            {"fullname": item.fullname, "name": item.name, "stats": {"mean": 0.1}, "energy": to_json(item)}
            for item in items
        ]
        bodies.append(json.dumps(entries))
    folder = storage / "Linux-CPython-64bit"
    folder.mkdir(parents=True)
    size = 0
    for number, commit in enumerate(commits, 1):
        branch = OLDEST if number == 1 else "main" if number % 2 else SCRATCH
        moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1_700_000_000 + number))
        head = {
            "machine_info": {},
            "commit_info": {"id": commit, "branch": branch, "dirty": branch == SCRATCH, "time": moment},
            "datetime": moment,
            "version": "5.0",
            "energyaware": {
                "schema_version": SCHEMA_VERSION, "version": "0", "machine": {"cpu": "invented", "cores": "2"},
                "options": {"weight": 0.5}, "totals": {}, "interrupted": False,
            },
        }  # fmt: skip
        text = f'{json.dumps(head)[:-1]}, "benchmarks": {bodies[number % SESSIONS]}}}'
        (folder / f"{number:04}_{number}.json").write_text(text)
        size += len(text)
    return size


def _newest(storage: Path) -> Path:
    return stored_files(storage)[0]


def compare(root: Path, value: str) -> None:
    """All that `--energy-compare=VALUE` does beside measuring: choose, read the history, judge."""
    storage = root / ".benchmarks"
    found = find_baseline(value, storage, root)
    if found is None:
        raise SystemExit("no baseline: the storage is not what this script writes")
    judge(load_run(_newest(storage)), found.run, lambda _: (parse_limit("energy:5%"),), history(storage, found.run))


def ranked(root: Path) -> None:
    """What `energyaware rank` does."""
    rank(load_run(_newest(root / ".benchmarks")).benchmarks, 0.5)


def reported(root: Path) -> None:
    """The Markdown and CSV of a run."""
    run = load_run(_newest(root / ".benchmarks"))
    rankings = rank(run.benchmarks, 0.5)
    markdown(run, rankings, (), lambda _: math.nan)
    csv_text(rankings, lambda _: math.nan)


STEPS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "first": ("`--energy-compare`, no index yet", lambda root: compare(root, NEWEST_ANCESTOR)),
    "again": ("`--energy-compare`", lambda root: compare(root, NEWEST_ANCESTOR)),
    "oldest-first": (
        "`--energy-compare=BRANCH`, the oldest run of all, no index yet",
        lambda root: compare(root, OLDEST),
    ),
    "oldest-again": ("`--energy-compare=BRANCH`, the oldest run of all", lambda root: compare(root, OLDEST)),
    "rank": ("`energyaware rank`", ranked),
    "report": ("Markdown and CSV of a run", reported),
}


def _alone(step: str, root: Path) -> list[float]:
    """Seconds, CPU seconds and peak megabytes of a step in a process of its own, imports left out of the seconds."""
    command = [sys.executable, "-m", "benchmarks.promises.scale", "--step", step, "--root", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(text) for text in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--benchmarks", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=4, help="stored rounds per benchmark")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's folder for such files")
    parser.add_argument("--step", choices=tuple(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        STEPS[arguments.step][1](arguments.root)
        seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_started_s
        print(seconds, cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # KiB on Linux
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name) / "repository"
        commits = repository(root, arguments.runs)
        size = fill(root / ".benchmarks", commits, arguments.benchmarks, arguments.rounds)
        rows = []
        for step, (title, _) in STEPS.items():
            if step.endswith("first"):
                (root / ".benchmarks" / INDEX_NAME).unlink(missing_ok=True)
            seconds, cpu_s, megabytes = _alone(step, root)
            rows.append((title, f"{seconds:.2f}", f"{cpu_s:.2f}", f"{megabytes:.0f}"))
    print(f"{arguments.runs} runs of {arguments.benchmarks} benchmarks, {size / 1e9:.1f} GB\n")
    headers = ("what", "seconds", "CPU seconds", "peak memory, MB")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
