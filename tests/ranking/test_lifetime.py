from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.ranking.lifetime import Amount, Cost, break_even, break_evens, costs, ordered, tuning_j
from energyaware.records import Variant, Work

positive = st.floats(0.01, 1e6)


def cost(row: str, finetune_j: float, request_j: float, half: float | None = 0.0) -> Cost:
    halves = (None, None) if half is None else (half * finetune_j, half * request_j)
    return Cost(row, Amount(finetune_j, halves[0]), Amount(request_j, halves[1]), 0.9)


def test_totals_are_fine_tuning_and_requests():
    assert cost("a", 100.0, 2.0).total_j(50) == Amount(200.0, 0.0)
    assert cost("a", 100.0, 2.0, None).total_j(50) == Amount(200.0, None)
    assert cost("a", 30.0, 4.0, 0.1).total_j(10).half_width == pytest.approx(5.0)  # 3 and 4 in quadrature


def test_break_even_is_where_the_lines_cross():
    point = break_even(cost("cheap to train", 10.0, 2.0), cost("cheap to run", 110.0, 1.0))
    assert (point.dearer, point.cheaper) == ("cheap to run", "cheap to train")
    assert point.requests == point.low == point.high == pytest.approx(100.0)


def test_who_costs_more_in_both_never_breaks_even():
    point = break_even(cost("a", 10.0, 1.0), cost("b", 20.0, 2.0))
    assert (point.dearer, point.requests, point.low, point.high) == ("b", None, None, None)


def test_an_interval_that_holds_no_saving_has_no_upper_end():
    point = break_even(cost("a", 10.0, 1.1, 0.2), cost("b", 110.0, 1.0, 0.2))
    assert point.requests is not None
    assert point.low is not None
    assert point.low < point.requests
    assert point.high is None


def test_without_errors_there_is_no_interval():
    point = break_even(cost("a", 10.0, 2.0, None), cost("b", 110.0, 1.0, None))
    assert (point.requests, point.low, point.high) == (100.0, None, None)


@given(positive, positive, positive, positive)
def test_at_the_break_even_both_cost_the_same(finetune_a, request_a, finetune_b, request_b):
    one, other = cost("a", finetune_a, request_a), cost("b", finetune_b, request_b)
    point = break_even(one, other)
    if point.requests is not None:
        totals = [item.finetune_j.value + point.requests * item.request_j.value for item in (one, other)]
        assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def test_the_best_depends_on_how_many_requests_there_are():
    found = [cost("a", 10.0, 2.0), cost("b", 110.0, 1.0)]
    assert [item.row for item in ordered(found, 10)] == ["a", "b"]
    assert [item.row for item in ordered(found, 1000)] == ["b", "a"]
    (point,) = break_evens(found, 10)
    assert point.requests == pytest.approx(100.0)
    assert break_evens([], 10) == ()


@pytest.fixture
def run(bench):
    """A fine-tuning of four epochs at 5 J, and inference of three variants that rest on it."""
    tuned = Variant("m-full", "fp32")
    training = bench(
        tuned.id, 5.0, 0.9, variant=tuned, phase="finetune", group="finetune", features={"epochs": 4.0}, count=4
    )
    rows = [tuned, Variant("m-full", "fp32", "2of4"), Variant("m-full", "nf4")]
    answers = [
        bench(item.id, energy, 0.9, variant=item, group="finetuned inference", work=Work(requests=10))
        for item, energy in zip(rows, (20.0, 10.0, 5.0), strict=True)
    ]
    return [training, *answers]


def test_pruned_and_later_quantized_variants_carry_the_cost_of_their_training(run):
    found = {item.row: item for item in costs(run)}
    assert {row: item.request_j.value for row, item in found.items()} == {
        "m-full-fp32": pytest.approx(2.0, rel=1e-3),
        "m-full-fp32-2of4": pytest.approx(1.0, rel=1e-3),
        "m-full-nf4": pytest.approx(0.5, rel=1e-3),
    }
    assert [item.finetune_j.value for item in found.values()] == pytest.approx([20.0, 20.0, 20.0], rel=1e-3)
    assert all(item.quality == pytest.approx(0.9) for item in found.values())


def test_inference_without_a_fine_tuning_or_without_quality_is_left_out(run, bench):
    untrained = bench("n-fp32", 1.0, 0.9, variant=Variant("n", "fp32"))
    unscored = bench("m-full-fp32", 1.0, None, variant=Variant("m-full", "fp32"), group="phases")
    assert [item.row for item in costs([*run, untrained, unscored])] == [item.row for item in costs(run)]
    assert costs([untrained]) == ()


def test_who_answers_no_better_than_the_trivial_reader_is_marked(run):
    training, first, *others = run
    broken = dataclasses.replace(first, trivial_quality={"accuracy": 0.9})
    found = {item.row: item.trivial for item in costs([training, broken, *others])}
    assert found == {"m-full-fp32": True, "m-full-fp32-2of4": False, "m-full-nf4": False}


def test_a_discarded_epoch_leaves_no_hole(bench):
    item = bench("m-full-fp32", 5.0, phase="finetune", features={"epochs": 4.0}, count=3, noise=0.0)
    assert tuning_j(item).value == pytest.approx(20.0)


def test_several_tasks_have_the_same_share_of_requests(run, bench):
    variant = Variant("m-full", "fp32")
    second = bench(variant.id, 4.0, 0.5, variant=variant, task="qa", group="finetuned inference")
    found = {item.row: item for item in costs([*run, second])}["m-full-fp32"]
    assert found.request_j.value == pytest.approx(3.0, rel=1e-3)
    assert found.quality == pytest.approx(0.7)
