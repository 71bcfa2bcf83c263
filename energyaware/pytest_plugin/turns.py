"""A worker of `energyaware compare`: measures the benchmarks it is told to, one round at each turn."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any

import pytest

from energyaware.baselines.codec import to_json
from energyaware.branches.chance import first_blocks, seed_of_process
from energyaware.branches.channel import PROTOCOL, Channel
from energyaware.config import EnergyConfig, TestSettings, gpus_of
from energyaware.errors import ChannelClosedError, EnergyAwareError, OptionError
from energyaware.measure.candle import Candle
from energyaware.measure.contention import Observer
from energyaware.measure.cores import move_to_core
from energyaware.measure.machine import describe
from energyaware.measure.rounds import RoundRecorder, min_window_s
from energyaware.meters.base import Meter, TickingMeter
from energyaware.meters.gpu_state import open_gpu_state
from energyaware.pytest_plugin.session import first_line, learn_idle, marked, session_meter, why_not_collected
from energyaware.records import Benchmark


def open_turns(config: pytest.Config, settings: EnergyConfig, descriptor: int) -> TurnSession:
    """Answer the coordinator that holds the other end of `descriptor`.

    Raises:
        UsageError: nobody does.
    """
    try:
        return TurnSession(config, settings, Channel.inherited(descriptor))
    except EnergyAwareError as error:
        raise pytest.UsageError(str(error)) from None


class TurnSession:
    """State of one worker; registered as a plugin, so its methods are hooks. The fixture sees it as a session."""

    def __init__(self, config: pytest.Config, settings: EnergyConfig, channel: Channel) -> None:
        self.config = config
        self.settings = settings
        self.meter: Meter
        self.window_s = 0.0
        self.idle_w: dict[str, float] = {}
        self.observer: Observer
        self.seed = seed_of_process()
        self._held = first_blocks(self.seed)  # before the benchmarks allocate anything
        self._channel = channel
        self._asked: frozenset[str] = frozenset()
        self._benchmark: Benchmark | None = None
        self._errors: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._arrived: set[str] = set()

    def pytest_sessionstart(self) -> None:
        """Open the meter."""
        try:
            self.meter = session_meter(self.config)
            # It takes seconds in every launch, so only where something is done with it.
            if self.settings.net or isinstance(self.meter, TickingMeter):
                self.idle_w = learn_idle(self.meter, self.settings.net)
        except EnergyAwareError as error:
            self._channel.send("unusable", error=str(error))
            raise pytest.UsageError(str(error)) from None
        self.window_s = min_window_s(self.meter)
        self.observer = Observer(open_gpu_state(gpus_of(self.settings.device)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what cannot be collected: its benchmarks are missing, the others go on."""
        if not report.passed and report.nodeid:
            self._broken[report.nodeid] = why_not_collected(report)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Say what there is, and keep what is asked for."""
        found = {item.nodeid: item for item in items if "energy" in getattr(item, "fixturenames", ())}
        limits = {}
        for name, item in found.items():
            own = marked(item).limits
            limits[name] = None if own is None else [limit.text for limit in own]
        self._channel.send(
            "collected",
            protocol=PROTOCOL,
            ids=list(found),
            limits=limits,
            defaults=[limit.text for limit in self.settings.limits],
            machine=describe(),
            broken=self._broken,
        )
        wanted = self._hear()["ids"]
        self._asked = frozenset(wanted)
        # In the coordinator's order, so that both sides meet at the same benchmark.
        kept = [found[name] for name in wanted if name in found]
        dropped = [item for item in items if item.nodeid not in self._asked]
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)
        items[:] = kept

    def _hear(self) -> Mapping[str, Any]:
        """Sleep until it is our turn."""
        try:
            return self._channel.receive()
        except ChannelClosedError:
            pytest.exit("energyaware compare has ended", returncode=pytest.ExitCode.INTERRUPTED)

    # --- what the fixture asks ---------------------------------------------------------------------------------

    def settings_of(self, item: pytest.Item) -> TestSettings:
        """The marker `energy` of a test."""
        return marked(item)

    def candle(self, name: str) -> tuple[Candle | None, int]:  # noqa: ARG002 - the fixture's
        """No candle: the other side's round, beside each of ours, tells how fast the machine is."""
        return None, 0

    def agree(self, item: pytest.Item, calls: int) -> int:
        """Wait for the other side; both then have the same number of calls in a round.

        Raises:
            OptionError: the test metered something before.
        """
        if item.nodeid in self._arrived:
            raise OptionError("energy(...) is called twice in one test", "give each its own test")
        self._arrived.add(item.nodeid)
        self._channel.send("arrived", id=item.nodeid, calls=calls)
        answer = self._hear()
        if answer["kind"] == "skip":
            pytest.skip(str(answer["reason"]))
        return int(answer["calls"])

    def drive(
        self,
        benchmark: Any,
        recorder: RoundRecorder,
        metered: Callable[[], Any],
        before: Callable[[], None],
        after: Callable[[], None],
        rounds: int,  # noqa: ARG002 - the coordinator says when to stop
    ) -> Any:
        """One round at each turn; returns the last result of `metered`."""
        result = None
        self._channel.send("ready")
        while (turn := self._hear())["kind"] == "round":
            kept = len(recorder.rounds)
            move_to_core(turn["core"])
            before()
            result = metered()
            after()
            self._channel.send("round", valid=len(recorder.rounds) > kept)
        benchmark.disabled = True  # it has nothing to time, but a fixture that is not called is reported
        return benchmark(lambda: result)

    def add(self, benchmark: Benchmark) -> None:
        """Take the finished benchmark of the test under way."""
        self._benchmark = benchmark

    def add_harness(self, energy_j: float) -> None:
        """The coordinator counts what the comparison costs as a whole."""

    # --- after each test and at the end ------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Remember why a test failed."""
        report = yield
        if call.excinfo is not None and (report.failed or report.skipped):
            self._errors.setdefault(item.nodeid, first_line(call.excinfo.value))
        return report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Say how the test ended, and wait until the other side has ended it too."""
        if nodeid not in self._asked:
            return
        error, found = self._errors.get(nodeid), self._benchmark
        self._benchmark = None
        if error is None and found is None:
            error = "it metered nothing: energy(...) was not called"
        self._channel.send(
            "finished", id=nodeid, error=error, benchmark=to_json(found) if found and error is None else None
        )
        self._hear()

    def pytest_sessionfinish(self) -> None:
        """Say what was imported, for the proof that each side ran its own code."""
        # From the dictionary: a module that loads its parts when they are asked for must not do so now.
        files = {name: getattr(item, "__dict__", {}).get("__file__") for name, item in tuple(sys.modules.items())}
        with contextlib.suppress(ChannelClosedError):
            self._channel.send("done", imported={name: file for name, file in files.items() if isinstance(file, str)})
        self._channel.close()
