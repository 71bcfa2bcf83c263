import dataclasses
import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.ranking.score import (
    CERTAINTY,
    DRAWS,
    Row,
    Winner,
    detail,
    pareto_front,
    quality_of,
    rank,
    shared_ranks,
    winners_by_weight,
)
from energyaware.records import Domain, Variant, Work


def one(benchmarks, weight=0.5):
    (ranking,) = rank(benchmarks, weight)
    return ranking


def rows_of(ranking):
    return {row.name: row for row in ranking.rows}


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_phi_rho_and_r_by_hand(bench):
    ranking = one([bench("a", 1.0, 0.8), bench("b", 2.0, 0.9), bench("c", 4.0, 0.5)], weight=0.25)
    rows = rows_of(ranking)
    assert {name: row.phi for name, row in rows.items()} == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.25})
    assert {name: row.rho for name, row in rows.items()} == pytest.approx({"a": 0.8, "b": 0.9, "c": 0.5})
    assert {name: row.r for name, row in rows.items()} == pytest.approx({"a": 0.85, "b": 0.8, "c": 0.4375})
    assert [(row.name, row.rank) for row in ranking.rows] == [("a", 1), ("b", 2), ("c", 3)]
    assert {name: row.pareto for name, row in rows.items()} == {"a": True, "b": True, "c": False}
    assert rows["a"].first_probability == 1.0
    for row in ranking.rows:
        assert row.r_low <= row.r <= row.r_high


def test_over_tasks_phi_is_a_geometric_and_rho_an_arithmetic_mean(bench):
    def variant(name, energies, qualities):
        return [
            bench(f"{name}-{task}", energy, quality, task=task, variant=Variant(name, "fp32"))
            for task, energy, quality in zip(("rca", "qa"), energies, qualities, strict=True)
        ]

    rows = rows_of(one([*variant("a", (1.0, 8.0), (0.9, 0.5)), *variant("b", (4.0, 2.0), (0.7, 0.6))]))
    assert rows["a-fp32"].phi == pytest.approx(math.sqrt(1.0 * 2 / 8))
    assert rows["b-fp32"].phi == pytest.approx(math.sqrt(1 / 4 * 1.0))
    assert rows["a-fp32"].rho == pytest.approx(0.7)
    assert [len(row.details) for row in rows.values()] == [2, 2]


@pytest.mark.parametrize(("weight", "first"), [(0.0, "good"), (1.0, "cheap")])
def test_at_the_ends_of_the_weight_only_one_side_counts(bench, weight, first):
    ranking = one([bench("cheap", 1.0, 0.6), bench("good", 9.0, 0.9)], weight)
    assert ranking.rows[0].name == first
    for row in ranking.rows:
        assert row.r == pytest.approx(row.phi if weight else row.rho)


def test_energy_is_per_request_and_per_token(bench):
    item = detail(bench("a", 12.0, calls=2, seconds=0.4, work=Work(requests=3, tokens_in=5, tokens_out=7)))
    assert item.energy_j == pytest.approx(12 / 2 / 3, rel=1e-3)
    assert item.energy_per_token_j == pytest.approx(12 / 2 / 12, rel=1e-3)
    assert item.latency_s == pytest.approx(0.2)
    assert 0 < item.energy_error < 1e-3


def test_what_is_unknown_is_absent(bench):
    item = detail(bench("a", count=0))
    assert (item.energy_j, item.energy_error, item.energy_per_token_j, item.latency_s) == (None, None, None, None)
    assert (item.quality, item.quality_name) == (None, "")
    assert detail(bench("a")).energy_per_token_j is None
    assert detail(bench("a", count=1)).energy_error is None


def test_requests_of_other_sizes_are_compared_per_request(bench):
    rows = rows_of(one([bench("a", 1.0), bench("b", 2.0, work=Work(requests=2))]))
    assert rows["b"].phi == pytest.approx(rows["a"].phi)


def test_the_first_quality_recorded_enters_rho(bench):
    assert quality_of(bench("a", quality=None)) == ("", None)
    item = dataclasses.replace(bench("a"), quality={"macro_f1": 0.4, "accuracy": 0.9})
    assert quality_of(item) == ("macro_f1", 0.4)


# --- who is ranked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [0.25, 0.1])
def test_a_broken_cheap_variant_resets_nobody(bench, quality):
    trivial = {"trivial_quality": {"accuracy": 0.25}}
    broken = bench("broken", 0.01, quality, **trivial)
    ranking = one([broken, bench("a", 1.0, 0.8, **trivial), bench("b", 2.0, 0.8, **trivial)])
    rows = rows_of(ranking)
    assert (rows["broken"].rank, rows["broken"].r, rows["broken"].phi) == (None, None, None)
    assert "not above the trivial baseline 0.250" in rows["broken"].remark
    assert not rows["broken"].pareto
    assert rows["a"].phi == pytest.approx(1.0)
    assert rows["a"].pareto
    assert ranking.rows[-1].name == "broken"


def test_a_failed_row_is_shown_with_its_error(bench):
    failed = bench("failed", count=0, outcome="failed", error="OutOfMemoryError: 80 GiB")
    silent = bench("silent", 0.001, 0.99, outcome="failed")
    ranking = one([failed, silent, bench("a", 1.0, 0.8)])
    rows = rows_of(ranking)
    assert rows["failed"].remark == "error: OutOfMemoryError: 80 GiB"
    assert rows["silent"].remark == "its test failed"
    assert [row.rank for row in ranking.rows] == [1, None, None]
    assert rows["a"].phi == pytest.approx(1.0)


def test_a_row_without_a_valid_reading_says_what_was_discarded(bench):
    rows = rows_of(one([bench("a"), bench("b", count=0, discarded={"cpu: zero": 20}), bench("c", count=0)]))
    assert rows["b"].remark == "no valid reading: 20 × cpu: zero"
    assert rows["c"].remark == "no valid reading: no round"


def test_a_row_that_lacks_a_task_is_not_ranked(bench):
    rows = rows_of(one([
        bench("a1", variant=Variant("a"), task="rca"), bench("a2", variant=Variant("a"), task="qa"),
        bench("b1", variant=Variant("b"), task="rca"),
    ]))  # fmt: skip
    assert rows["b-fp32"].remark == "not ranked: lacks the task qa"
    assert rows["a-fp32"].rank == 1


@pytest.mark.parametrize("quality", [-0.1, 1.1, 42.0])
def test_a_quality_outside_its_range_is_not_ranked(bench, quality):
    rows = rows_of(one([bench("a", 1.0, 0.5), bench("b", 0.5, quality)]))
    assert "outside [0, 1]" in rows["b"].remark
    assert rows["a"].phi == pytest.approx(1.0)


def test_without_quality_rows_are_ranked_by_energy_alone(bench):
    ranking = one([bench("a", 2.0, 0.99), bench("b", 1.0)])
    assert [(row.name, row.rank, row.r, row.r_low, row.r_high) for row in ranking.rows] == [
        ("b", 1, None, None, None), ("a", 2, None, None, None),
    ]  # fmt: skip
    assert [row.rho for row in ranking.rows] == [None, 0.99]
    assert [row.phi for row in ranking.rows] == pytest.approx([1.0, 0.5])
    assert ranking.winners == ()


def test_different_meters_in_one_group_are_not_ranked(bench):
    other = {"cpu": Domain("zeus", "measured", 1e-3)}
    ranking = one([bench("a", 1.0, 0.8), bench("b", 2.0, 0.8, domains=other), bench("c", count=0)])
    assert [row.rank for row in ranking.rows] == [None] * 3
    assert {row.name: row.remark.split(":")[1].strip() for row in ranking.rows} == {
        "a": "its group was read by different meters", "b": "its group was read by different meters", "c": "no round",
    }  # fmt: skip
    assert ranking.source == "estimated and measured"
    # In groups of their own they are.
    apart = rank([bench("a", 1.0, 0.8, group="x"), bench("b", 2.0, 0.8, domains=other, group="y")], 0.5)
    assert [(ranking.group, ranking.rows[0].rank) for ranking in apart] == [("x", 1), ("y", 1)]


def test_nothing_to_rank(bench):
    assert rank([], 0.5) == ()
    ranking = one([bench("a", count=0)])
    assert (ranking.rows[0].rank, ranking.winners) == (None, ())


# --- uncertainty -----------------------------------------------------------------------------------------------------


def noisy(bench, row, energy_j, seed, spread):
    rng = np.random.default_rng(seed)
    item = bench(row, energy_j, 0.8, count=12)
    rounds = [
        dataclasses.replace(
            entry,
            reading=dataclasses.replace(entry.reading, energy_j={"cpu": energy_j * math.exp(rng.normal(0, spread))}),
        )
        for entry in item.rounds
    ]  # fmt: skip
    return dataclasses.replace(item, rounds=tuple(rounds))


def test_rows_that_noise_hides_share_a_rank_and_clear_ones_do_not(bench):
    rows = rows_of(one([
        noisy(bench, "a", 1.00, 1, 0.1), noisy(bench, "b", 1.01, 2, 0.1), noisy(bench, "far", 3.0, 3, 0.1),
    ]))  # fmt: skip
    assert rows["a"].rank == rows["b"].rank == 1
    assert rows["far"].rank == 3
    assert 0 < rows["a"].first_probability < 1
    assert sum(row.first_probability for row in rows.values()) == pytest.approx(1.0)
    assert rows["far"].first_probability == 0.0


def test_a_small_difference_is_clear_without_noise(bench):
    rows = rows_of(one([noisy(bench, "a", 1.00, 1, 0.001), noisy(bench, "b", 1.02, 2, 0.001)]))
    assert (rows["a"].rank, rows["b"].rank) == (1, 2)


def test_few_examples_widen_the_interval_of_r(bench):
    def width(count):
        scores = {"accuracy": tuple(float(index % 10 < 8) for index in range(count))}
        row = rows_of(one([bench("a", 1.0, 0.8, scores=scores), bench("b", 2.0, 0.8, scores=scores)]))["a"]
        return row.r_high - row.r_low

    # Half of two standard errors of an accuracy of 0.8 on 50 examples, either side.
    assert width(50) == pytest.approx(2 * 1.96 * 0.5 * math.sqrt(0.8 * 0.2 / 50), rel=0.15)
    assert width(5000) < 0.2 * width(50)


def test_the_same_examples_are_drawn_for_every_row(bench):
    # One answers everything that the other does and two examples more: by chance alone they would overlap.
    good = {"accuracy": tuple(float(index < 82) for index in range(100))}
    less = {"accuracy": tuple(float(index < 62) for index in range(100))}
    rows = rows_of(one([bench("a", 1.0, 0.82, scores=good), bench("b", 1.0, 0.62, scores=less)], weight=0.0))
    assert rows["a"].first_probability == 1.0
    assert (rows["a"].rank, rows["b"].rank) == (1, 2)


def test_a_ranking_is_the_same_every_time(bench):
    items = [noisy(bench, "a", 1.0, 1, 0.1), noisy(bench, "b", 1.01, 2, 0.1)]
    assert rank(items, 0.5) == rank(items, 0.5)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 7),
    st.sampled_from([40, 200, DRAWS]),
    st.sampled_from([0.0, 0.3, 2.0, 8.0]),
)
def test_shared_ranks_are_those_of_every_pair_draw_by_draw(seed, rows, count, spread):
    rng = np.random.default_rng(seed)
    # Common noise and few different values: pairs that overlap, that are tied, and that only pairing tells apart.
    draws = np.round(rng.normal(0, spread, (rows, 1)) + rng.normal(0, 2, count) + rng.normal(0, 0.5, (rows, count)), 1)
    beats = (draws[:, None, :] > draws[None, :, :]).mean(axis=2)
    assert shared_ranks(draws).tolist() == (1 + (beats >= CERTAINTY).sum(axis=0)).tolist()


def test_ranking_takes_memory_in_proportion_to_its_rows():
    draws = np.random.default_rng(0).normal(np.arange(600)[:, None] / 100, 1, (600, 500))
    tracemalloc.start()
    try:
        shared_ranks(draws)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * draws.nbytes  # every pair of rows at once: 75 times


# --- candle ----------------------------------------------------------------------------------------------------------


def test_the_candle_changes_phi_but_not_the_joules_shown(bench):
    # While b ran the machine took twice the energy for everything.
    ranking = one([bench("a", 1.0, 0.8, candle_j=0.5), bench("b", 2.0, 0.8, candle_j=1.0)])
    rows = rows_of(ranking)
    assert ranking.normalised
    assert rows["b"].phi == pytest.approx(1.0)
    assert rows["b"].details[0].energy_j == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("change", [{"candle": "matmul/2"}, {"candle_j": None}])
def test_without_one_candle_for_all_raw_joules_are_compared(bench, change):
    ranking = one([bench("a", 1.0, 0.8, candle_j=0.5), bench("b", 2.0, 0.8, **({"candle_j": 1.0} | change))])
    assert not ranking.normalised
    assert rows_of(ranking)["b"].phi == pytest.approx(0.5)


# --- winners and the front, against brute force ----------------------------------------------------------------------

unit = st.floats(0, 1)


def scored(points):
    return [Row("", f"r{index}", (), phi=phi, rho=rho, r=0.0) for index, (phi, rho) in enumerate(points)]


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=8))
def test_winners_have_the_highest_r_on_a_dense_grid(points):
    rows = scored(points)
    winners = winners_by_weight(rows)
    assert (winners[0].low, winners[-1].high) == (0.0, 1.0)
    assert all(before.high == after.low for before, after in itertools.pairwise(winners))
    value = {row.name: lambda w, row=row: w * row.phi + (1 - w) * row.rho for row in rows}
    for weight in np.linspace(0, 1, 201):
        best = max(score(weight) for score in value.values())
        for winner in winners:
            if winner.low <= weight <= winner.high:
                assert value[winner.name](weight) == pytest.approx(best, abs=1e-9)


def test_winners_among_thousands_of_rows():
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, math.pi / 2, 3000)
    rows = scored(zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True))  # every one wins somewhere
    winners = winners_by_weight(rows)
    assert len(winners) > 2900
    assert all(before.high == after.low for before, after in itertools.pairwise(winners))
    by_name = {row.name: row for row in rows}
    phi, rho = np.array([[row.phi, row.rho] for row in rows]).T
    for winner in winners[::100]:
        middle = (winner.low + winner.high) / 2
        row = by_name[winner.name]
        assert middle * row.phi + (1 - middle) * row.rho == pytest.approx((middle * phi + (1 - middle) * rho).max())


def test_winners_by_hand():
    rows = scored([(1.0, 0.5), (0.5, 0.9), (0.4, 0.4)])
    # 0.5 + 0.5 w meets 0.9 - 0.4 w at w = 4/9.
    assert winners_by_weight(rows) == (Winner(0.0, pytest.approx(4 / 9), "r1"), Winner(pytest.approx(4 / 9), 1.0, "r0"))
    assert winners_by_weight([Row("", "a", (), phi=1.0)]) == ()
    assert winners_by_weight([]) == ()


coarse = st.integers(1, 5)


@settings(max_examples=60)
@given(points=st.lists(st.tuples(coarse, coarse), max_size=8))
def test_the_front_is_what_nobody_dominates(points):
    rows = [Row("", f"r{index}", (), phi=phi / 5, rho=rho / 5) for index, (phi, rho) in enumerate(points)]
    dominated = {
        index
        for index, (phi, rho) in enumerate(points)
        for other_phi, other_rho in points
        if other_phi >= phi and other_rho >= rho and (other_phi > phi or other_rho > rho)
    }
    assert pareto_front(rows) == {f"r{index}" for index in range(len(points)) if index not in dominated}


def test_rows_without_energy_or_quality_are_on_no_front(bench):
    ranking = one([bench("a", 1.0), bench("b", count=0, quality=0.9), bench("c", 5.0, 0.5)])
    assert {row.name for row in ranking.rows if row.pareto} == {"c"}
