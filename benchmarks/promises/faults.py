"""Every write, meter call, model load and message fails once, in turn: `python -m benchmarks.promises.faults`.

A small suite is measured again and again, and each time another call fails. After each fault the earlier run must be
untouched, every run file readable, every benchmark that passed on disk, and the output must name cause and remedy;
going on with `--energy-resume` must then store the whole run. Prints how many faults were injected and survived.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tabulate import tabulate

from energyaware.baselines.store import load_run, stored_files
from energyaware.errors import StoredRunError

CONFTEST = '''
import errno
import fcntl
import json
import os
import pathlib
import sys

import pytest

from energyaware.branches.channel import Channel, ChannelClosedError
from energyaware.errors import MeterError, ModelError
from energyaware.meters.replay import ReplayMeter

HERE = os.path.dirname(os.path.abspath(__file__))
KIND, NUMBER = os.environ.get("FAULT", ":none").split(":")
CHILD = any(argument.startswith("--energy-isolated") for argument in sys.argv)
MESSAGES = "answer" if CHILD else "message"
WRITES = ("write_text", "write_bytes", "replace", "unlink", "mkdir", "touch")
patch = pytest.MonkeyPatch()
counts = {}
os_open, os_close = os.open, os.close


def strikes(kind):
    """Whether this call is the one that fails; it does so once, in whichever process."""
    counts[kind] = counts.get(kind, 0) + 1
    if kind != KIND or str(counts[kind]) != NUMBER:
        return False
    try:
        os_close(os_open(os.path.join(HERE, "fired"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def failing(original, writes=lambda *_, **__: True):
    """The function, which fails once where energyaware itself calls it to write."""
    def call(*args, **kwargs):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("energyaware.") and writes(*args, **kwargs) and strikes("write"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)
    return call


def broken(original):
    def call(*args, **kwargs):
        if strikes(MESSAGES):
            raise ChannelClosedError("the process at the other end is gone", "see what it printed last")
        return original(*args, **kwargs)
    return call


for name in WRITES:
    patch.setattr(pathlib.Path, name, failing(getattr(pathlib.Path, name)))
patch.setattr(
    pathlib.Path, "open",
    failing(pathlib.Path.open, lambda path, mode="r", *_, **__: any(letter in mode for letter in "wax+")),
)
patch.setattr(os, "open", failing(os.open, lambda path, flags, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR))))
patch.setattr(os, "write", failing(os.write))
patch.setattr(os, "fsync", failing(os.fsync))
patch.setattr(fcntl, "flock", failing(fcntl.flock))
patch.setattr(Channel, "send", broken(Channel.send))
patch.setattr(Channel, "receive", broken(Channel.receive))


class Mortal(ReplayMeter):
    def start(self):
        if strikes("meter"):
            raise MeterError("the counter is gone", "plug it in")
        return super().start()

    def stop(self, mark):
        if strikes("meter"):
            raise MeterError("the counter is gone", "plug it in")
        return super().stop(mark)


def pytest_energy_meters(config):
    return {"mortal": lambda: Mortal([{"cpu": 1.0}])}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}


@pytest.fixture
def model():
    if strikes("model"):
        raise ModelError("the weights are gone", "download them again")


def pytest_unconfigure(config):
    patch.undo()
    if NUMBER == "0":
        with open(os.path.join(HERE, "counts-child.json" if CHILD else "counts.json"), "w") as file:
            json.dump(counts, file)
'''

SUITE = """
import pytest

@pytest.mark.parametrize("size", [10, 20])
def test_model(energy, model, size):
    energy(sum, range(size))

def test_last(energy):
    energy(sum, range(30))
"""
NAMES = {"test_model[10]", "test_model[20]", "test_last"}

OPTIONS = ("--energy", "--energy-meter=mortal", "--energy-rounds=2", "--energy-report=report", "-v")
SAVE = "--benchmark-save=run"
# Each window reads 1 J, however many calls it has: joules of one call vary with the speed here, and are not judged.
AGAINST = ("--energy-compare=run", "--energy-fail=energy:9999%")

# What a measured run loads.
LIBRARIES = ("codecarbon", "numpy", "scipy.special", "energyaware.pytest_plugin.session")

WRITE, METER, MODEL, MESSAGE, ANSWER = "write", "meter", "model", "message", "answer"
KINDS = {
    WRITE: "writes, locks and renames of files",
    METER: "meter calls",
    MODEL: "model loads",
    MESSAGE: "messages to and from a process of one benchmark, here",
    ANSWER: "the same, there",
}
# What the output must say wherever a fault is felt.
_CAUSES = {
    WRITE: ("No space left on device",),
    METER: ("the counter is gone",),
    MODEL: ("the weights are gone",),
    MESSAGE: ("its process ended", "its process hung up"),
    ANSWER: ("its process ended", "its process hung up"),
}
_REMEDIES = {
    WRITE: ("make room", "Make room", "choose another", "store elsewhere", "make it ", "Remove it"),
    METER: ("plug it in",),
    MODEL: ("download them again",),
    MESSAGE: ("It printed",),
    ANSWER: ("It printed",),
}


@dataclass(frozen=True)
class Answer:
    """How a pytest ended, and what it printed."""

    status: int
    output: str


Start = Callable[[Path, Sequence[str], Mapping[str, str]], Answer]


@dataclass(frozen=True)
class Outcome:
    """What one fault did.

    Attributes:
        lost: benchmarks whose test passed and that are nowhere on disk.
        problems: promises that were not kept; empty: it was survived.
    """

    kind: str
    number: int
    lost: tuple[str, ...]
    problems: tuple[str, ...]


def in_a_process(folder: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> Answer:
    """Run pytest in a process of its own: a fork of this one, which has loaded the libraries already."""
    with tempfile.TemporaryFile() as output:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            status = 70
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os.chdir(folder)
                for name in ("PYTEST_ADDOPTS", "CI", "GITHUB_ACTIONS"):
                    os.environ.pop(name, None)
                os.environ.update({"COLUMNS": "200", **variables})
                status = int(pytest.main(["-p", "no:cacheprovider", *arguments]))
                sys.stdout.flush()
            finally:
                os._exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        output.seek(0)
        return Answer(ended, output.read().decode(errors="replace"))


def _isolated(kind: str) -> tuple[str, ...]:
    return ("--energy-isolate",) if kind in (MESSAGE, ANSWER) else ()


def prepare(folder: Path, start: Start) -> dict[str, int]:
    """Write the suite, store a first run, and count the calls of this process that can fail.

    Raises:
        RuntimeError: the suite fails without any fault.
    """
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_faults_suite.py").write_text(SUITE)
    _without_fault(folder, start, ())
    shutil.copytree(folder / ".benchmarks", folder / "first")
    found = _without_fault(folder, start, AGAINST)
    return {kind: found[kind] for kind in (WRITE, METER, MODEL)}


def count_messages(folder: Path, start: Start) -> dict[str, int]:
    """Count the messages on both sides, in a folder that is prepared.

    Raises:
        RuntimeError: the suite fails without any fault.
    """
    found = _without_fault(folder, start, (*AGAINST, *_isolated(MESSAGE)))
    theirs: dict[str, int] = json.loads((folder / "counts-child.json").read_text())
    return {MESSAGE: found[MESSAGE], ANSWER: theirs[ANSWER]}


def _without_fault(folder: Path, start: Start, arguments: Sequence[str]) -> dict[str, int]:
    answer = start(folder, (*OPTIONS, SAVE, *arguments), {"FAULT": ":0"})
    if answer.status != 0:
        raise RuntimeError(f"the suite fails without a fault:\n{answer.output}")
    counts: dict[str, int] = json.loads((folder / "counts.json").read_text())
    return counts


def inject(folder: Path, start: Start, kind: str, number: int) -> Outcome:
    """Let one call fail, and look at everything afterwards."""
    storage = folder / ".benchmarks"
    for leftover in (storage, folder / "report"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(folder / "first", storage)
    (folder / "fired").unlink(missing_ok=True)
    earlier = {path: path.read_bytes() for path in stored_files(storage)}
    options = (*OPTIONS, SAVE, *AGAINST, *_isolated(kind))
    answer = start(folder, options, {"FAULT": f"{kind}:{number}"})
    problems = []
    if not (folder / "fired").exists():
        problems.append("the fault did not happen")
    if "Traceback (most recent call last)" in answer.output or "INTERNALERROR" in answer.output:
        problems.append("it ended in a traceback")
    if any(path.read_bytes() != content for path, content in earlier.items()):
        problems.append("an earlier run was changed")
    new = [path for path in stored_files(storage) if path not in earlier]
    kept = set(_journalled(storage))
    for path in new:
        try:
            kept |= {item.name for item in load_run(path).benchmarks}
        except StoredRunError as error:
            problems.append(str(error))
    # At the start of a line: what an isolated process printed is shown indented.
    passed = set(re.findall(r"^\S+::(\S+) PASSED", answer.output, flags=re.MULTILINE))
    lost = tuple(sorted(passed - kept))
    whole = answer.status == 0 and kept == NAMES
    if not whole:
        said = " ".join(answer.output.split())  # lines are wrapped
        if not any(cause in said for cause in _CAUSES[kind]):
            problems.append("no cause is named")
        if not any(remedy in said for remedy in _REMEDIES[kind]):
            problems.append("no remedy is named")
        again = start(folder, (*options, "--energy-resume"), {"FAULT": ":none"})
        newest = next(iter(stored_files(storage)))
        if again.status != 0 or newest in earlier or {item.name for item in load_run(newest).benchmarks} != NAMES:
            problems.append(f"it cannot be gone on with:\n{again.output}")
    return Outcome(kind, number, lost, tuple(problems))


def _journalled(storage: Path) -> Iterator[str]:
    """Names of the benchmarks in journals, as far as their lines are whole."""
    for path in storage.glob("journals/*.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                entry = json.loads(line)
                if "benchmark" in entry:
                    yield entry["benchmark"]["name"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="let only every N-th call fail")
    arguments = parser.parse_args()
    for module in LIBRARIES:
        importlib.import_module(module)
    rows: list[tuple[str, int, int, int]] = []
    bad: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = prepare(folder, in_a_process)
        if {MESSAGE, ANSWER} & set(arguments.kinds):
            counts |= count_messages(folder, in_a_process)
        for kind in arguments.kinds:
            found = []
            for number in range(1, counts[kind] + 1, arguments.every):
                found.append(inject(folder, in_a_process, kind, number))
                print(f"{kind} {number} of {counts[kind]}", file=sys.stderr)
            bad += [item for item in found if item.problems or item.lost]
            survived = sum(not item.problems and not item.lost for item in found)
            rows.append((KINDS[kind], len(found), survived, sum(len(item.lost) for item in found)))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows)))
    print(tabulate(rows, headers=("what fails once", "injected", "survived", "results lost"), tablefmt="github"))
    for item in bad:
        print(f"\n{item.kind} {item.number}: {'; '.join([*item.problems, *(f'lost {name}' for name in item.lost)])}")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
