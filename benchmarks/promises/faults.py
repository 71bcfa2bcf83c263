"""Every write, meter call, model load and message fails once, in turn: `python -m benchmarks.promises.faults`.

A small suite is measured again and again, and each time another call fails. After each fault the earlier run must be
untouched, every run file readable, every benchmark that passed on disk, and the output must name cause and remedy;
going on with `--energy-resume` must then store the whole run. Prints how many faults were injected and survived, and
which calls they were. Messages of `energyaware compare` are the matter of `benchmarks.promises.turns`.
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
from collections import Counter
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
import functools
import json
import os
import pathlib
import sys

import pytest

from energyaware.branches.channel import Channel
from energyaware.errors import ChannelClosedError
from energyaware.errors import MeterError, ModelError
from energyaware.measure import rounds
from energyaware.measure.idle import idle_power_w
from energyaware.meters.replay import ReplayMeter
from energyaware.pytest_plugin import candles, session
from energyaware.records import Domain

HERE = os.path.dirname(os.path.abspath(__file__))
KIND, NUMBER = os.environ.get("FAULT", ":none").split(":")
CHILD = any(argument.startswith("--energy-isolated") for argument in sys.argv)
MESSAGES = "answer" if CHILD else "message"
WRITES = ("write_text", "write_bytes", "replace", "unlink", "mkdir", "touch")
patch = pytest.MonkeyPatch()
calls = {}
os_open, os_close = os.open, os.close


def strikes(kind, name):
    """Whether this call is the one that fails; it does so once, in whichever process."""
    calls.setdefault(kind, []).append(name)
    if kind != KIND or str(len(calls[kind])) != NUMBER:
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
        if caller.startswith("energyaware.") and writes(*args, **kwargs) and strikes("write", original.__name__):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)
    return call


def broken(original):
    def call(*args, **kwargs):
        if strikes(MESSAGES, original.__name__):
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


# However long a window is, this counter reads 1 J: were calls counted to fill one, the joules of one call would vary
# with the speed of the machine, and verdicts with them.
for module in (rounds, candles):
    patch.setattr(module, "calls_per_window", lambda call, window_s: (2, window_s / 2))

# It watches as long as a clock can tell: idle power of a counter is asked for as of any, and not judged.
patch.setattr(session, "idle_power_w", functools.partial(idle_power_w, seconds=0))


def ask_device(name):
    if strikes("meter", name):
        raise MeterError("the counter is gone", "plug it in")


class Mortal(ReplayMeter):
    """A counter with coarse steps, so that it is asked in every way in which a meter can be."""

    def __init__(self):
        ask_device("open")
        super().__init__([{"cpu": 1.0}])
        self.domains = {"cpu": Domain("mortal", "measured", 1e-6)}

    def start(self):
        ask_device("start")
        return super().start()

    def start_on_tick(self):
        ask_device("start on a step")
        return super().start()

    def stop(self, mark):
        ask_device("stop")
        return super().stop(mark)

    def know_idle(self, idle_w):
        """It asks no device."""

    def close(self):
        ask_device("close")


def pytest_energy_meters(config):
    return {"mortal": Mortal}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}


@pytest.fixture
def model():
    if strikes("model", "a fixture"):
        raise ModelError("the weights are gone", "download them again")


def torn(owner, name):
    """The function of a library, which fails once."""
    original = getattr(owner, name)
    def call(*args, **kwargs):
        if strikes("load", f"{getattr(owner, '__name__', owner)}.{name}"):
            raise OSError(errno.EIO, "Input/output error")
        return original(*args, **kwargs)
    patch.setattr(owner, name, staticmethod(call) if isinstance(owner, type) else call)


if os.path.isdir(os.path.join(HERE, "checkpoint")):
    import transformers
    from transformers import modeling_utils

    for owner in (transformers.AutoConfig, transformers.AutoModelForCausalLM, transformers.AutoTokenizer):
        torn(owner, "from_pretrained")
    torn(modeling_utils, "safe_open")


def pytest_unconfigure(config):
    patch.undo()
    if NUMBER == "0":
        with open(os.path.join(HERE, "calls-child.json" if CHILD else "calls.json"), "w") as file:
            json.dump(calls, file)
'''

SUITE = """
import pytest

@pytest.mark.parametrize("size", [10, 20])
def test_model(energy, model, size):
    energy(sum, range(size))

def test_last(energy):
    def work():
        with energy.window("part"):
            return sum(range(30))

    energy.pedantic(work, setup=lambda: None)
"""
NAMES = frozenset({"test_model[10]", "test_model[20]", "test_last"})

# The same with models that are loaded from a folder as everywhere, of which each step fails once.
LOADING = """
import pathlib
import pytest
from energyaware.records import Variant
from energyaware.variants.load import load_variant

@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_model(energy, precision):
    loaded = load_variant(pathlib.Path(__file__).parent / "checkpoint", Variant("tiny", precision))
    energy(loaded.tokenizer, "link down")

def test_last(energy):
    energy(sum, range(30))
"""
LOADED = frozenset({"test_model[fp32]", "test_model[bf16]", "test_last"})

OPTIONS = ("--energy", "--energy-meter=mortal", "--energy-rounds=2", "--energy-report=report", "-v")
SAVE = "--benchmark-save=run"
AGAINST = ("--energy-compare=run", "--energy-fail=energy:5%")

# What a measured run loads.
LIBRARIES = ("codecarbon", "numpy", "scipy.special", "energyaware.pytest_plugin.session")

# What loading a model needs beside.
FRAMEWORK = ("torch", "transformers", "energyaware.variants.load")

WRITE, METER, MODEL, LOAD, MESSAGE, ANSWER = "write", "meter", "model", "load", "message", "answer"
KINDS = {
    WRITE: "writes, locks and renames of files",
    METER: "meter calls",
    MODEL: "models that a fixture makes",
    LOAD: "steps of loading a model from its files",
    MESSAGE: "messages to and from a process of one benchmark, here",
    ANSWER: "the same, there",
}
# What the output must say wherever a fault is felt.
_CAUSES = {
    WRITE: ("No space left on device",),
    METER: ("the counter is gone",),
    MODEL: ("the weights are gone",),
    LOAD: ("Input/output error",),
    MESSAGE: ("its process ended", "its process hung up"),
    ANSWER: ("its process ended", "its process hung up"),
}
_REMEDIES = {
    WRITE: ("make room", "Make room", "choose another", "store elsewhere", "make it ", "Remove it"),
    METER: ("plug it in",),
    MODEL: ("download them again",),
    LOAD: ("check the model's files",),
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
        call: what failed.
        lost: benchmarks whose test passed and that are nowhere on disk.
        problems: promises that were not kept; empty: it was survived.
    """

    kind: str
    number: int
    call: str
    lost: tuple[str, ...]
    problems: tuple[str, ...]


def in_a_process(folder: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> Answer:
    """Run pytest in a process of its own."""
    return forked(
        folder,
        {"COLUMNS": "200", **variables},
        lambda: int(pytest.main(["-p", "no:cacheprovider", *arguments])),
    )


def forked(folder: Path, variables: Mapping[str, str], command: Callable[[], int]) -> Answer:
    """Run a command in a fork of this process, which has loaded the libraries already."""
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
                os.environ.update(variables)
                status = command()
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        output.seek(0)
        return Answer(ended, output.read().decode(errors="replace"))


def _isolated(kind: str) -> tuple[str, ...]:
    return ("--energy-isolate",) if kind in (MESSAGE, ANSWER) else ()


Calls = dict[str, list[str]]
"""Kind to the names of its calls, in order."""


def prepare(folder: Path, start: Start, suite: str = SUITE) -> Calls:
    """Write the suite, store a first run, and list the calls of this process that can fail.

    Raises:
        RuntimeError: the suite fails without any fault.
    """
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_faults_suite.py").write_text(suite)
    _without_fault(folder, start, ())
    shutil.copytree(folder / ".benchmarks", folder / "first")
    found = _without_fault(folder, start, AGAINST)
    return {kind: found.get(kind, []) for kind in (WRITE, METER, MODEL, LOAD)}


def save_checkpoint(folder: Path) -> None:
    """A tiny model with its tokenizer, as `save_pretrained` writes them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.set_num_threads(1)  # a pool of threads would not outlive the forks
    config = GPT2Config(vocab_size=3, n_embd=16, n_layer=1, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    end = "<end>"
    words = Tokenizer(models.WordLevel({end: 0, "link": 1, "down": 2}, unk_token=end))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end).save_pretrained(folder)


def list_messages(folder: Path, start: Start) -> Calls:
    """List the messages on both sides, in a folder that is prepared.

    Raises:
        RuntimeError: the suite fails without any fault.
    """
    found = _without_fault(folder, start, (*AGAINST, *_isolated(MESSAGE)))
    theirs: Calls = json.loads((folder / "calls-child.json").read_text())
    return {MESSAGE: found[MESSAGE], ANSWER: theirs[ANSWER]}


def _without_fault(folder: Path, start: Start, arguments: Sequence[str]) -> Calls:
    answer = start(folder, (*OPTIONS, SAVE, *arguments), {"FAULT": ":0"})
    if answer.status != 0:
        raise RuntimeError(f"the suite fails without a fault:\n{answer.output}")
    calls: Calls = json.loads((folder / "calls.json").read_text())
    return calls


def inject(folder: Path, start: Start, kind: str, number: int, call: str = "") -> Outcome:
    """Let one call fail, and look at everything afterwards."""
    names = LOADED if kind == LOAD else NAMES
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
    whole = answer.status == 0 and kept == names
    if not whole:
        said = " ".join(answer.output.split())  # lines are wrapped
        if not any(cause in said for cause in _CAUSES[kind]):
            problems.append("no cause is named")
        if not any(remedy in said for remedy in _REMEDIES[kind]):
            problems.append("no remedy is named")
        again = start(folder, (*options, "--energy-resume"), {"FAULT": ":none"})
        newest = next(iter(stored_files(storage)))
        if again.status != 0 or newest in earlier or {item.name for item in load_run(newest).benchmarks} != names:
            problems.append(f"it cannot be gone on with:\n{again.output}")
    return Outcome(kind, number, call, lost, tuple(problems))


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
    for module in (*LIBRARIES, *(FRAMEWORK if LOAD in arguments.kinds else ())):
        importlib.import_module(module)
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        folder, loading = Path(name, "suite"), Path(name, "loading")
        folder.mkdir()
        calls = prepare(folder, in_a_process)
        if {MESSAGE, ANSWER} & set(arguments.kinds):
            calls |= list_messages(folder, in_a_process)
        if LOAD in arguments.kinds:
            save_checkpoint(loading / "checkpoint")
            calls[LOAD] = prepare(loading, in_a_process, LOADING)[LOAD]
        for kind in arguments.kinds:
            for number, call in list(enumerate(calls[kind], 1))[:: arguments.every]:
                found.append(inject(loading if kind == LOAD else folder, in_a_process, kind, number, call))
                print(f"{kind} {number} of {len(calls[kind])}: {call}", file=sys.stderr)
    print(render(found))
    bad = [item for item in found if item.problems or item.lost]
    for item in bad:
        told = "; ".join([*item.problems, *(f"lost {name}" for name in item.lost)])
        print(f"\n{item.kind} {item.number} ({item.call}): {told}")
    raise SystemExit(1 if bad else 0)


def render(found: Sequence[Outcome]) -> str:
    """The table, in Markdown: each kind with its calls by name, and all together."""
    rows = []
    for title, chosen in (
        *((title, [item for item in found if item.kind == kind]) for kind, title in KINDS.items()),
        ("all", found),
    ):
        if not chosen:
            continue
        names = Counter(item.call for item in chosen) if title != "all" else {}
        which = ", ".join(f"{count} {name}" for name, count in names.items())
        survived = sum(not item.problems and not item.lost for item in chosen)
        rows.append((title, which, len(chosen), survived, sum(len(item.lost) for item in chosen)))
    headers = ("what fails once", "calls", "injected", "survived", "results lost")
    return tabulate(rows, headers=headers, tablefmt="github")


if __name__ == "__main__":
    main()
