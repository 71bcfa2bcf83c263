import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.baselines.gate import failing, judge
from energyaware.baselines.values import raw_value, session_value
from energyaware.config import parse_limits
from energyaware.records import Domain, Reading, Round, Work


def limits(*texts):
    return lambda fullname: parse_limits(texts)


def only(judgements):
    (item,) = judgements
    return item


@pytest.fixture(scope="session")
def session(bench, run_of, rounds_of):
    """One session of a suite: every benchmark's level is drawn once, its rounds around it."""

    def make(rng, names, spread, increase=0.0, candle="matmul/1", machine_speed=0.1):
        items = []
        for name in names:
            speed = rng.normal(0, machine_speed)
            level = speed + rng.normal(0, spread) + increase
            noise = 0.005 * rng.normal(size=(2, 4))
            energies, candles = np.exp(level + noise[0]), np.exp(speed + noise[1])
            rounds = rounds_of(energies.tolist(), candles.tolist())
            items.append(dataclasses.replace(bench(name, rounds=1), candle=candle, rounds=rounds))
        return run_of(*items)

    return make


# --- the promise, simulated ------------------------------------------------------------------------------------------


def test_identical_code_fails_at_most_one_suite_in_a_hundred(session):
    rng = np.random.default_rng(4)
    suites, names = 400, ["a", "b", "c", "d"]
    alarms = sum(
        bool(failing(judge(session(rng, names, 0.03), session(rng, names, 0.03), limits("energy:5%")), strict=False))
        for _ in range(suites)
    )
    # What a true rate of 1 % exceeds once in a thousand.
    assert alarms <= scipy.stats.binom.ppf(0.999, suites, 0.01)


@pytest.mark.parametrize(("candle", "spread"), [("matmul/1", 0.03), ("interpreter/1", 0.04), ("small-ops/1", 0.08)])
def test_what_a_verdict_says_it_catches_is_caught(session, candle, spread):
    rng = np.random.default_rng(5)
    pairs = 150

    def verdict(increase):
        now = session(rng, ["a"], spread, increase, candle)
        return only(judge(now, session(rng, ["a"], spread, 0.0, candle), limits("energy:5%")))

    decidable = math.log1p(verdict(0.0).decidable)
    caught = sum(verdict(decidable).verdict == "regressed" for _ in range(pairs))
    assert caught >= scipy.stats.binom.ppf(0.001, pairs, 0.99)


def test_five_sessions_of_history_narrow_the_interval_without_false_alarms(session):
    rng = np.random.default_rng(6)
    repetitions, alarms, narrower = 200, 0, 0
    for _ in range(repetitions):
        past = [session(rng, ["a"], 0.01) for _ in range(6)]
        now = session(rng, ["a"], 0.01)
        item = only(judge(now, past[-1], limits("energy:5%"), past))
        alone = only(judge(now, past[-1], limits("energy:5%")))
        alarms += item.verdict == "regressed"
        narrower += item.high - item.low < alone.high - alone.low
    assert alarms <= scipy.stats.binom.ppf(0.999, repetitions, 0.01)
    assert narrower > 0.9 * repetitions


# --- noisy verdicts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "limit", "verdict"),
    [
        (1.5, "energy:5%", "regressed"),
        (0.6, "energy:5%", "improved"),
        (1.0, "energy:30%", "pass"),
        (1.0, "energy:5%", "inconclusive"),
        (1.2, "energy:30%", "inconclusive"),
        (1.5, "energy:0.2J", "regressed"),
        (1.0, "energy:300mJ", "pass"),
        (1.0, "latency:30%", "pass"),
    ],
)
def test_each_noisy_verdict(bench, run_of, factor, limit, verdict):
    item = only(judge(run_of(bench(energy_j=factor)), run_of(bench()), limits(limit)))
    assert item.verdict == verdict
    if limit.startswith("energy"):
        assert item.effect == pytest.approx(factor - 1)
        assert item.baseline == pytest.approx(1.0, rel=1e-3)
        assert item.candidate == pytest.approx(factor, rel=1e-3)
    assert item.low < item.effect < item.high
    assert bool(item.reason) == (verdict == "inconclusive")


def test_inconclusive_says_how_many_sessions_would_decide(bench, run_of):
    item = only(judge(run_of(bench()), run_of(bench()), limits("energy:5%")))
    # Two normal quantiles of 1 %, two sessions of 3 %: (4.65 * 0.0424 / log 1.05)² = 16.4.
    assert "about 17 sessions a side" in item.reason
    assert item.decidable == pytest.approx(math.expm1(4.6527 * math.sqrt(2) * 0.03), rel=0.03)


def test_the_candle_takes_a_slow_machine_out(bench, run_of, rounds_of):
    slow = dataclasses.replace(bench(), rounds=rounds_of([1.98, 2.02] * 4, [1.0] * 8))
    item = only(judge(run_of(slow), run_of(bench()), limits("energy:5%")))
    assert item.effect == pytest.approx(0.0, abs=1e-3)
    # People read raw joules.
    assert item.candidate == pytest.approx(2.0, rel=1e-3)


def test_energy_and_latency_are_judged_per_request(bench, run_of):
    twice = bench(energy_j=2.0, work=Work(requests=2))
    item = only(judge(run_of(twice), run_of(bench(work=Work(requests=1))), limits("energy:5%")))
    assert item.effect == pytest.approx(0.0, abs=1e-9)
    assert item.candidate == pytest.approx(item.baseline)


def test_readings_without_noise_leave_nothing_to_chance(bench, run_of, rounds_of):
    def constant(energy_j):
        return run_of(dataclasses.replace(bench(), rounds=rounds_of([energy_j] * 5, [0.5] * 5)))

    past = [constant(1.0) for _ in range(5)]
    for factor, verdict in ((1.051, "regressed"), (1.04, "pass"), (1.0, "pass"), (0.99, "improved")):
        assert only(judge(constant(factor), past[-1], limits("energy:5%"), past)).verdict == verdict


def test_one_round_is_enough_to_judge(bench, run_of):
    item = only(judge(run_of(bench(energy_j=2.0, rounds=1)), run_of(bench(rounds=1)), limits("energy:5%")))
    assert item.verdict == "regressed"


def test_memory_is_judged_without_rounds(bench, run_of):
    before, now = bench(peak_memory_bytes=10**9), bench(peak_memory_bytes=2 * 10**9)
    item = only(judge(run_of(now), run_of(before), limits("memory:10%")))
    assert (item.verdict, item.baseline, item.candidate) == ("regressed", 1e9, 2e9)
    item = only(judge(run_of(bench()), run_of(before), limits("memory:10%")))
    assert item.verdict == "incomparable"
    assert "this run" in item.reason


def test_no_valid_reading_is_incomparable_and_names_the_side(bench, run_of):
    empty, full = run_of(bench(rounds=0)), run_of(bench())
    assert "this run" in only(judge(empty, full, limits("energy:5%"))).reason
    assert "the baseline" in only(judge(full, empty, limits("energy:5%"))).reason
    assert "the baseline and this run" in only(judge(empty, empty, limits("energy:5%"))).reason


def test_more_benchmarks_make_the_gate_more_careful(bench, run_of):
    def low(count):
        names = [f"test_{index}" for index in range(count)]
        before, now = run_of(*map(bench, names)), run_of(*(bench(name) for name in names))
        return judge(now, before, limits("energy:5%"))[0].low

    assert low(20) < low(1)


def test_a_noisy_history_widens_the_interval_and_a_foreign_one_is_ignored(bench, run_of):
    rng = np.random.default_rng(7)
    past = [run_of(bench(energy_j=math.exp(rng.normal(0, 0.2)))) for _ in range(8)]
    now, before = run_of(bench(energy_j=1.2)), run_of(bench())

    def width(history):
        item = only(judge(now, before, limits("energy:5%"), history))
        return item.high - item.low

    assert width(past) > 2 * width(())
    assert width(past[:4]) == width(())
    others = [dataclasses.replace(run, machine={"cpu": "Another"}) for run in past]
    others += [run_of(dataclasses.replace(run.benchmarks[0], candle="matmul/0")) for run in past]
    others += [run_of(dataclasses.replace(run.benchmarks[0], traits={"device": "cuda"})) for run in past]
    others += [run_of(dataclasses.replace(run.benchmarks[0], fingerprints={"weights": "x"})) for run in past]
    others += [run_of(dataclasses.replace(run.benchmarks[0], outcome="failed")) for run in past]
    others += [run_of(dataclasses.replace(run.benchmarks[0], fullname="t.py::else")) for run in past]
    assert width(others) == width(())


def test_a_history_finds_the_slope_of_the_candle(bench, run_of, rounds_of):
    rng = np.random.default_rng(8)

    def session(speed):
        energy = math.exp(0.5 * speed + rng.normal(0, 0.001))
        ripple = [0.999, 1.001] * 3
        rounds = rounds_of([energy * r for r in ripple], [math.exp(speed)] * 6)
        return run_of(dataclasses.replace(bench(), rounds=rounds))

    past = [session(rng.normal(0, 0.1)) for _ in range(12)]
    now = session(0.3)
    item = only(judge(now, past[-1], limits("energy:5%"), past))
    assert item.effect == pytest.approx(0.0, abs=0.01)
    assert item.verdict == "pass"
    # Dividing by the candle would have made +16 % of the machine's speed into -14 %.
    assert abs(only(judge(now, past[-1], limits("energy:5%"))).effect) > 0.1


# --- exact metrics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "limit", "verdict"),
    [
        (1000, 1000, "flops:0%", "pass"),
        (1000, 1001, "flops:0%", "regressed"),
        (10**15, 10**15 + 1, "flops:0%", "regressed"),
        (1000, 999, "flops:0%", "improved"),
        (1000, 1049, "flops:5%", "pass"),
        (1000, 1050, "flops:5%", "regressed"),
        (700, 749, "flops:7%", "regressed"),
        (1000, 1051, "flops:5%", "regressed"),
    ],
)
def test_flops_are_compared_exactly(bench, run_of, before, now, limit, verdict):
    item = only(judge(run_of(bench(work=Work(flops=now))), run_of(bench(work=Work(flops=before))), limits(limit)))
    assert item.verdict == verdict
    assert item.effect == pytest.approx(now / before - 1)
    assert item.low is item.high is item.decidable is None


@pytest.mark.parametrize(("now", "verdict"), [(10_999_999, "pass"), (11_000_000, "regressed")])
def test_bytes_have_an_absolute_limit(bench, run_of, now, verdict):
    before = run_of(bench(work=Work(weight_bytes=10_000_000)))
    assert only(judge(run_of(bench(work=Work(weight_bytes=now))), before, limits("bytes:1MB"))).verdict == verdict


@pytest.mark.parametrize(("before", "now"), [(None, 5), (5, None), (None, None), (0, 5)])
def test_work_that_nobody_counted_is_incomparable(bench, run_of, before, now):
    item = only(judge(run_of(bench(work=Work(flops=now))), run_of(bench(work=Work(flops=before))), limits("flops:0%")))
    assert item.verdict == "incomparable"
    assert f"{'–' if before is None else before} in the baseline" in item.reason
    assert f"{'–' if now is None else now} now" in item.reason


# --- quality ---------------------------------------------------------------------------------------------------------


def scored(bench, hits, count=100, ids=None, **changes):
    scores = tuple(float(index < hits) for index in range(count))
    ids = tuple(map(str, range(count))) if ids is None else ids
    return bench(quality={"accuracy": hits / count}, scores={"accuracy": scores}, example_ids=ids, **changes)


@pytest.mark.parametrize("hits", range(3, 101))
def test_a_drop_of_exactly_the_limit_is_caught_despite_floating_point(bench, run_of, hits):
    before, now = run_of(scored(bench, hits)), run_of(scored(bench, hits - 3))
    assert only(judge(now, before, limits("accuracy:3pp"))).verdict == "regressed"
    assert only(judge(now, before, limits("accuracy:3.01pp"))).verdict == "pass"
    assert only(judge(now, before, limits("accuracy:2pp"))).verdict == "regressed"


def test_the_drop_is_paired_by_example(bench, run_of):
    before, now = scored(bench, 90), scored(bench, 85)
    item = only(judge(run_of(now), run_of(before), limits("accuracy:10pp")))
    assert item.verdict == "pass"
    assert item.effect == pytest.approx(0.05)
    # Five of a hundred differ by 1: standard deviation 0.2190 over the root of 100.
    half = 1.95996 * math.sqrt(0.05 * 0.95 * 100 / 99) / 10
    assert (item.low, item.high) == (pytest.approx(0.05 - half, rel=1e-4), pytest.approx(0.05 + half, rel=1e-4))


def test_a_small_test_set_says_how_many_examples_it_needs(bench, run_of):
    item = only(judge(run_of(scored(bench, 85)), run_of(scored(bench, 90)), limits("accuracy:1pp")))
    assert item.verdict == "regressed"
    assert "100 examples" in item.reason
    assert "accuracy:1pp needs about" in item.reason


def test_equal_and_better_quality(bench, run_of):
    same = only(judge(run_of(scored(bench, 90)), run_of(scored(bench, 90)), limits("accuracy:0pp")))
    assert (same.verdict, same.effect) == ("pass", 0.0)
    worse = only(judge(run_of(scored(bench, 89)), run_of(scored(bench, 90)), limits("accuracy:0pp")))
    assert worse.verdict == "regressed"
    better = only(judge(run_of(scored(bench, 95)), run_of(scored(bench, 80)), limits("accuracy:3pp")))
    assert better.verdict == "improved"


def test_other_examples_are_incomparable(bench, run_of):
    other = scored(bench, 90, ids=tuple(map(str, range(1, 101))))
    fewer = scored(bench, 45, count=50)
    uncounted = scored(bench, 45, count=50, ids=())
    for now in (other, fewer):
        item = only(judge(run_of(now), run_of(scored(bench, 90)), limits("accuracy:3pp")))
        assert (item.verdict, "other examples" in item.reason) == ("incomparable", True)
    item = only(judge(run_of(uncounted), run_of(scored(bench, 90, ids=())), limits("accuracy:3pp")))
    assert item.verdict == "incomparable"


def test_scores_that_were_cut_off_are_incomparable_and_no_crash(bench, run_of):
    whole = scored(bench, 90)
    cut = dataclasses.replace(whole, scores={"accuracy": whole.scores["accuracy"][:7]})
    assert only(judge(run_of(whole), run_of(cut), limits("accuracy:3pp"))).verdict == "incomparable"


def test_quality_without_scores_is_gated_without_an_interval(bench, run_of):
    before, now = bench(quality={"macro_f1": 0.91}), bench(quality={"macro_f1": 0.88})
    item = only(judge(run_of(now), run_of(before), limits("macro-f1:3pp")))
    assert (item.verdict, item.low, item.high) == ("regressed", None, None)


def test_a_suite_wide_limit_on_a_quality_says_nothing_of_a_benchmark_without_one(bench, run_of):
    assert judge(run_of(bench()), run_of(bench()), limits("accuracy:3pp")) == ()


@pytest.mark.parametrize("sides", [(True, False), (False, True)])
def test_absent_quality_is_incomparable(bench, run_of, sides):
    before, now = (bench(quality={"accuracy": 0.9} if known else {}) for known in sides)
    item = only(judge(run_of(now), run_of(before), limits("accuracy:3pp")))
    assert item.verdict == "incomparable"
    assert "–" in item.reason


# --- which benchmarks ------------------------------------------------------------------------------------------------


def test_other_conditions_are_incomparable_with_both_values(bench, run_of):
    now = bench(domains={"cpu": Domain("zeus", "measured", 1e-3)})
    item = only(judge(run_of(now), run_of(bench()), limits("energy:5%")))
    assert item.verdict == "incomparable"
    assert item.reason == "meter: cpu: cpu-time in the baseline, cpu: zeus now"
    elsewhere = {"cpu": "B", "cores": "2"}
    other = only(judge(run_of(bench(), machine=elsewhere), run_of(bench()), limits("energy:5%")))
    assert (other.verdict, other.reason) == ("incomparable", "machine cpu: Test CPU in the baseline, B now")


def test_counts_are_judged_on_any_machine_and_of_the_same_thing_only(bench, run_of):
    elsewhere = {"cpu": "B", "cores": "2"}
    counted = bench(work=Work(flops=100))
    more = bench(work=Work(flops=101))
    assert only(judge(run_of(counted, machine=elsewhere), run_of(counted), limits("flops:0%"))).verdict == "pass"
    assert only(judge(run_of(more, machine=elsewhere), run_of(counted), limits("flops:0%"))).verdict == "regressed"
    other = bench(work=Work(flops=100), fingerprints={"weights": "b"})
    assert only(judge(run_of(other), run_of(counted), limits("flops:0%"))).verdict == "incomparable"


def test_missing_both_ways(bench, run_of):
    now, before = run_of(bench("new"), bench("kept")), run_of(bench("kept"), bench("gone"))
    verdicts = {item.fullname: item for item in judge(now, before, limits("energy:30%"))}
    assert [*verdicts] == ["t.py::new", "t.py::kept", "t.py::gone"]
    assert [item.verdict for item in verdicts.values()] == ["missing", "pass", "missing"]
    assert "the baseline has no such benchmark" in verdicts["t.py::new"].reason
    assert "did not run" in verdicts["t.py::gone"].reason


def test_a_deselected_benchmark_is_not_missing(bench, run_of):
    assert judge(run_of(), run_of(bench()), limits("energy:5%"), expected=lambda fullname: False) == ()


def test_without_a_baseline_everything_is_missing(bench, run_of):
    judged = judge(run_of(bench()), None, limits("energy:5%", "accuracy:3pp"))
    assert [(item.metric, item.verdict) for item in judged] == [("energy", "missing"), ("accuracy", "missing")]


@pytest.mark.parametrize("told", [True, False])
def test_a_failed_test_is_not_judged_but_missed(bench, run_of, told):
    now = bench(energy_j=9.0) if told else bench(energy_j=9.0, outcome="failed")
    item = only(judge(run_of(now), run_of(bench()), limits("energy:5%"), failed=["t.py::test_a"] if told else ()))
    assert (item.verdict, item.effect) == ("missing", None)
    assert "failed" in item.reason
    assert judge(run_of(now), run_of(), limits("energy:5%"), failed=["t.py::test_a"] if told else ()) == ()


def test_each_benchmark_has_its_own_limits(bench, run_of):
    own = {"t.py::a": parse_limits(["energy:3%", "flops:0%"]), "t.py::b": ()}
    judged = judge(run_of(bench("a"), bench("b")), run_of(bench("a"), bench("b")), own.__getitem__)
    assert [(item.fullname, item.limit) for item in judged] == [("t.py::a", "flops:0%"), ("t.py::a", "energy:3%")]


def test_what_fails_a_run(bench, run_of):
    now = run_of(bench("up", energy_j=2.0), bench("same"), bench("new"), bench("down", energy_j=0.5))
    before = run_of(bench("up"), bench("same"), bench("down"))
    judged = judge(now, before, limits("energy:5%"))
    assert {item.row: item.verdict for item in judged} == {
        "up": "regressed", "same": "inconclusive", "new": "missing", "down": "improved",
    }  # fmt: skip
    assert [item.row for item in failing(judged, strict=False)] == ["up"]
    assert {item.row for item in failing(judged, strict=True)} == {"up", "same", "new"}


# --- hostile files ---------------------------------------------------------------------------------------------------

amount = st.floats(1e-30, 1e30)
rounds = st.lists(
    st.builds(
        lambda energy, seconds, candle: Round(1, seconds, Reading({"cpu": energy}, 1.0), candle),
        amount, amount,
        st.none() | st.builds(lambda energy, seconds: Reading({"cpu": energy}, seconds), amount, amount),
    ),
    max_size=4,
).map(tuple)  # fmt: skip


@settings(max_examples=40)
@given(rounds, rounds, st.lists(rounds, max_size=7), st.sampled_from(["energy:5%", "latency:1ms", "energy:1mJ"]))
def test_no_stored_number_makes_the_gate_crash(bench, run_of, before, now, past, limit):
    def run(entries):
        return run_of(dataclasses.replace(bench(), rounds=entries))

    item = only(judge(run(now), run(before), limits(limit), [run(entries) for entries in past]))
    assert item.verdict in ("pass", "improved", "regressed", "inconclusive", "incomparable")
    assert (item.verdict == "incomparable") == (not before or not now)


def test_session_and_raw_values_by_hand(bench, rounds_of):
    rounds = rounds_of([8.0, 8.0, 8.0], [2.0, 2.0, 2.0], calls=2)
    item = dataclasses.replace(bench(), rounds=rounds, work=Work(requests=4))
    assert raw_value(item, "energy") == pytest.approx(1.0)
    assert raw_value(item, "latency") == pytest.approx(0.05)
    assert session_value(item, "energy", 0.5).centre == pytest.approx(-0.5 * math.log(2.0))
    assert session_value(item, "energy", 1.0).standard_error == pytest.approx(0.0)
    assert raw_value(item, "memory") is None


def sessions_of(bench, run_of, values):
    """Runs of one branch, oldest first, whose energies are `values`."""
    return [run_of(bench(energy_j=value)) for value in values]


NOISE = (1.001, 0.999, 1.002, 0.998, 1.0015, 0.9985, 1.0005, 0.9995, 1.001, 0.999, 1.002, 0.998)


def test_sessions_of_a_steady_branch_are_pooled(bench, run_of):
    history = sessions_of(bench, run_of, NOISE)
    newest, now = history[-1], run_of(bench(energy_j=1.0))
    item = only(judge(now, newest, limits("energy:5%"), history))
    # The mean of twelve sessions is 1.0, while the newest alone is 0.998.
    assert item.effect == pytest.approx(0.0, abs=2e-4)


def test_sessions_before_a_change_point_do_not_count(bench, run_of):
    history = sessions_of(bench, run_of, [*NOISE, *(1.2 * value for value in NOISE)])
    now = run_of(bench(energy_j=1.2))
    item = only(judge(now, history[-1], limits("energy:5%"), history))
    assert item.effect == pytest.approx(0.0, abs=5e-4)


def test_a_drifting_branch_leaves_the_newest_session_alone(bench, run_of):
    drift = [1.01**index * value for index, value in enumerate(NOISE)]
    history = sessions_of(bench, run_of, drift)
    now = run_of(bench(energy_j=drift[-1]))
    item = only(judge(now, history[-1], limits("energy:5%"), history))
    assert item.effect == pytest.approx(0.0, abs=1e-9)
