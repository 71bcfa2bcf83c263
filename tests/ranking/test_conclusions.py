from __future__ import annotations

import pytest

from energyaware.ranking.conclusions import (
    compression_improves_quality,
    conclusions,
    decode_dominates,
    decode_ignores_clock,
    sixteen_bit_2of4_best,
    sixteen_bit_best,
)
from energyaware.ranking.score import rank
from energyaware.records import Reading, Round, Variant


@pytest.fixture
def row(bench):
    """A function (precision, joules, quality, pruning, …) → a benchmark of the model `m`, scored on 400 examples."""

    def make(precision: str, energy_j: float, quality: float = 0.8, pruning: str = "dense", **changes):
        variant = Variant(changes.pop("model", "m"), precision, pruning)
        right = round(400 * quality)
        plain = {
            "variant": variant,
            "group": changes.get("phase", "inference"),
            "scores": {"accuracy": tuple(float(n < right) for n in range(400))},
            "example_ids": tuple(map(str, range(400))),
        }
        return bench(variant.id, energy_j, quality, **(plain | changes))

    return make


def both_phases(row, bf16_j: float, fp32_j: float):
    return rank(
        [
            item
            for phase in ("finetune", "inference")
            for item in (row("bf16", bf16_j, phase=phase), row("fp32", fp32_j, phase=phase))
        ],
        0.5,
    )


def test_sixteen_bit_is_best_where_it_clearly_is(row):
    found = sixteen_bit_best(both_phases(row, 1.0, 4.0))
    assert found.verdict == "confirmed"
    assert found.rows == ("m-bf16", "m-fp32")


def test_sixteen_bit_is_refuted_where_another_is_clearly_better(row):
    assert sixteen_bit_best(both_phases(row, 4.0, 1.0)).verdict == "refuted"


def test_one_model_against_it_is_enough(row):
    items = [row("bf16", 1.0), row("fp32", 4.0), row("bf16", 4.0, model="n"), row("fp32", 1.0, model="n")]
    found = sixteen_bit_best(rank(items, 0.5))
    assert found.verdict == "refuted"
    assert set(found.rows) == {"n-bf16", "n-fp32"}


def test_rows_that_cannot_be_told_apart_decide_nothing(row):
    assert sixteen_bit_best(both_phases(row, 1.0, 1.0)).verdict == "undecided"


def test_a_phase_without_rows_is_not_testable(row):
    found = sixteen_bit_best(rank([row("bf16", 1.0), row("fp32", 4.0)], 0.5))
    assert found.verdict == "not testable"
    assert "none for finetune" in found.reason
    assert "inference, m" in found.reason


def test_sixteen_bit_with_2of4(row):
    rows = [row("bf16", 1.0, pruning="2of4"), row("bf16", 4.0), row("fp32", 8.0)]
    assert sixteen_bit_2of4_best(rank(rows, 0.5)).verdict == "confirmed"
    worse = [row("bf16", 4.0, 0.5, pruning="2of4"), row("bf16", 4.0, 0.9), row("fp32", 8.0)]
    assert sixteen_bit_2of4_best(rank(worse, 0.5)).verdict == "refuted"
    assert sixteen_bit_2of4_best(rank(worse[1:], 0.5)).verdict == "not testable"


def test_zeros_that_run_dense_are_named(row):
    rows = [row("bf16", 1.0, pruning="2of4", notes=("zeros run dense (masked)",)), row("bf16", 4.0)]
    assert "dense kernels" in sixteen_bit_2of4_best(rank(rows, 0.5)).reason


def test_compression_that_improves_is_found_by_example(row):
    found = compression_improves_quality([row("fp32", 1.0, 0.5), row("bf16", 1.0, 0.6), row("nf4", 1.0, 0.5)])
    assert found.verdict == "confirmed"
    assert found.rows == ("m-bf16",)
    assert "+10.0 pp" in found.reason


def test_compression_that_always_harms_is_refuted(row):
    items = [row("fp32", 1.0, 0.8), row("nf4", 1.0, 0.6), row("fp32", 1.0, 0.5, "2of4")]
    assert compression_improves_quality(items).verdict == "refuted"


def test_compression_that_changes_nothing_is_undecided(row):
    assert compression_improves_quality([row("fp32", 1.0), row("bf16", 1.0)]).verdict == "undecided"


def test_other_examples_cannot_be_compared(row):
    other = row("bf16", 1.0, 0.9, example_ids=tuple(f"x{n}" for n in range(400)))
    assert compression_improves_quality([row("fp32", 1.0), other]).verdict == "not testable"


def windows(decode_j: float, prefill_j: float, count: int = 6) -> tuple[Round, ...]:
    return tuple(
        Round(
            1,
            1.0,
            Reading({"cpu": decode_j + prefill_j}, 1.0),
            windows={
                "decode": Reading({"cpu": decode_j * (1 + 0.001 * index)}, 0.5),
                "prefill": Reading({"cpu": prefill_j}, 0.5),
            },
        )
        for index in range(count)
    )


@pytest.mark.parametrize(("decode_j", "verdict"), [(9.0, "confirmed"), (0.5, "refuted")])
def test_decode_dominates_where_it_takes_more_than_half(row, decode_j, verdict):
    traits = {"input tokens": "64", "output tokens": "32"}
    found = decode_dominates([row("fp32", 1.0, rounds=windows(decode_j, 1.0), traits=traits)])
    assert found.verdict == verdict
    assert "64 tokens in, 32 out" in found.reason


def test_without_windows_the_phases_cannot_be_told_apart(row):
    assert decode_dominates([row("fp32", 1.0)]).verdict == "not testable"


@pytest.mark.parametrize(("slow_s", "verdict"), [(1.02, "confirmed"), (1.5, "refuted")])
def test_the_clock_matters_where_time_follows_it(row, slow_s, verdict):
    sweep = [
        row("fp32", 1.0, phase="decode", traits={"dvfs": "cpu:3000MHz"}, rounds=timed(1.0)),
        row("fp32", 1.0, phase="decode", traits={"dvfs": "cpu:1000MHz"}, rounds=timed(slow_s)),
    ]
    found = decode_ignores_clock(sweep)
    assert found.verdict == verdict
    assert "cpu:3000MHz to cpu:1000MHz" in found.reason
    assert decode_ignores_clock(sweep[:1]).verdict == "not testable"


def timed(seconds: float) -> tuple[Round, ...]:
    return tuple(Round(1, seconds * (1 + 0.001 * index), Reading({"cpu": 1.0}, seconds)) for index in range(6))


def test_a_run_without_rows_can_test_nothing():
    found = conclusions((), ())
    assert len(found) == 5
    assert {item.verdict for item in found} == {"not testable"}
    assert all(item.reason for item in found)
