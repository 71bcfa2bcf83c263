"""One measuring run: opens the meter, collects benchmarks, stores them with pytest-benchmark's, judges, reports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from energyaware import __version__
from energyaware.baselines.codec import to_json
from energyaware.baselines.gate import Judgement, failing, judge
from energyaware.baselines.journal import Finished, Spent
from energyaware.baselines.store import Baseline, find_baseline, history
from energyaware.config import EnergyConfig, Limit, TestSettings, gpus_of, parse_marker
from energyaware.data.source import shown
from energyaware.dvfs.state import state_dir
from energyaware.dvfs.sweep import recover
from energyaware.errors import EnergyAwareError, MeterError, OptionError
from energyaware.measure.candle import Candle
from energyaware.measure.contention import Observer
from energyaware.measure.idle import idle_power_w
from energyaware.measure.machine import describe
from energyaware.measure.rounds import RoundRecorder, invalid, min_window_s
from energyaware.meters.base import Meter, TickingMeter
from energyaware.meters.carbon import CarbonIntensity, intensity
from energyaware.meters.gpu_state import open_gpu_state
from energyaware.meters.selection import open_meter
from energyaware.paths import writable_dir
from energyaware.pytest_plugin import CONFIG
from energyaware.pytest_plugin.candles import Candles
from energyaware.pytest_plugin.journal import KEEPER, Keeper, open_keeper
from energyaware.pytest_plugin.pipeline import Pipeline, group_of_marker
from energyaware.pytest_plugin.progress import RunLine, open_run_line
from energyaware.pytest_plugin.spending import Part
from energyaware.pytest_plugin.timing_table import narrow
from energyaware.ranking.score import Ranking, rank
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, RowSource, Run, Totals, Variant
from energyaware.reports import files
from energyaware.reports.columns import plain
from energyaware.reports.sections import Section, sections
from energyaware.reports.tables import wrapped


def check_timing(config: pytest.Config, timing: bool) -> str | None:
    """Why pytest-benchmark cannot time this run, or None. Silence here would be a gate that always passes."""
    if config.pluginmanager.hasplugin("codspeed") and config.getoption("codspeed", False):
        return "--energy cannot measure under --codspeed, which takes the benchmark fixture over. Leave one of them out"
    if not timing:
        return "--energy needs pytest-benchmark, which is switched off here. Leave out -p no:benchmark"
    if config.getoption("dist", "no") != "no" or hasattr(config, "workerinput"):
        return (
            "--energy measures in one process: workers side by side would disturb each other. Add -n 0 (pytest-xdist)"
        )
    if config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"):
        return "--energy measures nothing with --benchmark-disable. Leave one of them out"
    return None


def session_meter(config: pytest.Config) -> Meter:
    """Open the meter that the options ask for, other plugins' meters among them.

    Raises:
        OptionError: no meter has that name.
        MeterError: the meter cannot be opened here.
    """
    settings = config.stash[CONFIG]
    registered = {
        name: factory
        for offer in config.hook.pytest_energy_meters(config=config)
        for name, factory in (offer or {}).items()
    }
    return open_meter(settings.meter, settings.core_watts, registered, gpus_of(settings.device))


def learn_idle(meter: Meter, needed: bool) -> dict[str, float]:
    """Measure idle power and tell the meter, which takes it off where it waits.

    Args:
        needed: `--energy-net` was asked for.

    Raises:
        OptionError: it is needed, but no measured domain has one.
        MeterError: the device stopped answering.
    """
    idle_w = idle_power_w(meter)
    if needed and not idle_w:
        raise OptionError(
            "--energy-net takes idle power off measured joules, but no counter is read here "
            f"({meter.name}: its estimate holds only what is active)",
            "leave it out, or choose another meter with --energy-meter",
        )
    if isinstance(meter, TickingMeter):
        meter.know_idle(idle_w)
    return idle_w


def marked(item: pytest.Item) -> TestSettings:
    """What the nearest marker `energy` of a test says.

    Raises:
        OptionError: an unknown key or value.
    """
    marker = item.get_closest_marker("energy")
    return parse_marker(dict(marker.kwargs), marker.args) if marker else TestSettings()


class EnergySession:
    """State of one run with `--energy`; registered as a plugin, so its methods are hooks."""

    def __init__(self, config: pytest.Config, settings: EnergyConfig) -> None:
        self.config = config
        self.settings = settings
        self.meter: Meter
        self.idle_w: dict[str, float] = {}
        self.observer: Observer
        self.window_s = 0.0
        self.seed = ""
        self.candles: Candles
        self.baseline: Baseline | None = None
        self.judgements: tuple[Judgement, ...] = ()
        self.rankings: tuple[Ranking, ...] = ()
        self.written: tuple[Path, ...] = ()
        self.report_problem = ""
        self.sections: tuple[Section, ...] = ()
        self.line: RunLine | None = None
        self.pipeline: Pipeline | None = None
        if settings.top is not None:
            self.pipeline = Pipeline(settings.top, settings.weight, self.measured, group_of_marker(marked))
        self._carbon: CarbonIntensity
        self._span: object = None
        self._started_s = 0.0
        self._harness_j = 0.0
        self._keeper: Keeper
        self._part: Part
        self._elsewhere: dict[str, str] = {}
        self._benchmarks: dict[str, Benchmark] = {}
        self._failed: dict[str, str] = {}
        self._limits: dict[str, tuple[Limit, ...]] = {}
        self._deselected: set[str] = set()
        self._collected: set[str] = set()
        self._restored = ""
        self._run: Run | None = None
        if not any(config.getoption(name) for name in ("benchmark_save", "benchmark_autosave", "benchmark_json")):
            # Joules are dear: a run is stored even if nobody asked.
            from pytest_benchmark.utils import get_tag

            config.option.benchmark_autosave = get_tag()

    # --- before ------------------------------------------------------------------------------------------------

    def pytest_sessionstart(self) -> None:
        """Open everything that can fail before anything is measured."""
        settings = self.settings
        if self.config.getoption("collectonly"):
            return
        try:
            if settings.report_dir is not None:
                writable_dir(settings.report_dir, "report")
            self._carbon = intensity(settings.country)
            if settings.compare is not None:
                self.baseline = find_baseline(settings.compare, self._storage(), Path.cwd())
            # A clock or cap that a killed sweep left would pass for the machine's own.
            self._restored = recover(state_dir())
            self.meter, self.idle_w = self.open_meter()
            self._keeper = open_keeper(self.config, settings, self.meter)
        except EnergyAwareError as error:
            # It may quote what stored runs and journals say.
            raise pytest.UsageError("\n".join(map(plain, str(error).split("\n")))) from None
        self._benchmarks.update(self._keeper.marked)
        self.config.pluginmanager.register(self._keeper, KEEPER)
        self.line = open_run_line(self.config)
        if self.line is not None:
            self.config.pluginmanager.register(self.line, "energyaware-line")
        self.window_s = min_window_s(self.meter)
        self.observer = Observer(open_gpu_state(gpus_of(settings.device)))
        self.candles = Candles(settings.device, self.window_s)
        self._started_s = time.perf_counter()
        if self.meter.nests:
            try:
                self._span = self.meter.start()
            except MeterError as error:
                raise pytest.UsageError(str(error)) from None
        self._part = Part(self.meter)

    def open_meter(self) -> tuple[Meter, dict[str, float]]:
        """The run's meter, and what the machine draws when idle, in watts per domain.

        Raises:
            OptionError: no meter has that name, or idle power is needed and unknown.
            MeterError: the meter cannot be opened here.
        """
        meter = session_meter(self.config)
        return meter, learn_idle(meter, self.settings.net)

    def pytest_report_header(self) -> list[str]:
        """Which meter reads what, before the first number."""
        if self.config.getoption("collectonly"):
            return ["energy: nothing is measured with --collect-only"]
        said = [f"energy: {text}" for text in (self.readers(), self._restored) if text]
        width = self.config.get_terminal_writer().fullwidth
        return [line for text in said for line in wrapped(text, width)]

    def readers(self) -> str:
        """Who reads what, for people."""
        domains = self.meter.domains.items()
        return ", ".join(f"{name} {item.source} by {item.meter} ({item.detail})" for name, item in domains)

    def _storage(self) -> Path:
        storage = self.config._benchmarksession.storage  # type: ignore[attr-defined]
        path = getattr(storage, "path", None)
        if path is None:
            raise pytest.UsageError(
                "--energy-compare reads stored runs from files, but --benchmark-storage is no folder. "
                "Store with --benchmark-json=FILE and compare with --energy-compare=FILE"
            )
        return Path(path)

    # --- during ------------------------------------------------------------------------------------------------

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember what exists, to tell vanished benchmarks from deselected ones."""
        self._collected.add(item.nodeid)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """A benchmark that is not measured again has limits all the same."""
        if not hasattr(self, "_keeper"):
            return
        try:
            for item in items:
                if item.nodeid in self._keeper.finished:
                    self.settings_of(item)
        except EnergyAwareError as error:
            raise pytest.UsageError(str(error)) from None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell how much there is to measure."""
        if self.line is not None:
            names = [item.nodeid for item in session.items if "energy" in getattr(item, "fixturenames", ())]
            self.line.expect([name for name in names if not self.is_finished(name)])

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Remember what `-k` and `-m` left out."""
        self._deselected.update(item.nodeid for item in items)

    def settings_of(self, item: pytest.Item) -> TestSettings:
        """The marker `energy` of a test, the nearest one.

        Raises:
            OptionError: an unknown key or value.
        """
        settings = marked(item)
        self._limits[item.nodeid] = settings.limits if settings.limits is not None else self.settings.limits
        return settings

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show our errors without a traceback, and keep benchmarks of failed tests out of every baseline."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, EnergyAwareError):
            report.longrepr = str(call.excinfo.value)
        if report.failed and call.excinfo is not None and "energy" in getattr(item, "fixturenames", ()):
            self._failed.setdefault(item.nodeid, first_line(call.excinfo.value))
            benchmark = getattr(item, "funcargs", {}).get("benchmark")
            if benchmark is not None:
                benchmark.has_error = True
            if item.nodeid not in self._benchmarks:
                self._add_error_row(item)
        return report

    def _add_error_row(self, item: pytest.Item) -> None:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        variant = next((value for value in parameters.values() if isinstance(value, Variant)), None)
        marker = item.get_closest_marker("energy")
        group = marker.kwargs.get("group", "") if marker else ""
        self._benchmarks[item.nodeid] = Benchmark(
            fullname=item.nodeid, name=item.name, group=group if isinstance(group, str) else "", task="", phase="",
            candle="", layout="", domains={}, variant=variant, outcome="failed", error=self._failed[item.nodeid],
        )  # fmt: skip

    def candle(self, name: str) -> tuple[Candle, int]:
        """The candle of that name and its units per window.

        Raises:
            OptionError: no candle has this name, or it needs torch, which is not installed.
        """
        return self.candles.get(name)

    def agree(self, item: pytest.Item, calls: int) -> int:  # noqa: ARG002 - a run of its own asks nobody
        """How many calls each round of this benchmark has, after a calibration that found `calls`."""
        return calls

    def drive(
        self,
        benchmark: Any,
        recorder: RoundRecorder,
        metered: Callable[[], Any],
        before: Callable[[], None],
        after: Callable[[], None],
        rounds: int,
    ) -> Any:
        """Let pytest-benchmark call the three, `rounds` times; returns the last result of `metered`."""
        if self.line is not None:
            after = self.line.counting(after, rounds)
        return drive(benchmark, recorder, metered, before, after, rounds)

    def is_finished(self, nodeid: str) -> bool:
        """Whether the interrupted run, which this one goes on with, has measured a benchmark."""
        return nodeid in self._keeper.finished

    def take(self, finished: Finished, harness_j: float) -> None:
        """Take a benchmark that another process has measured for this run, and what measuring cost there.

        Raises:
            StoredRunError: the run goes on with one that ran on another machine.
        """
        self._keeper.require_same_machine(finished.machine)
        self._elsewhere.update(finished.machine)
        self._keeper.take(finished.timing)
        self.add_harness(harness_j)
        self._benchmarks[finished.benchmark.fullname] = finished.benchmark

    def add(self, benchmark: Benchmark) -> None:
        """Take a finished benchmark.

        Raises:
            StoredRunError: the run goes on with one that ran on another machine.
        """
        self._keeper.require_same_machine()
        self._benchmarks[benchmark.fullname] = benchmark

    def add_harness(self, energy_j: float) -> None:
        """Take the joules that measuring one benchmark cost beside its own."""
        self._harness_j += energy_j

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Have a benchmark whose test passed on disk before the next one begins."""
        found = self._benchmarks.get(nodeid)
        if found is not None and nodeid not in self._failed and nodeid not in self._keeper.finished:
            self.keep(found)

    def keep(self, benchmark: Benchmark) -> None:
        """Put a benchmark on disk, with what the run cost since the one before."""
        self._keeper.keep(benchmark, self._part.end(self._harness_j), self._elsewhere)
        self._part = Part(self.meter, self._harness_j)

    # --- after -------------------------------------------------------------------------------------------------

    def measured(self) -> tuple[Benchmark, ...]:
        """The benchmarks so far, those of failed tests marked."""
        return tuple(
            replace(item, outcome="failed", error=self._failed[name]) if name in self._failed else item
            for name, item in self._benchmarks.items()
        )

    def run(self) -> Run:
        """The run as far as it went; made once, since pytest-benchmark asks twice when it stores twice."""
        if self._run is None:
            settings = self.settings
            options = {
                "suite": settings.suite, "meter": settings.meter, "models": list(settings.models),
                "device": settings.device, "data": shown(settings.data), "dvfs": settings.dvfs,
                "weight": settings.weight, "rounds": settings.rounds, "country": settings.country, "net": settings.net,
                "top": settings.top, "engine": settings.engine,
            }  # fmt: skip
            benchmarks, machine = self.rows()
            cut = not self._keeper.whole
            self._run = Run(benchmarks, machine, options, self._totals(), __version__, interrupted=cut)
        return self._run

    def rows(self) -> tuple[tuple[Benchmark, ...], dict[str, str]]:
        """What is stored and ranked, and the machine that measured it."""
        return self.measured(), {**self._keeper.machine, **describe(), **self._elsewhere}

    def domains(self) -> Mapping[str, Domain]:
        """Who reads the run's energy."""
        return self.meter.domains

    def spent(self) -> Spent:
        """What the run cost, with the interrupted one that it goes on with; without joules where none were read."""
        self._part.end(self._harness_j)  # windows close in reverse order
        energy_j = None
        if self.meter.nests:
            # It may have died on the way: its benchmarks have said so, and the finished ones are to be stored.
            with contextlib.suppress(MeterError):
                raw = self.meter.stop(self._span)
                energy_j = sum(raw.values()) if invalid(raw, self.meter.domains) is None else None
        return self._keeper.spent + Spent(energy_j, self.seconds(), self._harness_j)

    def seconds(self) -> float:
        """Since this run began."""
        return time.perf_counter() - self._started_s

    def _totals(self) -> Totals:
        spent, carbon = self.spent(), self._carbon
        empty = Totals(
            duration_s=spent.duration_s, intensity_g_per_kwh=carbon.g_per_kwh, intensity_source=carbon.described,
            idle_w=self.idle_w,
        )  # fmt: skip
        if not spent.energy_j:  # unknown, or nothing was measured
            return empty
        sources = {domain.source for domain in self.domains().values()}
        source: RowSource = sources.pop() if len(sources) == 1 else "mixed"
        return replace(
            empty, energy_j=spent.energy_j, source=source, carbon_g=carbon.grams(spent.energy_j),
            harness_share=spent.harness_j / spent.energy_j,
        )  # fmt: skip

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add our objects to pytest-benchmark's file; the same every time it asks."""
        run = self.run()
        output_json["energyaware"] = {
            "schema_version": SCHEMA_VERSION,
            "version": run.version,
            "machine": dict(run.machine),
            "meters": {name: domain.meter for name, domain in self.domains().items()},
            "options": dict(run.options),
            "totals": to_json(run.totals),
            "interrupted": run.interrupted,
            "errors": [
                {"fullname": item.fullname, "error": item.error} for item in run.benchmarks if item.outcome == "failed"
            ],
        }
        passed = {item.fullname: item for item in run.benchmarks if item.outcome == "passed"}
        for entry in output_json["benchmarks"]:
            if entry["fullname"] in passed:
                entry["energy"] = to_json(passed[entry["fullname"]])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge, write the report, and set the exit status. pytest-benchmark has stored the run by now."""
        if self.config.getoption("collectonly") or not hasattr(self, "meter"):
            return
        run = self.run()
        with contextlib.suppress(MeterError):
            self.meter.close()
        rankings = rank(run.benchmarks, self.settings.weight)
        changed = self.config.hook.pytest_energy_update_ranking(config=self.config, rankings=rankings)
        self.rankings = rankings if changed is None else tuple(changed)
        self.sections = sections(
            run.benchmarks, self.rankings, full=self.settings.suite == "full", requests=self.settings.requests,
            cuts=self.pipeline.cuts if self.pipeline else (),
        )  # fmt: skip
        if self.settings.compare is not None:
            self.judgements = judge(
                run,
                self.baseline.run if self.baseline else None,
                lambda fullname: self._limits.get(fullname, self.settings.limits),
                history(self._storage(), self.baseline.run) if self.baseline else (),
                self._expected,
                self._failed,
            )
        if self.settings.report_dir is not None and run.benchmarks:
            try:
                self.written = files.write(self.settings.report_dir, self._texts(run))
            except EnergyAwareError as error:
                self.report_problem = str(error)
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            narrow(self.config, reporter._tw.fullwidth)
        if failing(self.judgements, self.settings.strict) and session.exitstatus in (0, pytest.ExitCode.OK):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _texts(self, run: Run) -> dict[str, str]:
        """The files of the report."""
        from energyaware.reports.html import page
        from energyaware.reports.html.material import Material

        grams, baseline = self._carbon.grams, self.baseline.run.path if self.baseline else ""
        texts = {
            "energy.md": files.markdown(run, self.rankings, self.judgements, grams, baseline, self.sections),
            "energy.csv": files.csv_text(self.rankings, grams),
        }
        if page.available():
            material = Material(run, self.rankings, grams, (run,), self.judgements, baseline, sections=self.sections)
            texts["energy.html"] = page.render(material)
        else:
            self.report_problem = f"energy.html is left out: it needs Jinja2. {page.REMEDY}"
        return texts

    def _expected(self, fullname: str) -> bool:
        """Whether a benchmark of the baseline should have run here: its file or folder was asked for as a whole."""
        if fullname in self._deselected or self.config.getoption("keyword") or self.config.getoption("markexpr"):
            return False
        if fullname in self._collected:
            return True
        path = self.config.rootpath / fullname.split("::", 1)[0]
        for argument in self.config.args:
            if "::" in argument:
                continue
            asked = (self.config.invocation_params.dir / argument).resolve()
            if path == asked or asked in path.parents:
                return True
        return False

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the ranking, the verdicts and the totals."""
        from energyaware.pytest_plugin.terminal import summarize

        if hasattr(self, "meter") and self._benchmarks:
            summarize(terminalreporter, self, self.run(), self._carbon.grams)


def drive(
    benchmark: Any,
    recorder: RoundRecorder,
    metered: Callable[[], Any],
    before: Callable[[], None],
    after: Callable[[], None],
    rounds: int,
) -> Any:
    """Let pytest-benchmark call the three, `rounds` times; returns the last result of `metered`."""

    def counted() -> None:
        benchmark.stats.iterations = recorder.calls
        before()

    return benchmark.pedantic(metered, setup=counted, teardown=after, rounds=rounds)


def first_line(error: BaseException) -> str:
    """What a row of a failed test shows."""
    text = error.cause if isinstance(error, EnergyAwareError) else f"{type(error).__name__}: {error}"
    return text.strip().split("\n", 1)[0][:300]


def why_not_collected(report: pytest.CollectReport) -> str:
    """The last line that says why a file or class cannot be collected."""
    lines = report.longreprtext.strip().splitlines()
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    return (errors or lines or ["it cannot be collected"])[-1][:300]
