import itertools
import math
import random
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.errors import MeterError
from energyaware.measure import rounds
from energyaware.measure.candle import Candle
from energyaware.measure.rounds import (
    BUDGET_S,
    MAX_CALLS,
    MAX_ROUNDS,
    MIN_ROUNDS,
    MIN_WINDOW_S,
    RoundRecorder,
    calls_per_window,
    domains_used,
    invalid,
    min_window_s,
    rounds_that_fit,
)
from energyaware.records import Domain


class Clock:
    """Stands for the module `time`; work moves it."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(rounds, "time", clock)
    return clock


class Scripted:
    """Gives scripted readings in the order in which windows close, and logs what happens."""

    def __init__(self, readings, *, domains=("cpu",), nests=False, resolution_s=1e-6, log=None):
        self.name, self.nests = "scripted", nests
        self.domains = {name: Domain("scripted", "estimated", resolution_s) for name in domains}
        self.readings = iter(readings)
        self.open = []
        self.log = log if log is not None else []
        self._keys = itertools.count()

    def start(self):
        if self.open and not self.nests:
            raise MeterError("busy", "wait")
        self.open.append(next(self._keys))
        self.log.append("start")
        return self.open[-1]

    def stop(self, mark):
        self.open.remove(mark)
        self.log.append("stop")
        value = next(self.readings)
        if isinstance(value, Exception):
            raise value
        return value if isinstance(value, dict) else dict.fromkeys(self.domains, value)

    def close(self):
        pass


class Linear:
    """A nesting meter whose counter moves with the work: joules between start and stop."""

    name, nests = "linear", True

    def __init__(self):
        self.domains = {"cpu": Domain("linear", "measured", 1e-6)}
        self.counter_j = 0.0

    def work(self, energy_j):
        self.counter_j += energy_j

    def start(self):
        return self.counter_j

    def stop(self, mark):
        return {"cpu": self.counter_j - mark}

    def close(self):
        pass


def recorder(meter, candle=None, **options):
    options = {"calls": 1, "candle_calls": 1, "rng": random.Random(0)} | options
    return RoundRecorder(meter, candle=candle, **options)


def one_round(target, work=lambda: None):
    target.before()
    with target.timed():
        work()
    target.after()


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resolutions", "window_s"), [([], 0.02), ([1e-6], 0.02), ([0.01], 0.5), ([1e-6, 0.1, 0.001], 5.0)]
)
def test_a_window_is_fifty_resolutions_of_the_coarsest_domain(resolutions, window_s):
    domains = {str(index): Domain("x", "measured", value) for index, value in enumerate(resolutions)}
    assert min_window_s(types.SimpleNamespace(domains=domains)) == pytest.approx(window_s)
    assert MIN_WINDOW_S == 0.02


@given(call_s=st.floats(1e-8, 10.0))
def test_calls_fill_the_window_and_little_more(call_s):
    clock = Clock()

    def call():
        clock.now_s += call_s

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "time", clock)
        calls, measured_s = calls_per_window(call, 0.001)
    assert calls * call_s >= 0.001 * (1 - 1e-9)
    assert calls <= max(1, math.ceil(1.3 * 0.001 / call_s) + 10)
    assert measured_s == pytest.approx(call_s, rel=1e-3)


def test_a_slow_first_call_does_not_shorten_the_window(clock):
    durations = itertools.chain([3.0], itertools.repeat(0.001))

    def call():
        clock.now_s += next(durations)

    calls, call_s = calls_per_window(call, 0.02)
    assert calls * 0.001 >= 0.02
    assert call_s == pytest.approx(0.001)


def test_a_call_that_takes_no_time_ends_at_the_cap(clock, monkeypatch):
    monkeypatch.setattr(rounds, "MAX_CALLS", 1000)
    assert calls_per_window(lambda: None, 0.02) == (1000, 0.0)
    assert MAX_CALLS == 10_000_000


@pytest.mark.parametrize(
    ("round_s", "count"), [(0.0, MAX_ROUNDS), (0.01, MAX_ROUNDS), (0.5, 10), (10.0, MIN_ROUNDS), (1e9, MIN_ROUNDS)]
)
def test_rounds_fit_the_budget_within_bounds(round_s, count):
    assert rounds_that_fit(round_s) == count
    assert BUDGET_S == 5.0


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        ({"cpu": 1.0, "dram": 2.0}, None),
        ({"cpu": 1.0, "dram": 2.0, "gpu": -1.0}, None),
        ({"cpu": 0.0, "dram": 2.0}, "cpu: zero"),
        ({"cpu": -0.0, "dram": 2.0}, "cpu: zero"),
        ({"cpu": -1e-9, "dram": 2.0}, "cpu: negative"),
        ({"cpu": 1.0, "dram": math.nan}, "dram: not finite"),
        ({"cpu": math.inf, "dram": 2.0}, "cpu: not finite"),
        ({"cpu": 1.0}, "dram: absent"),
        ({}, "cpu: absent"),
    ],
)
def test_why_a_reading_may_not_be_stored(reading, reason):
    assert invalid(reading, {"cpu": None, "dram": None}) == reason


# --- one round -------------------------------------------------------------------------------------------------------


def test_a_round_without_a_candle(clock):
    def work():
        clock.now_s += 2.0

    target = recorder(Scripted([6.0]), calls=3)
    one_round(target, work)
    (entry,) = target.rounds
    assert (entry.calls, entry.duration_s, entry.candle, entry.windows) == (3, 2.0, None, {})
    assert entry.reading.energy_j == {"cpu": 6.0}
    assert entry.reading.duration_s == 2.0
    assert target.discarded == {}


@pytest.mark.parametrize("candle_first", [True, False])
def test_a_round_is_a_pair_in_random_order(clock, candle_first):
    log = []
    meter = Scripted([10.0, 30.0] if candle_first else [30.0, 10.0], log=log)

    def candle():
        log.append("candle")
        clock.now_s += 0.25

    def work():
        log.append("work")
        clock.now_s += 1.0

    target = recorder(
        meter, Candle("c", 1, candle), candle_calls=4, rng=random.Random(next(
            seed for seed in range(99) if (random.Random(seed).random() < 0.5) is candle_first
        )),
        before_round=lambda: log.append("layout"), warm=lambda: log.append("warm"),
    )  # fmt: skip
    one_round(target, work)
    candle_log = ["start", *["candle"] * 4, "stop"]
    work_log = ["start", "work", "stop"]
    assert log == ["layout", "warm", *(candle_log + work_log if candle_first else work_log + candle_log)]
    (entry,) = target.rounds
    assert entry.candle_first is candle_first
    assert entry.reading.energy_j == {"cpu": 30.0}
    # Per unit of the candle.
    assert entry.candle.energy_j == {"cpu": 2.5}
    assert entry.candle.duration_s == 0.25


def test_both_orders_are_drawn_about_equally_often(clock):
    def work():
        clock.now_s += 1.0

    target = recorder(Scripted(itertools.repeat(1.0)), Candle("c", 1, work))
    for _ in range(400):
        one_round(target, work)
    first = sum(entry.candle_first for entry in target.rounds)
    assert 150 < first < 250


def test_without_a_new_layout_nothing_is_warmed(clock):
    def work():
        clock.now_s += 1.0

    target = recorder(Scripted([1.0]), warm=lambda: pytest.fail("no layout was drawn"))
    one_round(target, work)
    assert len(target.rounds) == 1


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([0.0, 1.0], "cpu: zero"),
        ([-1.0, 1.0], "cpu: negative"),
        ([math.nan, 1.0], "cpu: not finite"),
        ([{}, 1.0], "cpu: absent"),
        ([1.0, 0.0], "candle cpu: zero"),
        ([1.0, math.inf], "candle cpu: not finite"),
        ([1.0, {"dram": 1.0}], "candle cpu: absent"),
        ([0.0, 0.0], "cpu: zero"),
    ],
)
def test_an_invalid_reading_is_counted_and_not_stored(clock, readings, reason):
    def work():
        clock.now_s += 1.0

    workload_first = next(seed for seed in range(99) if random.Random(seed).random() >= 0.5)
    target = recorder(Scripted([*readings]), Candle("c", 1, work), rng=random.Random(workload_first))
    one_round(target, work)
    assert target.rounds == []
    assert target.discarded == {reason: 1}


def test_a_domain_that_the_meter_never_declared_is_not_stored(clock):
    def work():
        clock.now_s += 1.0

    target = recorder(Scripted([{"cpu": 2.0, "gpu": -1.0}] * 2), Candle("c", 1, work))
    one_round(target, work)
    (entry,) = target.rounds
    assert entry.reading.energy_j == entry.candle.energy_j == {"cpu": 2.0}


number = st.one_of(st.floats(1e-9, 1e9), st.sampled_from([0.0, -0.0, -1.0, math.nan, math.inf, -math.inf]), st.floats())
scripted_reading = st.dictionaries(st.sampled_from(["cpu", "dram", "gpu0"]), number)


@given(st.lists(scripted_reading, min_size=8, max_size=40), st.integers(0, 99), st.booleans())
def test_no_stored_number_is_ever_zero_negative_or_not_finite(readings, seed, nests):
    clock = Clock()

    def work():
        clock.now_s += 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "time", clock)
        meter = Scripted(itertools.cycle(readings), domains=("cpu", "dram"), nests=nests)
        target = recorder(meter, Candle("c", 1, work), candle_calls=3, rng=random.Random(seed))
        for _ in range(6):
            target.before()
            with target.timed():
                work()
                if nests:
                    for _ in range(2):
                        with target.window("part"):
                            work()
            target.after()
    assert len(target.rounds) + sum(
        count for reason, count in target.discarded.items() if not reason.startswith("window")
    ) == 6  # fmt: skip
    for entry in target.rounds:
        for reading in (entry.reading, entry.candle, *entry.windows.values()):
            assert set(reading.energy_j) == {"cpu", "dram"}
            assert all(math.isfinite(value) and value > 0 for value in reading.energy_j.values())
            assert reading.duration_s > 0
    assert meter.open == []


# --- named windows ---------------------------------------------------------------------------------------------------


def test_windows_nest_and_those_of_one_name_add_up(clock):
    meter = Linear()

    def work(energy_j):
        meter.work(energy_j)
        clock.now_s += energy_j

    target = recorder(meter)
    target.before()
    with target.timed():
        with target.window("prefill"):
            work(1.0)
        for _ in range(3):
            with target.window("decode"):
                work(2.0)
                with target.window("attention"):
                    work(0.5)
    target.after()
    (entry,) = target.rounds
    assert {name: reading.energy_j["cpu"] for name, reading in entry.windows.items()} == {
        "prefill": 1.0, "decode": 7.5, "attention": 1.5,
    }  # fmt: skip
    assert {name: reading.duration_s for name, reading in entry.windows.items()} == {
        "prefill": 1.0, "decode": 7.5, "attention": 1.5,
    }  # fmt: skip
    assert entry.reading.energy_j["cpu"] == 8.5


def test_windows_do_not_leak_into_the_next_round(clock):
    meter = Linear()

    def work():
        meter.work(1.0)
        clock.now_s += 1.0

    target = recorder(meter)
    target.before()
    with target.timed(), target.window("prefill"):
        work()
    target.after()
    one_round(target, work)
    assert [set(entry.windows) for entry in target.rounds] == [{"prefill"}, set()]


def test_outside_of_a_metered_window_nothing_happens(clock):
    meter = Scripted(itertools.repeat(1.0))

    def work():
        clock.now_s += 1.0
        with target.window("prefill"):
            pass

    target = recorder(meter, before_round=lambda: None, warm=work)
    work()
    assert meter.log == []
    one_round(target, lambda: setattr(clock, "now_s", clock.now_s + 1.0))
    work()
    assert target.rounds[0].windows == {}


def test_a_meter_that_cannot_nest_refuses_windows(clock):
    target = recorder(Scripted([1.0]))
    target.before()
    with pytest.raises(MeterError, match="busy"), target.timed(), target.window("prefill"):
        pytest.fail("the window cannot be metered")
    target.abort()


@pytest.mark.parametrize(
    ("parts", "said"),
    [([0.0, 0.0], "zero"), ([2.0, math.nan], "not finite"), ([2.0, {}], "not finite"), ([5.0, -1.0], "not finite")],
)
def test_an_invalid_window_is_counted_and_its_round_kept(clock, parts, said):
    # Windows close before the round, whose span closes last.
    meter = Scripted([*parts, 9.0, 10.0], nests=True)
    target = recorder(meter)
    target.before()
    with target.timed():
        for _ in parts:
            with target.window("decode"):
                clock.now_s += 1.0
    target.after()
    assert target.rounds[0].windows == {}
    assert target.discarded == {f"window decode, cpu: {said}": 1}


def test_a_part_too_short_for_the_meter_does_not_spoil_the_sum(clock):
    meter = Scripted([0.0, 2.0, 9.0, 10.0], nests=True)
    target = recorder(meter)
    target.before()
    with target.timed():
        for _ in range(2):
            with target.window("decode"):
                clock.now_s += 1.0
    target.after()
    assert target.rounds[0].windows["decode"].energy_j == {"cpu": 2.0}


# --- what goes wrong, and what it costs ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_abort_frees_a_meter_that_cannot_nest(clock, error):
    meter = Scripted(itertools.repeat(1.0))
    target = recorder(meter)
    target.before()
    with pytest.raises(error), target.timed():
        raise error
    target.abort()
    assert meter.open == []
    target.after()
    target.abort()
    assert target.rounds == []
    assert meter.open == []

    def work():
        clock.now_s += 1.0

    one_round(recorder(meter), work)


def test_a_failing_candle_frees_the_meter_too(clock):
    def candle():
        raise ValueError("out of memory")

    meter = Scripted(itertools.repeat(1.0))
    for _ in range(6):  # both orders come up
        target = recorder(meter, Candle("c", 1, candle))
        with pytest.raises(ValueError, match="out of memory"):
            one_round(target, lambda: setattr(clock, "now_s", clock.now_s + 1.0))
        target.abort()
        assert meter.open == []


def test_a_meter_that_dies_while_aborting_does_not_hide_the_cause(clock):
    target = recorder(Scripted([MeterError("device lost", "see")]))
    target.before()
    target.abort()
    assert target.rounds == []


def test_a_meter_that_cannot_start_is_not_stopped(clock):
    meter = Scripted(itertools.repeat(1.0))
    busy = meter.start()
    target = recorder(meter)
    with pytest.raises(MeterError, match="busy"):
        target.before()
    target.abort()
    assert meter.open == [busy]


def test_the_harness_is_what_a_round_costs_beside_its_workload(clock):
    meter = Linear()

    def spend(energy_j):
        meter.work(energy_j)
        clock.now_s += 1.0

    target = recorder(
        meter, Candle("c", 1, lambda: spend(3.0)), candle_calls=2, before_round=lambda: spend(0.5),
        warm=lambda: spend(10.0),
    )  # fmt: skip
    for _ in range(4):
        one_round(target, lambda: spend(10.0))
    assert target.harness_j == pytest.approx(4 * (2 * 3.0 + 0.5 + 10.0))


def test_a_meter_that_cannot_nest_tells_nothing_of_the_harness(clock):
    target = recorder(Scripted(itertools.repeat(1.0)))
    one_round(target, lambda: setattr(clock, "now_s", clock.now_s + 1.0))
    assert target.harness_j == 0.0


# --- which joules are the workload's ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "used"),
    [
        (None, {"cpu", "dram", "gpu", "gpu0", "gpu1", "gpu10"}),
        ((), {"cpu", "dram", "gpu"}),
        ((1,), {"cpu", "dram", "gpu", "gpu1"}),
        ((0, 10), {"cpu", "dram", "gpu", "gpu0", "gpu10"}),
    ],
)
def test_only_the_gpus_in_use_count(gpus, used):
    domains = {name: Domain("x", "measured", 1e-6) for name in ("cpu", "dram", "gpu", "gpu0", "gpu1", "gpu10")}
    assert set(domains_used(domains, gpus)) == used


def test_a_gpu_in_use_that_is_not_read_is_an_error_unless_no_gpu_is():
    cpu, gpu = Domain("x", "estimated", 1e-6), Domain("x", "measured", 1e-6)
    assert set(domains_used({"cpu": cpu}, (0, 1))) == {"cpu"}
    with pytest.raises(MeterError, match="runs on gpu0, gpu1, and the energy of gpu1 is not read"):
        domains_used({"cpu": cpu, "gpu0": gpu}, (0, 1))


def test_a_gpu_that_idles_beside_the_workload_spoils_no_round_and_adds_nothing():
    reading = {"cpu": 1.0, "gpu0": 5.0, "gpu1": 0.0}
    meter = Scripted(itertools.repeat(reading), domains=reading)
    used = domains_used(meter.domains, (0,))
    target = recorder(meter, Candle("c", 1, lambda: None), domains=used, idle_w={"gpu0": 1.0, "gpu1": 50.0})
    one_round(target)
    assert target.discarded == {}
    (found,) = target.rounds
    assert found.reading.energy_j == found.candle.energy_j == {"cpu": 1.0, "gpu0": 5.0}
    assert target.idle_w == {"gpu0": 1.0}
