"""The process of one benchmark under `--energy-isolate`: measures it, hands it over, and writes nothing itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from typing import Any

import pytest

from energyaware.baselines.codec import to_json
from energyaware.baselines.journal import Finished, Spent
from energyaware.branches.channel import Channel
from energyaware.config import EnergyConfig, TestSettings, gpus_of
from energyaware.errors import ChannelClosedError, EnergyAwareError, MessageTooLargeError
from energyaware.measure.candle import Candle
from energyaware.measure.contention import Observer
from energyaware.measure.machine import describe
from energyaware.measure.rounds import RoundRecorder, min_window_s
from energyaware.meters.base import Meter, TickingMeter
from energyaware.meters.gpu_state import open_gpu_state
from energyaware.pytest_plugin.candles import Candles
from energyaware.pytest_plugin.journal import now, timing_of
from energyaware.pytest_plugin.session import drive, first_line, learn_idle, marked, session_meter, why_not_collected
from energyaware.pytest_plugin.spending import Part
from energyaware.records import Benchmark

# What the process that started this one does for both: it writes files, and has already chosen among the tests by what
# it remembers of earlier runs.
_PARENTS = {
    "benchmark_save": None,
    "benchmark_autosave": None,
    "benchmark_json": None,
    "benchmark_compare": None,
    "benchmark_compare_fail": None,
    "benchmark_histogram": None,
    "xmlpath": None,
    # Given by name, it would be emptied here while the other process uses it.
    "basetemp": None,
    "log_file": os.devnull,
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "stepwise": False,
    "stepwise_skip": False,
    "stepwise_reset": False,
    "cacheclear": False,
}
_MOST_TEXT = 20_000


def open_isolated(config: pytest.Config, settings: EnergyConfig, descriptor: int) -> IsolatedSession:
    """Answer the process that holds the other end of `descriptor`.

    Raises:
        UsageError: nobody does.
    """
    for name, value in _PARENTS.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)
    try:
        channel = Channel.inherited(descriptor)
        return IsolatedSession(config, settings, channel, channel.receive())
    except EnergyAwareError as error:
        raise pytest.UsageError(str(error)) from None


class IsolatedSession:
    """State of this process; registered as a plugin, so its methods are hooks. The fixture sees it as a session.

    Args:
        order: `id` of the benchmark, and what the machine draws when idle, `idle_w`; None there: nobody has measured on
            this machine before.
    """

    def __init__(self, config: pytest.Config, settings: EnergyConfig, channel: Channel, order: Any) -> None:
        self.config = config
        self.settings = settings
        self.meter: Meter
        self.idle_w: dict[str, float] = {}
        if order["idle_w"] is not None:
            self.idle_w = {str(name): float(watts) for name, watts in order["idle_w"].items()}
        self.observer: Observer
        self.window_s = 0.0
        self.seed = ""
        self.candles: Candles
        self._channel = channel
        self._id = str(order["id"])
        self._alone = order["idle_w"] is None
        self._part: Part | None = None
        self._harness_j = 0.0
        self._benchmark: Benchmark | None = None
        self._broken = ""
        self._outcome = "passed"
        self._error = ""
        self._text = ""

    def pytest_sessionstart(self) -> None:
        """Open the meter."""
        try:
            self.meter = session_meter(self.config)
            if self._alone:
                self._part = Part(self.meter)
                # It takes seconds, so only where something is done with it.
                if self.settings.net or isinstance(self.meter, TickingMeter):
                    self.idle_w = learn_idle(self.meter, self.settings.net)
        except EnergyAwareError as error:
            self._channel.send("unusable", error=str(error))
            raise pytest.UsageError(str(error)) from None
        if isinstance(self.meter, TickingMeter):
            self.meter.know_idle(self.idle_w)
        self.window_s = min_window_s(self.meter)
        self.observer = Observer(open_gpu_state(gpus_of(self.settings.device)))
        self.candles = Candles(self.settings.device, self.window_s)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what cannot be collected here, as where a package is missing."""
        if report.failed and report.nodeid:
            self._broken = why_not_collected(report)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the one that was asked for."""
        dropped = [item for item in items if item.nodeid != self._id]
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item.nodeid == self._id]
        if not items:
            why = f": {self._broken}" if self._broken else ""
            self._channel.send("unusable", error=f"{self._id} is not collected in a process of its own{why}")

    # --- what the fixture asks ---------------------------------------------------------------------------------

    def settings_of(self, item: pytest.Item) -> TestSettings:
        """The marker `energy` of a test."""
        return marked(item)

    def candle(self, name: str) -> tuple[Candle, int]:
        """The candle of that name and its units per window."""
        return self.candles.get(name)

    def agree(self, item: pytest.Item, calls: int) -> int:  # noqa: ARG002 - nobody is asked
        """How many calls each round has."""
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
        return drive(benchmark, recorder, metered, before, after, rounds)

    def add(self, benchmark: Benchmark) -> None:
        """Take the finished benchmark."""
        self._benchmark = benchmark

    def add_harness(self, energy_j: float) -> None:
        """Take the joules that measuring cost beside the benchmark's own."""
        self._harness_j += energy_j

    # --- the end -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Remember how the test ended; the first problem counts."""
        report = yield
        if call.excinfo is not None and self._outcome == "passed":
            error = call.excinfo.value
            # Not the report's outcome: whether a failure was expected is asked where the test is an item of its run.
            skipped = isinstance(error, pytest.skip.Exception | pytest.xfail.Exception)
            self._outcome = "skipped" if skipped else "failed"
            self._error = first_line(error)
            self._text = str(error) if isinstance(error, EnergyAwareError) else report.longreprtext
        return report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Hand over the benchmark, or why there is none."""
        if nodeid != self._id:
            return
        finished = None
        metadata = [item for item in self.config._benchmarksession.benchmarks if item.fullname == nodeid]  # type: ignore[attr-defined]
        if self._outcome == "passed" and self._benchmark is not None and metadata:
            record = Finished(self._benchmark, timing_of(metadata[-1]), now(), Spent(), describe())
            finished = to_json(record)
        spent = to_json(self._part.end(self._harness_j)) if self._part else None
        with contextlib.suppress(ChannelClosedError):  # nobody waits for it any more
            try:
                self._say(finished, spent)
            except MessageTooLargeError as error:
                self._outcome, self._error, self._text = "failed", error.cause, str(error)
                self._say(None, spent)

    def _say(self, finished: dict[str, Any] | None, spent: dict[str, Any] | None) -> None:
        self._channel.send(
            "finished",
            outcome=self._outcome,
            error=self._error,
            text=self._text[-_MOST_TEXT:],
            harness_j=self._harness_j,
            finished=finished,
            spent=spent,
        )

    def pytest_sessionfinish(self) -> None:
        """Hang up."""
        self._channel.close()
