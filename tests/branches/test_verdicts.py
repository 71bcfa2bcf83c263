import dataclasses
import math

import pytest

from energyaware.branches.launches import Launch, Pair, Question
from energyaware.branches.verdicts import launch_value, standing
from energyaware.records import Domain, Reading, Round, Work
from energyaware.stats.sequential import Plan, planned_looks

PLAN = Plan(planned_looks(20))
NAME = "t.py::test_a"
# Launches never agree exactly.
RIPPLE = (0.001, -0.001, 0.0005, -0.0005)


def question(*limits, ids=(NAME,), missing=None, machine=None):
    names = (*ids, *(missing or {}))
    return Question("base", "head", (), ids, missing or {}, dict.fromkeys(names, limits), machine or {})


@pytest.fixture
def launches(bench):
    """Launches in which each benchmark's head costs so much more than its base."""

    def make(count=4, spread=1.0, base=None, head=None, **increase):
        made = []
        for index in range(count):
            pairs = {}
            for name, value in (increase or {"test_a": 0.0}).items():
                wobble = 1 + spread * RIPPLE[index % len(RIPPLE)]
                before = bench(1.0, name, **(base or {}))
                pairs[before.fullname] = Pair(before, bench((1 + value) * wobble, name, **(head or {})))
            made.append(Launch(pairs, 1.0))
        return made

    return make


def judged(asked, launches, *, ended=True, plan=PLAN):
    found = standing(asked, launches, plan, ended=ended)
    return found.judgements, found.open


@pytest.mark.parametrize(
    ("increase", "verdict"),
    [(0.0, "pass"), (0.02, "pass"), (0.3, "regressed"), (0.051, "regressed"), (-0.2, "improved")],
)
def test_verdict_follows_the_increase(launches, increase, verdict):
    (item,), still_open = judged(question("energy:5%"), launches(test_a=increase), ended=False)
    assert item.verdict == verdict
    assert item.effect == pytest.approx(increase, abs=1e-3)
    assert item.low < item.effect < item.high
    assert (item.baseline, item.candidate) == (pytest.approx(1.0), pytest.approx(1 + increase, rel=1e-3))
    assert still_open == ()


def test_before_the_first_look_everything_is_open(launches):
    (item,), still_open = judged(question("energy:5%"), launches(3), ended=False)
    assert (item.verdict, item.effect, still_open) == ("inconclusive", None, (NAME,))
    assert standing(question("energy:5%"), [], PLAN, ended=False).open == (NAME,)


def test_a_spread_that_hides_the_limit_says_what_would_decide(launches):
    (item,), still_open = judged(question("energy:5%"), launches(4, spread=60.0), ended=True)
    assert item.verdict == "inconclusive"
    assert "about" in item.reason
    assert "more would" in item.reason
    assert item.low < 0 < 0.05 < item.high
    assert still_open == ()
    assert judged(question("energy:5%"), launches(4, spread=60.0), ended=False)[1] == (NAME,)


def test_too_few_launches_claim_nothing(launches):
    (item,), _ = judged(question("energy:5%"), launches(1), ended=True)
    assert item.reason == "1 launches do not decide energy:5%: too few launches"


def test_another_meter_is_incomparable_after_one_launch(launches):
    head = {"domains": {"cpu": Domain("rapl", "measured", 1e-3)}}
    (item,), still_open = judged(question("energy:5%"), launches(1, head=head), ended=False)
    assert item.verdict == "incomparable"
    assert "cpu: package" in item.reason
    assert "cpu: rapl" in item.reason
    assert still_open == ()


def test_no_valid_round_is_incomparable(launches):
    (item,), still_open = judged(question("energy:5%"), launches(1, head={"rounds": ()}), ended=False)
    assert (item.verdict, still_open) == ("incomparable", ())
    assert "no valid reading in the head" in item.reason


def test_a_launch_without_a_valid_round_stops_the_waiting(launches):
    several = launches(3) + launches(1, base={"rounds": ()}, head={"rounds": ()})
    (item,), still_open = judged(question("energy:5%"), several, ended=False)
    assert (item.verdict, still_open) == ("inconclusive", ())


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_benchmark_that_one_side_lacks_is_missing(launches, side):
    reason = f"the {side} has no such benchmark"
    items, still_open = judged(question("energy:5%", missing={"t.py::test_b": reason}), launches())
    assert [(item.fullname, item.verdict, item.reason) for item in items] == [
        (NAME, "pass", ""),
        ("t.py::test_b", "missing", reason),
    ]
    assert still_open == ()


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ({"base_error": "ValueError: no"}, "its test failed in the base: ValueError: no"),
        ({"head_error": "KeyError: 'x'"}, "its test failed in the head: KeyError: 'x'"),
        ({"base_error": "A", "head_error": "B"}, "its test failed in the base: A; its test failed in the head: B"),
    ],
)
def test_a_failed_test_is_missing_and_not_run_again(errors, reason):
    (item,), still_open = judged(question("energy:5%"), [Launch({NAME: Pair(**errors)}, 1.0)], ended=False)
    assert (item.verdict, item.reason, still_open) == ("missing", reason, ())


def test_a_test_that_fails_later_takes_no_decision_back(launches):
    several = [*launches(6, test_a=0.3), Launch({NAME: Pair(base_error="flaky")}, 1.0)]
    (energy, latency), _ = judged(question("energy:5%", "latency:5%"), several)
    assert energy.verdict == "regressed"
    assert latency.verdict == "pass"
    undecided = [*launches(3), several[-1]]
    (item,), still_open = judged(question("energy:5%"), undecided, ended=False)
    assert (item.verdict, still_open) == ("missing", ())


def test_decisions_do_not_change_with_later_launches(launches):
    asked = question("energy:5%")
    early = judged(asked, launches(4, test_a=0.3), ended=False)[0][0]
    late = judged(asked, launches(4, test_a=0.3) + launches(3, test_a=-0.3))[0][0]
    assert (early.verdict, early.effect) == (late.verdict, late.effect) == ("regressed", pytest.approx(0.3, abs=1e-3))


@pytest.mark.parametrize(
    ("limit", "before", "now", "verdict"),
    [
        ("flops:0%", {"flops": 100}, {"flops": 100}, "pass"),
        ("flops:0%", {"flops": 100}, {"flops": 101}, "regressed"),
        ("flops:0%", {"flops": 100}, {"flops": 99}, "improved"),
        ("bytes:5%", {"weight_bytes": 100}, {"weight_bytes": 104}, "pass"),
        ("flops:0%", {}, {"flops": 1}, "incomparable"),
    ],
)
def test_counts_need_one_launch(launches, limit, before, now, verdict):
    one = launches(1, base={"work": Work(**before)}, head={"work": Work(**now)})
    (item,), still_open = judged(question(limit), one, ended=False)
    assert (item.verdict, still_open) == (verdict, ())


def test_quality_is_paired_by_example(launches):
    scores = {"base": (1.0,) * 10, "head": (1.0,) * 9 + (0.0,)}
    sides = {
        side: {
            "quality": {"accuracy": sum(values) / 10},
            "scores": {"accuracy": values},
            "example_ids": tuple("abcdefghij"),
        }
        for side, values in scores.items()
    }
    (item,), _ = judged(question("accuracy:3pp"), launches(1, **sides))
    assert (item.verdict, item.effect) == ("regressed", pytest.approx(0.1))
    assert judged(question("accuracy:3pp"), launches(1))[0] == ()  # a benchmark without it


def test_one_benchmark_with_several_limits_is_open_while_one_of_them_is(launches):
    items, still_open = judged(question("energy:5%", "latency:5%"), launches(4, spread=60.0), ended=False)
    assert [item.verdict for item in items] == ["inconclusive", "pass"]
    assert still_open == (NAME,)


def test_an_absolute_limit_is_relative_to_the_base_at_the_first_look(launches):
    asked = question("energy:0.1J")
    assert judged(asked, launches(test_a=0.05))[0][0].verdict == "pass"
    assert judged(asked, launches(test_a=0.15))[0][0].verdict == "regressed"
    # Later launches of another base do not move it.
    scaled = [
        Launch(
            {NAME: Pair(*(dataclasses.replace(side, work=Work(requests=10)) for side in (pair.base, pair.head)))}, 1.0
        )
        for launch in launches(4, test_a=0.05)
        for pair in launch.pairs.values()
    ]
    assert judged(asked, launches(4, test_a=0.05) + scaled)[0][0].verdict == "pass"


def test_alarms_are_shared_among_all_noisy_pairs(launches):
    """Holm: an effect that alone is significant is not beside many others."""
    spread, increase = 4.0, 0.0295
    alone = judged(question("energy:2%"), launches(4, spread=spread, test_a=increase), ended=True)[0][0]
    names = {f"test_{letter}": 0.0 for letter in "bcdefghijklmnopqrstuvwxyz"}
    many = launches(4, spread=spread, test_a=increase, **names)
    ids = tuple(many[0].pairs)
    beside = judged(question("energy:2%", ids=ids), many, ended=True)[0][0]
    assert (alone.verdict, beside.verdict) == ("regressed", "inconclusive")
    assert beside.low < 0 < alone.low


def test_a_launch_counts_once_however_many_rounds_it_has(bench):
    many = bench(1.0, rounds=tuple(Round(1, 0.1, Reading({"cpu": 1.0}, 0.1)) for _ in range(50)))
    more = bench(1.0, rounds=tuple(Round(1, 0.2, Reading({"cpu": 1.1}, 0.1)) for _ in range(50)))
    assert launch_value(Pair(many, more), "energy") == pytest.approx(math.log(1.1))
    assert launch_value(Pair(many, more), "latency") == pytest.approx(math.log(2))
    assert launch_value(Pair(many, more), "memory") is None
    assert launch_value(Pair(many, None), "energy") is None
    measured = [dataclasses.replace(side, peak_memory_bytes=size) for side, size in ((many, 100), (more, 150))]
    assert launch_value(Pair(*measured), "memory") == pytest.approx(math.log(1.5))
    (item,), still_open = judged(question("energy:5%"), [Launch({many.fullname: Pair(many, more)}, 1.0)], ended=False)
    assert (item.verdict, still_open) == ("inconclusive", (NAME,))
