"""Every message of `energyaware compare` and its workers fails once, in turn: `python -m benchmarks.promises.turns`.

Two launches of a small comparison, again and again; each time one other message finds the line closed, in the process
that coordinates or in one of the four workers. After each fault: no traceback is shown, the output names cause and
remedy, no worktree is left behind, and a launch that was finished before is on disk: `--resume` goes on behind it, to
the same verdict. Prints how many faults were injected and survived.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmarks.promises.faults import Answer, forked
from energyaware.branches.channel import Channel
from energyaware.cli import main as energyaware
from energyaware.errors import ChannelClosedError

CONFTEST = """
import json
import os
import random

import pytest

from energyaware.branches.channel import Channel
from energyaware.errors import ChannelClosedError
from energyaware.records import Domain

FOLDER = os.environ["FAULT_FOLDER"]
WORKER, NUMBER = map(int, os.environ["FAULT"].split(":"))
said = [0]


def which():
    for number in range(1, 100):
        try:
            os.close(os.open(os.path.join(FOLDER, f"worker{number}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        return number


OWN = which()


def failing(original):
    def call(*args, **kwargs):
        said[0] += 1
        if (OWN, said[0]) == (WORKER, NUMBER):
            open(os.path.join(FOLDER, "fired"), "w").close()
            raise ChannelClosedError("the process at the other end is gone", "see what it printed last")
        return original(*args, **kwargs)
    return call


Channel.send, Channel.receive = failing(Channel.send), failing(Channel.receive)


class Steady:
    name = "steady"
    nests = True
    domains = {"cpu": Domain("steady", "estimated", 1e-6)}

    def start(self):
        return None

    def stop(self, mark):
        return {"cpu": random.SystemRandom().uniform(0.9999, 1.0001)}

    def close(self):
        pass


def pytest_energy_meters(config):
    return {"steady": Steady}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}


def pytest_unconfigure(config):
    with open(os.path.join(FOLDER, f"worker{OWN}"), "w") as file:
        json.dump(said[0], file)
"""

FILES = {
    "conftest.py": CONFTEST,
    "pytest.ini": "[pytest]\nenergy_meter = steady\n",
    "benchmarks/test_suite.py": "def test_a(energy):\n    energy.pedantic(sum, ([1],), setup=lambda: None)\n",
}
LAUNCHES = 2
OPTIONS = ("compare", "HEAD", f"--launches={LAUNCHES}", "--rounds=2")
HERE = 0
"""Stands for the process that coordinates, where workers have numbers from 1."""


@dataclass(frozen=True)
class Outcome:
    """What one fault did; without problems and losses it was survived.

    Attributes:
        worker: where it happened, `HERE` or the number of a worker.
        number: of the message in that process.
        lost: finished launches that `--resume` did not go on behind.
    """

    worker: int
    number: int
    lost: int
    problems: tuple[str, ...]


class Bench:
    """A repository with one benchmark, and folders of its own for everything that a comparison writes."""

    def __init__(self, root: Path) -> None:
        self.repository = root / "repository"
        self.faults = root / "faults"
        self.variables = {"FAULT_FOLDER": str(self.faults), "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
        for name, variable in (("home", "HOME"), ("temporary", "TMPDIR"), ("cache", "ENERGYAWARE_CACHE")):
            (root / name).mkdir()
            self.variables[variable] = str(root / name)
        for name in ("AUTHOR", "COMMITTER"):
            self.variables |= {f"GIT_{name}_NAME": "a", f"GIT_{name}_EMAIL": "a@example.org"}
        for name, text in FILES.items():
            (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
            (self.repository / name).write_text(text)
        self._git("init", "-q", "-b", "main")
        self._git("add", "-A")
        self._git("commit", "-q", "-m", "first")

    def _git(self, *arguments: str) -> str:
        environment = os.environ | self.variables
        done = subprocess.run(
            ["git", *arguments], cwd=self.repository, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    def left_over(self) -> list[str]:
        """Worktrees and temporary folders of comparisons."""
        trees = self._git("worktree", "list", "--porcelain").split("\n\n")[1:]
        temporary = Path(self.variables["TMPDIR"]).glob("energyaware-*")
        return [tree for tree in trees if tree.strip()] + [path.name for path in temporary]

    def compare(self, worker: int = HERE, number: int = 0, *more: str) -> Answer:
        """Run the command in a fork of this process, with a fault."""
        shutil.rmtree(self.faults, ignore_errors=True)
        self.faults.mkdir()
        return run(self.repository, (*OPTIONS, *more), self.variables | {"FAULT": f"{worker}:{number}"})


def run(folder: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> Answer:
    """`energyaware ARGUMENTS` in a fork of this process; the fault that is meant for it happens there."""

    def command() -> int:
        _let_fail(Path(variables["FAULT_FOLDER"]), *map(int, variables["FAULT"].split(":")))
        return int(energyaware(list(arguments)) or 0)

    return forked(folder, variables, command)


def _let_fail(folder: Path, worker: int, number: int) -> None:
    """Count the messages of this process, and let one find the line closed where it is meant."""
    said = 0

    def failing(name: str) -> None:
        original = getattr(Channel, name)

        def call(*args: object, **kwargs: object) -> object:
            nonlocal said
            said += 1
            (folder / "here").write_text(json.dumps(said))
            if worker == HERE and said == number:
                (folder / "fired").touch()
                raise ChannelClosedError("the process at the other end is gone", "see what it printed last")
            return original(*args, **kwargs)

        setattr(Channel, name, call)

    failing("send")
    failing("receive")


def count(bench: Bench) -> dict[int, int]:
    """Messages of the process that coordinates and of each worker, where nothing fails.

    Raises:
        RuntimeError: the comparison fails without any fault.
    """
    answer = bench.compare()
    if answer.status != 0 or bench.left_over():
        raise RuntimeError(f"the comparison fails without a fault:\n{answer.output}")
    workers = sorted(bench.faults.glob("worker*"))
    found = {int(path.name.removeprefix("worker")): int(json.loads(path.read_text())) for path in workers}
    return {HERE: int(json.loads((bench.faults / "here").read_text()))} | found


def inject(bench: Bench, worker: int, number: int) -> Outcome:
    """Let one message fail, and look at everything afterwards."""
    answer = bench.compare(worker, number)
    problems = []
    if not (bench.faults / "fired").exists():
        problems.append("the fault did not happen")
    # What a worker printed is shown indented.
    if re.search(r"^(Traceback|INTERNALERROR)", answer.output, re.MULTILINE):
        problems.append("it ended in a traceback")
    if bench.left_over():
        problems.append(f"it left {', '.join(bench.left_over())}")
    lost = 0
    if answer.status != 0:
        if not re.search(r"pytest on .+ (ended|hung up|was killed)", answer.output):
            problems.append("no cause is named")
        if "It printed last" not in answer.output:
            problems.append("no remedy is named")
        begun = max(map(int, re.findall(r"^launch (\d+):", answer.output, re.MULTILINE)), default=1)
        again = bench.compare(HERE, 0, *(["--resume"] if begun > 1 else []))
        went_on = again.status == 0 and f"{LAUNCHES} launches" in again.output
        repeated = [launch for launch in range(1, begun) if f"launch {launch}:" in again.output]
        lost = len(repeated) if went_on else begun - 1
        if not went_on:
            problems.append(f"it cannot be gone on with:\n{again.output}")
    return Outcome(worker, number, lost, tuple(problems))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="let only every N-th message fail")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        counts = count(bench)
        plan = [(worker, number) for worker, most in sorted(counts.items()) for number in range(1, most + 1)]
        for worker, number in plan[:: arguments.every]:
            found.append(inject(bench, worker, number))
            print(f"process {worker}, message {number} of {counts[worker]}", file=sys.stderr)
    rows = []
    for title, chosen in (
        ("messages of compare, in the process that coordinates", [item for item in found if item.worker == HERE]),
        (
            f"the same, in the {len(counts) - 1} workers of two launches",
            [item for item in found if item.worker != HERE],
        ),
        ("all", found),
    ):
        survived = sum(not item.problems and not item.lost for item in chosen)
        rows.append((title, len(chosen), survived, sum(item.lost for item in chosen)))
    print(tabulate(rows, headers=("what fails once", "injected", "survived", "launches lost"), tablefmt="github"))
    bad = [item for item in found if item.problems or item.lost]
    for item in bad:
        print(f"\nprocess {item.worker}, message {item.number}: {'; '.join(item.problems)}; lost {item.lost}")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
