"""What meters err and cost: `python -m benchmarks.promises.overhead`.

Regions of 20 ms, 50 ms, 200 ms and 1 s of one fixed piece of interpreted work are metered by ours, by CodeCarbon's
tracker and by Zeus's window, and left bare, in random order. pytest-energy-reporter and pytest-codecarbon need other
versions of what we use: give the interpreter of an environment that has one of them with `--energy-reporter` or
`--pytest-codecarbon`, and they are metered over the same regions in a process of their own.

Error. Each meter first reads the same work in long windows (start, middle and end of the run); joules of a domain per
second there are the truth of its own model:

    truth of a region = Σ over domains (J per second in the long windows) × (seconds of the region)
    error             = reading / truth - 1

Seconds are taken around the work alone, outside the meter: CPU seconds of the working thread for domains that follow
them (`cpu` of our `cpu-time`, and of CodeCarbon in process mode), else wall seconds. So a meter is held to its own
watts, whether or not these are right, and a change of the machine's speed is no error.

Added cost. CPU seconds of the process and its children, and wall seconds, from before the start to after the stop,
without those of the work, less the same of bare regions; medians, as a share of the region. Beside it CPU seconds of
metered against bare regions of the same round, which would show a meter that slows down the work itself.

Promised of ours: 95 % of the readings err by at most 2 % from 50 ms on; the added cost is at most 0.5 % of every
region, and against bare regions it does not lie above that by more than four standard errors. The exit status is 1
where that does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import json
import math
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from energyaware.baselines.store import load_run
from energyaware.errors import EnergyAwareError
from energyaware.measure import candle
from energyaware.measure.contention import Observer
from energyaware.measure.machine import describe
from energyaware.measure.rounds import RoundRecorder
from energyaware.meters.base import Meter
from energyaware.meters.codecarbon import quiet
from energyaware.meters.gpu_state import open_gpu_state
from energyaware.meters.selection import cpu_time
from energyaware.reports.tables import totals_line
from energyaware.stats.location import Estimate, trimmed_mean
from energyaware.units import ABSENT, joules, percent, si

LENGTHS_S = (0.02, 0.05, 0.2, 1.0)
MOST_ERROR, FROM_S = 0.02, 0.05
MOST_COST = 0.005
WITHIN = 0.95
SURE = 4
"""Standard errors: with eight rows of ours, two would raise a false alarm in one run of six."""
BARE = "bare"
ALONE = -1

Work = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds of CPU and of wall."""

    cpu_s: float
    wall_s: float

    def __sub__(self, other: Clocks) -> Clocks:
        return Clocks(self.cpu_s - other.cpu_s, self.wall_s - other.wall_s)


@dataclass(frozen=True, slots=True)
class Sample:
    """One region.

    Attributes:
        tool: who metered it, or `bare`.
        length_s: nominal; None for a long window.
        number: of the round; regions of one round lie close together. `ALONE` where no bare ones lie beside.
        energy_j: by domain; empty where the tool gave no reading.
        work: seconds of the work alone, CPU of its thread.
        whole: seconds with start and stop, CPU of the process and its children.
    """

    tool: str
    length_s: float | None
    number: int
    energy_j: Mapping[str, float]
    work: Clocks
    whole: Clocks

    @property
    def around(self) -> Clocks:
        """What start and stop took."""
        return self.whole - self.work


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that meters a region in this process.

    Attributes:
        measure: runs the work under the meter; joules by domain.
        active: domains that follow CPU seconds of the process; all others follow the wall clock.
    """

    name: str
    measure: Callable[[Work], Mapping[str, float]]
    active: frozenset[str] = frozenset()
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What one tool does on regions of one length.

    Attributes:
        count: regions metered; `read` of them gave a reading.
        error: of the readings, as a ratio; None without any.
        within: size of error that `WITHIN` of the readings do not exceed.
        added_cpu: CPU seconds of start and stop, as a share of those of the region; `added_wall` likewise.
        against_bare: CPU seconds of metered against bare regions, minus 1; None where none lie side by side.
    """

    tool: str
    ours: bool
    length_s: float
    count: int
    read: int
    error: Estimate | None
    within: float | None
    added_cpu: float
    added_wall: float
    against_bare: Estimate | None


# --- from samples to rows --------------------------------------------------------------------------------------------


def seconds(domain: str, clocks: Clocks, active: frozenset[str]) -> float:
    """The clock that a domain follows."""
    return clocks.cpu_s if domain in active else clocks.wall_s


def rates(long: Iterable[Sample], active: frozenset[str]) -> dict[str, float]:
    """Joules per second of each domain over all long windows."""
    energy_j: dict[str, float] = {}
    spent_s: dict[str, float] = {}
    for sample in long:
        for domain, value in sample.energy_j.items():
            energy_j[domain] = energy_j.get(domain, 0.0) + value
            spent_s[domain] = spent_s.get(domain, 0.0) + seconds(domain, sample.work, active)
    return {domain: value / spent_s[domain] for domain, value in energy_j.items()}


def error(sample: Sample, rate_w: Mapping[str, float], active: frozenset[str]) -> float | None:
    """Reading against truth, as a ratio minus 1; None without a reading, or without a truth."""
    read_j = sum(sample.energy_j.values())
    truth_j = sum(rate_w.get(domain, 0.0) * seconds(domain, sample.work, active) for domain in sample.energy_j)
    return read_j / truth_j - 1 if truth_j > 0 and math.isfinite(read_j) else None


def rows_of(
    name: str,
    samples: Sequence[Sample],
    bare: Sequence[Sample],
    active: frozenset[str] = frozenset(),
    ours: bool = False,
) -> list[Row]:
    """One row per length of region.

    Args:
        bare: regions without a meter. Those of the same round and length are compared side by side, where there are
            any; what the clocks themselves cost is taken from all of them.
    """
    own = [sample for sample in samples if sample.tool == name]
    rate_w = rates((sample for sample in own if sample.length_s is None), active)
    beside = {(sample.number, sample.length_s): sample for sample in bare if sample.number != ALONE}
    idle_cpu_s = statistics.median(sample.around.cpu_s for sample in bare)
    idle_wall_s = statistics.median(sample.around.wall_s for sample in bare)
    found = []
    for length_s in sorted({sample.length_s for sample in own if sample.length_s is not None}):
        regions = [sample for sample in own if sample.length_s == length_s]
        errors = [value for sample in regions if (value := error(sample, rate_w, active)) is not None]
        pairs = [(sample, other) for sample in regions if (other := beside.get((sample.number, length_s)))]
        ratios = [sample.whole.cpu_s / other.whole.cpu_s - 1 for sample, other in pairs]
        work_cpu_s = statistics.median(sample.work.cpu_s for sample in regions)
        work_wall_s = statistics.median(sample.work.wall_s for sample in regions)
        found.append(
            Row(
                tool=name,
                ours=ours,
                length_s=length_s,
                count=len(regions),
                read=len(errors),
                error=trimmed_mean(errors) if errors else None,
                within=float(np.quantile(np.abs(errors), WITHIN)) if errors else None,
                added_cpu=(statistics.median(sample.around.cpu_s for sample in regions) - idle_cpu_s) / work_cpu_s,
                added_wall=(statistics.median(sample.around.wall_s for sample in regions) - idle_wall_s) / work_wall_s,
                against_bare=trimmed_mean(ratios) if ratios else None,
            )
        )
    return found


def misses(rows: Iterable[Row]) -> list[str]:
    """What of ours is not as promised, for regions from `FROM_S` on; shorter ones are shown and not promised."""
    found = []
    for row in rows:
        if not row.ours or row.length_s < FROM_S:
            continue
        where = f"{row.tool}, {si(row.length_s, 's')}"
        if row.read < row.count or row.within is None or row.within > MOST_ERROR:
            found.append(f"{where}: {WITHIN:.0%} of {row.read} of {row.count} readings within {_share(row.within)}")
        cost = max(row.added_cpu, row.added_wall)
        if cost > MOST_COST:
            found.append(f"{where}: added cost {_share(cost)}")
        bare = row.against_bare
        # Without a standard error (one repetition) nothing can be said.
        if bare and bare.standard_error is not None and bare.centre - SURE * bare.standard_error > MOST_COST:
            found.append(f"{where}: {_interval(bare)} against bare regions")
    return found


def render(rows: Iterable[Row]) -> str:
    """The rows as a GitHub table."""
    cells = [
        (
            row.tool, si(row.length_s, "s"), f"{row.read} of {row.count}", _interval(row.error), _share(row.within),
            _share(row.added_cpu), _share(row.added_wall), _interval(row.against_bare),
        )
        for row in rows
    ]  # fmt: skip
    heads = (
        "meter", "region", "readings", "error (95 % interval)", f"{WITHIN:.0%} err by at most",
        "added CPU", "added wall", "CPU against bare (95 % interval)",
    )  # fmt: skip
    return tabulate(cells, heads, tablefmt="github", disable_numparse=True)


def _share(value: float | None) -> str:
    return percent(value, 2)


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return ABSENT
    half = "" if estimate.half_width is None else f" ± {100 * estimate.half_width:.2f}"
    return f"{100 * estimate.centre:+.2f}{half} %"


# --- tools in this process -------------------------------------------------------------------------------------------


def unmetered(work: Work) -> Mapping[str, float]:
    """The work alone."""
    work()
    return {}


def through_protocol(meter: Meter) -> Tool:
    """Ours, as `energy.window` uses it."""

    def measure(work: Work) -> Mapping[str, float]:
        mark = meter.start()
        work()
        return meter.stop(mark)

    return Tool("energyaware cpu-time, Meter", measure, frozenset({"cpu"}), ours=True)


def through_recorder(meter: Meter) -> Tool:
    """Ours, as a metered round of a benchmark uses it, without its candle."""
    observer = Observer(open_gpu_state())
    recorder = RoundRecorder(meter, candle=None, calls=1, candle_calls=0, rng=random.Random(0), observer=observer)

    def measure(work: Work) -> Mapping[str, float]:
        recorder.before()
        with recorder.timed():
            work()
        recorder.after()
        return recorder.rounds.pop().reading.energy_j if recorder.rounds else {}

    return Tool("energyaware cpu-time, RoundRecorder", measure, frozenset({"cpu"}), ours=True)


def codecarbon_tools(folder: Path, stack: contextlib.ExitStack) -> Iterator[Tool]:
    """CodeCarbon's offline tracker with its defaults, as its users start it, and its tasks in both modes."""
    with quiet():
        from codecarbon import OfflineEmissionsTracker
    options = {"country_iso_code": "DEU", "output_dir": str(folder), "log_level": "critical"}

    def energies(data: Any) -> dict[str, float]:
        if data is None:
            return {}
        return {"cpu": joules(data.cpu_energy), "dram": joules(data.ram_energy), "gpu": joules(data.gpu_energy)}

    def start_stop(work: Work) -> Mapping[str, float]:
        tracker = OfflineEmissionsTracker(**options)
        tracker.start()
        work()
        tracker.stop()
        return energies(tracker.final_emissions_data)

    yield Tool("CodeCarbon tracker, start/stop", start_stop)
    for mode, active in (("machine", frozenset[str]()), ("process", frozenset({"cpu"}))):
        tracker = OfflineEmissionsTracker(**options, tracking_mode=mode)
        stack.callback(tracker.stop)

        def task(work: Work, tracker: Any = tracker) -> Mapping[str, float]:
            tracker.start_task()
            work()
            return energies(tracker.stop_task())

        yield Tool(f"CodeCarbon task, {mode} mode", task, active)


def zeus_tool() -> Tool | str:
    """Zeus's own window, or why there is none."""
    try:
        from zeus.monitor import ZeusMonitor

        monitor = ZeusMonitor()
        if not monitor.gpu_indices and not monitor.cpu_indices:
            return "Zeus finds no counter of a CPU or GPU here: its window gives seconds alone, and no joules"

        def measure(work: Work) -> Mapping[str, float]:
            monitor.begin_window("region")
            work()
            found = monitor.end_window("region")
            parts = {"gpu": found.gpu_energy, "cpu": found.cpu_energy, "dram": found.dram_energy}
            return {f"{kind}{index}": value for kind, part in parts.items() for index, value in (part or {}).items()}

        measure(lambda: None)
    except Exception as problem:  # noqa: BLE001 - drivers, permissions, no torch: each has its own class
        return f"Zeus gives no window here ({type(problem).__name__}: {problem})"
    return Tool("Zeus window", measure)


# --- measuring -------------------------------------------------------------------------------------------------------


def _now() -> Clocks:
    below = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Clocks(time.process_time() + below.ru_utime + below.ru_stime, time.perf_counter())


def meter_region(tool: Tool, length_s: float | None, units: int, number: int) -> Sample:
    """Meter `units` of work once."""
    spent = []

    def work() -> None:
        start = Clocks(time.thread_time(), time.perf_counter())
        for _ in range(units):
            candle.INTERPRETER.run()
        spent.append(Clocks(time.thread_time(), time.perf_counter()) - start)

    before = _now()
    energy_j = tool.measure(work)
    whole = _now() - before
    return Sample(tool.name, length_s, number, dict(energy_j), spent[0], whole)


def unit_s(repetitions: int = 200) -> float:
    """Seconds of one unit of work, the median."""
    found = []
    for _ in range(repetitions):
        start = time.perf_counter()
        candle.INTERPRETER.run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def measure_all(
    tools: Sequence[Tool], lengths_s: Sequence[float], repetitions: int, long_s: float, one_s: float, seed: int
) -> list[Sample]:
    """All regions of all tools in random order, round by round, and three long windows of each."""
    rng = random.Random(seed)
    found: list[Sample] = []
    metered = [tool for tool in tools if tool.name != BARE]

    def long_windows() -> None:
        for tool in rng.sample(metered, len(metered)):
            found.append(meter_region(tool, None, max(1, round(long_s / one_s)), ALONE))
            _show(f"long window: {tool.name}")

    for tool in tools:
        meter_region(tool, None, 1, ALONE)  # the first one detects hardware and loads code
    long_windows()
    for number in range(repetitions):
        if number == repetitions // 2:
            long_windows()
        trials = list(itertools.product(tools, lengths_s))
        for tool, length_s in rng.sample(trials, len(trials)):
            found.append(meter_region(tool, length_s, max(1, round(length_s / one_s)), number))
        _show(f"round {number + 1} of {repetitions}")
    long_windows()
    return found


def _show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- tools with an environment of their own --------------------------------------------------------------------------

# What both scripts begin with. The work is loaded from our file: that environment does not have this package.
_PRELUDE = """
import importlib.util, json, resource, sys, time

PLAN = json.load(open("plan.json"))
spec = importlib.util.spec_from_file_location("candle", PLAN["candle"])
candle = sys.modules["candle"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(candle)


def now():
    below = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + below.ru_utime + below.ru_stime, time.perf_counter()


def worked(units):
    start = time.thread_time(), time.perf_counter()
    for _ in range(units):
        candle.INTERPRETER.run()
    return time.thread_time() - start[0], time.perf_counter() - start[1]


def write(index, energy_j, work, before):
    after = now()
    line = {"index": index, "energy_j": energy_j, "work": work, "whole": [b - a for a, b in zip(before, after)]}
    with open("samples.jsonl", "a") as file:
        file.write(json.dumps(line) + "\\n")
"""

# The plugin hands each test to this function, once per iteration.
_REPORTER = """
def main():
    from pytest_energy_reporter.measurement import energy_tester

    for index, (_, units) in enumerate(PLAN["regions"]):
        work = []
        before = now()
        try:
            found = energy_tester.test(lambda: work.append(worked(units)), 1, func_name="region", include_case=False)
            energy_j = float(found["energy"][0])
        except Exception:
            energy_j = None
        write(index, energy_j, work[0], before)


if __name__ == "__main__":
    main()
"""

_CONFTEST = """
import pytest


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    before = now()
    yield
    write(item.callspec.params["index"], None, item.module.SPENT.pop(), before)
"""

_TEST = """
import pytest

SPENT = []


@pytest.mark.parametrize("index", range(len(PLAN["regions"])))
def test_region(index):
    SPENT.append(worked(PLAN["regions"][index][1]))
"""

# A look-up of the place must not leave the machine: nobody listens at this port.
_NO_NETWORK = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")

Regions = Sequence[tuple[float | None, int]]


def planned(lengths_s: Sequence[float], repetitions: int, long_s: float, one_s: float, seed: int) -> Regions:
    """Regions in random order with a long window at the start, in the middle and at the end."""
    rng = random.Random(seed)
    long = (None, max(1, round(long_s / one_s)))
    regions: list[tuple[float | None, int]] = []
    for number in range(repetitions):
        regions += [long] if number in (0, repetitions // 2) else []
        regions += [(length_s, max(1, round(length_s / one_s))) for length_s in rng.sample(lengths_s, len(lengths_s))]
    return [*regions, long]


def run_script(python: str, folder: Path, regions: Regions, files: Mapping[str, str], *command: str) -> None:
    """Run a script over the planned regions with another interpreter; samples lie in the folder.

    Raises:
        subprocess.CalledProcessError: it failed; its output is in the error.
    """
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps({"candle": candle.__file__, "regions": regions}))
    for name, text in files.items():
        (folder / name).write_text(_PRELUDE + text)
    subprocess.run(
        [python, *command], cwd=folder, check=True, capture_output=True, text=True, env={**os.environ, **_NO_NETWORK}
    )


def read_samples(
    name: str, folder: Path, regions: Regions, energy_j: Mapping[int, float] | None = None
) -> list[Sample]:
    """Samples of a script.

    Args:
        energy_j: by index of the region, where the script could not know it.
    """
    found = []
    for text in (folder / "samples.jsonl").read_text().splitlines():
        line = json.loads(text)
        value = line["energy_j"] if energy_j is None else energy_j.get(line["index"])
        known = {} if value is None else {"all": float(value)}
        work, whole = Clocks(*line["work"]), Clocks(*line["whole"])
        found.append(Sample(name, regions[line["index"]][0], ALONE, known, work, whole))
    return found


def energies_of_csv(lines: Iterable[str]) -> dict[int, float]:
    """Joules by index of the region out of the file of pytest-codecarbon, which holds one line per test."""
    return {
        int(row["project_name"].partition("[")[2].rstrip("]")): joules(float(row["energy_consumed"]))
        for row in csv.DictReader(lines)
    }


def energy_reporter(python: str, folder: Path, regions: Regions, bare: Sequence[Sample]) -> list[Row]:
    """Rows of pytest-energy-reporter; `bare` regions of this process tell what the clocks cost."""
    name = "pytest-energy-reporter"
    run_script(python, folder / name, regions, {"script.py": _REPORTER}, "script.py")
    return rows_of(name, read_samples(name, folder / name, regions), bare)


def pytest_codecarbon(python: str, folder: Path, regions: Regions, bare: Sequence[Sample]) -> list[Row]:
    """Rows of pytest-codecarbon: a test per region. What pytest itself costs is taken from a run without `--carbon`."""
    del bare  # those of this process hold nothing of pytest
    name, files = "pytest-codecarbon", {"conftest.py": _CONFTEST, "test_regions.py": _TEST}
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    short = [region for region in regions if region[0] is not None][:20]
    run_script(python, folder / BARE, short, files, *command)
    run_script(python, folder / name, regions, files, *command, "--carbon", "--carbon-dir=out")
    with (folder / name / "out" / "emissions.csv").open(encoding="utf-8", newline="") as lines:
        energy_j = energies_of_csv(lines)
    return rows_of(name, read_samples(name, folder / name, regions, energy_j), read_samples(BARE, folder / BARE, short))


@dataclass(frozen=True, slots=True)
class Foreign:
    """A tool with an environment of its own.

    Attributes:
        packages: the tool, and what its numbers depend on.
    """

    option: str
    packages: tuple[str, ...]
    measure: Callable[[str, Path, Regions, Sequence[Sample]], list[Row]]


FOREIGN = (
    Foreign("energy_reporter", ("pytest-energy-reporter", "energy-consumption-reporter", "pytest"), energy_reporter),
    Foreign("pytest_codecarbon", ("pytest-codecarbon", "codecarbon", "pytest"), pytest_codecarbon),
)


# --- a whole run -----------------------------------------------------------------------------------------------------

_SUITE = """
import json
import random

NUMBERS = [random.Random(1).random() for _ in range(60000)]
ROWS = [{"a": index, "b": str(index)} for index in range(3000)]


def test_loop(energy):
    energy(lambda: sum(index * index % 7 for index in range(100_000)))


def test_json(energy):
    energy(lambda: json.loads(json.dumps(ROWS)))


def test_sort(energy):
    energy(sorted, NUMBERS)
"""


def whole_run(folder: Path) -> str:
    """The totals line of a small run of the plugin, which holds the share that went to measuring.

    Raises:
        subprocess.CalledProcessError: the run failed.
        StoredRunError: it stored nothing that can be read.
    """
    folder.mkdir()
    (folder / "test_small.py").write_text(_SUITE)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--energy", "--energy-meter=cpu-time")
    subprocess.run((*command, "--benchmark-json=run.json"), cwd=folder, check=True, capture_output=True, text=True)
    totals = load_run(folder / "run.json").totals
    return f"{totals_line(totals)}\n\nharness share: {_share(totals.harness_share)} (candles included)"


# --- command line ----------------------------------------------------------------------------------------------------


def _versions() -> str:
    found = []
    for name in ("energyaware", "codecarbon", "zeus"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return ", ".join(found)


def _versions_of(python: str, packages: Sequence[str]) -> str:
    code = "import sys; from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _last_line(problem: Exception) -> str:
    output = getattr(problem, "stderr", None) or getattr(problem, "stdout", None) or str(problem)
    return output.strip().rpartition("\n")[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is 1 where ours is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=40, help="regions of each length and meter (40)")
    parser.add_argument("--long-s", type=float, default=10.0, help="seconds of a long window (10)")
    parser.add_argument("--energy-reporter", metavar="PYTHON", help="interpreter that has pytest-energy-reporter")
    parser.add_argument("--pytest-codecarbon", metavar="PYTHON", help="interpreter that has pytest-codecarbon")
    parser.add_argument("--no-run", action="store_true", help="leave out the share of a whole run")
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    options = parser.parse_args(arguments)
    if options.repetitions < 1 or not options.long_s > 0:
        parser.error("--repetitions and --long-s must be above 0")
    for foreign in FOREIGN:
        python = getattr(options, foreign.option)
        if python is not None and shutil.which(python) is None:
            parser.error(f"{python} is no interpreter")  # said before minutes of measuring
    notes: list[str] = []
    one_s = unit_s()
    observer = Observer()
    observer.start()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        meter = cpu_time(None)
        tools = [Tool(BARE, unmetered), through_protocol(meter), through_recorder(meter)]
        tools += codecarbon_tools(folder, stack)
        zeus = zeus_tool()
        if isinstance(zeus, Tool):
            tools.append(zeus)
        else:
            notes.append(zeus)
        samples = measure_all(tools, LENGTHS_S, options.repetitions, options.long_s, one_s, options.seed)
        bare = [sample for sample in samples if sample.tool == BARE and sample.length_s is not None]
        rows = [
            row
            for tool in tools
            if tool.name != BARE
            for row in rows_of(tool.name, samples, bare, tool.active, tool.ours)
        ]
        for number, foreign in enumerate(FOREIGN):
            python = getattr(options, foreign.option)
            if python is None:
                notes.append(f"{foreign.packages[0]}: not asked for")
                continue
            _show(foreign.packages[0])
            regions = planned(LENGTHS_S, options.repetitions, options.long_s, one_s, options.seed + 1 + number)
            versions = _versions_of(python, foreign.packages)
            notes.append(versions or f"{foreign.packages[0]}: not installed there")
            if not versions:
                continue
            try:
                rows += foreign.measure(python, folder, regions, bare)
            except (subprocess.CalledProcessError, OSError, ValueError, KeyError) as problem:
                notes.append(f"{foreign.packages[0]}: could not be driven ({_last_line(problem)})")
        run = "" if options.no_run else _whole_run(folder / "run")
    state = observer.stop()
    machine = ", ".join(f"{name} {text}" for name, text in describe().items())
    print(f"{options.repetitions} regions of each length and meter, three long windows of {options.long_s:g} s each.")
    print(f"One unit of work takes {si(one_s, 's')}; order by seed {options.seed}. Others took", end=" ")
    print(f"{percent(state.others_share)} of the CPU meanwhile, the hypervisor {percent(state.steal_share)}.\n")
    print(f"Machine: {machine}; {_versions()}.\n")
    print(render(rows))
    print("\n" + "\n".join(f"- {note}" for note in notes) + "\n")
    if run:
        print(f"{run}\n")
    missed = misses(rows)
    print("\n".join(f"MISSED: {text}" for text in missed) or "All that is promised of ours holds.")
    return 1 if missed else 0


def _whole_run(folder: Path) -> str:
    try:
        return f"A small run of the plugin: {whole_run(folder)}"
    except (subprocess.CalledProcessError, EnergyAwareError) as problem:
        return f"A small run of the plugin failed: {_last_line(problem)}"


if __name__ == "__main__":
    raise SystemExit(main())
