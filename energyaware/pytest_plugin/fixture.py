"""The `energy` fixture: `benchmark` of pytest-benchmark, with a meter around every round."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from energyaware.config import EnergyConfig
from energyaware.errors import OptionError
from energyaware.progress import Progress, silent
from energyaware.pytest_plugin import CONFIG
from energyaware.pytest_plugin.unmeasured import Call, Unmeasured

ENERGY_SESSION = "energyaware-session"


class EnergyFixture:
    """Meters one callable and records what is known about it.

    Made for one test by `energy`; the callable may be given once.
    """

    measuring = True

    def __init__(self, session: Any, item: pytest.Item, benchmark: Any) -> None:
        from energyaware.pytest_plugin.facts import Facts

        self._session = session
        self._item = item
        self._benchmark = benchmark
        self._facts = Facts()
        self._recorder: Any = None
        self._settings = session.settings_of(item)
        self._candle_id = ""
        self._layout = ""
        self._peak: int | None = None

    def __call__(self, function: Call, *args: Any, **kwargs: Any) -> Any:
        """Meter `function(*args, **kwargs)` and return the result of its last call."""
        return self.pedantic(function, args, kwargs)

    def pedantic(
        self,
        target: Call,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        setup: Call | None = None,
        teardown: Call | None = None,
        rounds: int | None = None,
        warmup_rounds: int = 0,
        before_round: Callable[[], object] | None = None,
        layout: str = "",
        candle: str | None = None,
    ) -> Any:
        """Meter `target` with more say over its rounds.

        Args:
            setup: called before each round, unmetered; may return `(args, kwargs)`. A round is then one call, however
                short, since the next call would need a fresh setup.
            teardown: called after each round with the arguments, unmetered.
            rounds: metered rounds; else the marker's, `--energy-rounds`, or as many as fit five seconds.
            warmup_rounds: unmetered calls before anything else.
            before_round: called before each round, followed by one unmetered call: lays weights out anew in memory.
                Without it the heap is shifted, unless `setup` hands out what a further call would use up.
            layout: what `before_round` achieves, for the record (`redrawn every round`).
            candle: `interpreter`, `matmul` or `small-ops`: the reference work that resembles `target`; the marker wins.

        Returns:
            The result of the last metered call.

        Raises:
            OptionError: an unknown candle.
            MeterError: the meter stopped answering, or reads only some of the GPUs that `record(gpus=…)` names.
        """
        from energyaware.measure.layout import HeapShift
        from energyaware.measure.memory import peak_bytes, reset_peak
        from energyaware.measure.rounds import RoundRecorder, calls_per_window, domains_used, rounds_that_fit

        session, benchmark = self._session, self._benchmark
        domains = domains_used(session.meter.domains, self._facts.gpus)
        name = self._settings.candle or candle or "interpreter"
        reference, candle_calls = session.candle(name)
        self._candle_id = reference.id if reference is not None else ""
        rng = random.Random(f"{session.seed}/{self._item.nodeid}/{name}")  # noqa: S311 - an order of rounds, no secret
        self._layout = layout or ("by the caller" if before_round else "not redrawn" if setup else "heap shifted")
        if before_round is None and setup is None:
            before_round = HeapShift(rng)
        arguments: tuple[Sequence[Any], Mapping[str, Any]] = (args, kwargs or {})

        def prepare() -> None:
            nonlocal arguments
            prepared = setup() if setup is not None else None
            if prepared:
                arguments = prepared

        def finish() -> None:
            if teardown is not None:
                teardown(*arguments[0], **arguments[1])

        def call() -> Any:
            return target(*arguments[0], **arguments[1])

        try:
            for _ in range(max(warmup_rounds, 1 if setup is not None else 0)):
                prepare()
                call()
                finish()
            calls, call_s = 1, 0.0
            if setup is None:
                calls, call_s = calls_per_window(call, session.window_s)
                calls = session.agree(self._item, calls)
            else:
                session.agree(self._item, 1)
            wanted = rounds or self._settings.rounds or session.settings.rounds
            # A round is the window, the candle's window, and a warm-up call where the layout is redrawn.
            planned = wanted or rounds_that_fit(calls * call_s + session.window_s + (call_s if before_round else 0.0))
            recorder = self._recorder = RoundRecorder(
                session.meter,
                candle=reference,
                calls=calls,
                candle_calls=candle_calls,
                rng=rng,
                before_round=before_round,
                warm=call,
                idle_w=session.idle_w if session.settings.net else None,
                observer=session.observer,
                domains=domains,
            )
            started = 0
            tracks_peak = reset_peak()

            def before() -> None:
                nonlocal started
                prepare()
                started += 1
                if started <= planned:  # pytest-benchmark calls once more when it profiles
                    recorder.before()

            def metered() -> Any:
                result = None
                with recorder.timed():
                    for _ in range(calls):
                        result = target(*arguments[0], **arguments[1])
                return result

            def after() -> None:
                recorder.after()
                finish()

            result = session.drive(benchmark, recorder, metered, before, after, planned)
            self._peak = peak_bytes() if tracks_peak else None
        except BaseException:
            # pytest-benchmark marks errors, but neither Ctrl-C nor a skip: half a benchmark would be saved as whole.
            benchmark.has_error = True
            if self._recorder is not None:
                self._recorder.abort()
                self._recorder = None
            raise
        return result

    def record(self, **facts: Any) -> None:
        """Say what is known about the row; see `energyaware.pytest_plugin.facts.Facts` for the names.

        Raises:
            OptionError: an unknown name, or a value that cannot be; GPUs that are named after the rounds.
        """
        if "gpus" in facts and self._recorder is not None:
            raise OptionError(
                "energy.record(gpus=…) came after the rounds, whose joules are chosen by it", "say it before the call"
            )
        self._facts = self._facts.updated(facts)

    @contextlib.contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Meter a part of each round under `name`; windows of one name add up, and may nest.

        Raises:
            MeterError: the meter reads one window at a time.
        """
        if self._recorder is None:
            yield
            return
        with self._recorder.window(name):
            yield

    def finish(self) -> None:
        """Hand the finished benchmark to the session; one that failed inside its rounds has nothing to hand over."""
        from energyaware.pytest_plugin.facts import properties

        if self._recorder is None:
            return
        self._session.add_harness(self._recorder.harness_j)
        source = source_fingerprint(self._item)
        fingerprints = {**self._facts.fingerprints, **({"benchmark source": source} if source else {})}
        benchmark = self._facts.benchmark(
            item=self._item,
            group=self._settings.group,
            recorder=self._recorder,
            candle=self._candle_id,
            layout=self._layout,
            peak_memory_bytes=self._peak,
            fingerprints=fingerprints,
        )
        self._item.user_properties += properties(benchmark)  # --junitxml writes them beside the test
        self._session.add(benchmark)


def source_fingerprint(item: pytest.Item) -> str | None:
    """SHA-256 of the test function's own source; None where it cannot be had."""
    function = getattr(item, "function", None)
    try:
        source = inspect.getsource(function) if function is not None else None
    except (OSError, TypeError):
        return None
    return hashlib.sha256(source.encode()).hexdigest() if source else None


@pytest.fixture
def energy(request: pytest.FixtureRequest, benchmark: Any) -> Iterator[EnergyFixture | Unmeasured]:
    """Meter a callable: `energy(function, *args, **kwargs)`; without `--energy` it runs once, unmeasured."""
    session = request.config.pluginmanager.getplugin(ENERGY_SESSION)
    if session is None:
        yield Unmeasured(benchmark)
        return
    fixture = EnergyFixture(session, request.node, benchmark)
    yield fixture
    fixture.finish()


@pytest.fixture(scope="session")
def energy_cut(request: pytest.FixtureRequest) -> Callable[[str, str], str]:
    """A function (group, id of an unpruned variant) → why what is made of it is skipped; empty where it is not.

    Without `--energy-top` nothing is. The choice is made from what was measured when a group is first asked about.
    """
    pipeline = request.config.pluginmanager.getplugin("energyaware-pipeline")
    return pipeline.reason if pipeline is not None else lambda group, name: ""  # noqa: ARG005


@pytest.fixture(scope="session")
def energy_config(request: pytest.FixtureRequest) -> EnergyConfig:
    """The frozen options of this run."""
    return request.config.stash[CONFIG]


@pytest.fixture(scope="session")
def energy_progress(request: pytest.FixtureRequest) -> Iterator[Progress]:
    """A `Progress` for long preparations, visible although output is captured."""
    if request.config.getoption("verbose") < 0:
        yield silent
        return
    from energyaware.pytest_plugin.progress import TerminalProgress

    progress = TerminalProgress(request.config)
    yield progress
    progress.close()
