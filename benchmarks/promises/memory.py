"""What a run of many variants keeps in memory: `python -m benchmarks.promises.memory --variants 2000`.

Measures a suite of as many variants with a stub for a model: a block of memory that is as large as `--megabytes` says.
Everything around it is real: rounds, candle, facts of an `rca` row with answers to 400 examples, journal, run file,
ranking and report. Only the windows are short, since a meter that always reads 1 J needs no time. Resident memory is
read after every benchmark, when its model has to be gone, and its peak when the run has ended.

Promised: between a tenth of the run and its end, memory grows by less than 0.1 MB per variant, and so by its record
alone; and at most one model lives at any time. The exit status is 1 where that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

PROMISE_MB = 0.1

CONFTEST = """
import json
import os
import time

import pytest

from energyaware.measure import rounds
from energyaware.meters.replay import ReplayMeter

rounds.MIN_WINDOW_S = 0.001  # this meter reads the same however short a window is
PAGE = os.sysconf("SC_PAGE_SIZE")
lines = open(os.environ["MEMORY_LOG"], "w", buffering=1)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def pytest_energy_meters(config):
    return {"steady": lambda: ReplayMeter([{"cpu": 1.0, "dram": 0.25}])}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    import test_many

    lines.write(json.dumps({"at": time.time(), "resident": resident(), "models": len(test_many.alive)}) + "\\n")


def pytest_unconfigure(config):
    # Not getrusage, whose peak is that of the process that started this one where it was larger.
    with open("/proc/self/status") as file:
        (peak,) = (int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    lines.write(json.dumps({"at": time.time(), "peak": peak}) + "\\n")
    lines.close()
"""

SUITE = """
import os
import random
import weakref

import pytest

from energyaware.records import Variant

VARIANTS = [Variant(f"model{number}", "fp32") for number in range(int(os.environ["MEMORY_VARIANTS"]))]
EXAMPLES = [f"ticket-{number}" for number in range(400)]
alive = weakref.WeakSet()


class Stub:
    def __init__(self, variant):
        self.weights = bytearray(os.urandom(4096)) * (int(os.environ["MEMORY_BYTES"]) // 4096)
        alive.add(self)

    def __call__(self):
        return self.weights[::1024]


@pytest.mark.energy(group="inference")
@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.id for variant in VARIANTS])
def test_rca(energy, variant):
    draw = random.Random(variant.id)
    model = Stub(variant)
    energy.record(
        variant=variant,
        task="rca",
        phase="inference",
        requests=16,
        tokens_in=224,
        flops=10**9,
        weight_bytes=len(model.weights),
        trivial_quality={"accuracy": 0.1},
        fingerprints={"dataset": "a" * 64, "weights": f"{draw.getrandbits(256):064x}"},
        traits={"device": "cpu", "compute dtype": "fp32"},
        features={"parameters": len(model.weights) // 4},
        samples={"input_tokens": [float(draw.randrange(5, 30)) for _ in EXAMPLES]},
    )
    energy.pedantic(model, before_round=lambda: None, layout="none")
    right = [float(draw.random() < 0.9) for _ in EXAMPLES]
    energy.record(
        quality={"accuracy": sum(right) / len(right), "nll": 0.3},
        scores={"accuracy": right, "nll": [draw.random() for _ in EXAMPLES]},
        example_ids=list(EXAMPLES),
    )
"""


@dataclass(frozen=True)
class Usage:
    """What a run used.

    Attributes:
        resident: bytes after each benchmark, in order.
        models: the most that lived when a benchmark had ended.
        peak: bytes, of the whole run with its end: storing, ranking, report.
        duration_s: of the whole run.
        end_s: of its end, after the last benchmark.
    """

    resident: tuple[int, ...]
    models: int
    peak: int
    duration_s: float
    end_s: float

    def after(self, share: float) -> int:
        """Bytes when this share of the run was done."""
        return self.resident[max(round(share * len(self.resident)) - 1, 0)]

    @property
    def growth(self) -> float:
        """Bytes per variant between a tenth of the run and its end: what is loaded once is there by then."""
        return (self.after(1.0) - self.after(0.1)) / (len(self.resident) * 0.9)


def measure(folder: Path, variants: int, model_bytes: int, rounds: int) -> Usage:
    """Run the suite in a process of its own.

    Raises:
        RuntimeError: the suite fails, with what it printed.
    """
    log = folder / "memory.jsonl"
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_many.py").write_text(SUITE)
    own = {"MEMORY_LOG": str(log), "MEMORY_VARIANTS": str(variants), "MEMORY_BYTES": str(model_bytes), "COLUMNS": "200"}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "CI")} | own
    options = ("--energy", "--energy-meter=steady", f"--energy-rounds={rounds}", "--energy-report=report", "-q")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    started_s = time.time()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the suite fails:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    *entries, end = map(json.loads, log.read_text().splitlines())
    return Usage(
        resident=tuple(item["resident"] for item in entries),
        models=max(item["models"] for item in entries),
        peak=end["peak"],
        duration_s=end["at"] - started_s,
        end_s=end["at"] - entries[-1]["at"],
    )


def kept(usage: Usage) -> bool:
    """Whether the promise holds."""
    return usage.growth <= PROMISE_MB * 1e6 and usage.models <= 1


def render(usage: Usage, model_bytes: int) -> str:
    """The tables, in Markdown."""
    shares = (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)
    rows = [(max(round(share * len(usage.resident)), 1), f"{usage.after(share) / 1e6:.0f}") for share in shares]
    grown = tabulate(rows, headers=("variants measured", "resident, MB"), tablefmt="github")
    facts = [
        ("size of each model", f"{model_bytes / 1e6:.0f} MB"),
        ("models alive after a benchmark, most", usage.models),
        ("growth per variant", f"{usage.growth / 1e3:.1f} kB"),
        ("peak with storing, ranking and report", f"{usage.peak / 1e6:.0f} MB"),
        ("duration", f"{usage.duration_s:.0f} s, of which after the last benchmark {usage.end_s:.0f} s"),
    ]
    return f"{grown}\n\n{tabulate(facts, headers=('what', ''), tablefmt='github', disable_numparse=True)}"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=2000)
    parser.add_argument("--megabytes", type=int, default=16, help="of each model")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(given)
    model_bytes = arguments.megabytes << 20
    with tempfile.TemporaryDirectory() as name:
        usage = measure(Path(name), arguments.variants, model_bytes, arguments.rounds)
    print(render(usage, model_bytes))
    raise SystemExit(0 if kept(usage) else 1)


if __name__ == "__main__":
    main()
