from __future__ import annotations

import dataclasses

import pytest

from energyaware.ranking.tuning import reach, target_loss, tunings
from energyaware.records import Variant


@pytest.fixture
def tuned(bench):
    """A function (method, validation losses, joules of an epoch) → a finished fine-tuning of the model `m`."""

    def make(method: str, losses, energy_j: float = 2.0, count: int | None = None, **changes):
        variant = Variant(f"m-{method}", changes.pop("precision", "fp32"))
        plain = {
            "phase": "finetune",
            "variant": variant,
            "traits": {"base model": "m"},
            "samples": {"training_loss": tuple(losses), "validation_loss": tuple(losses)},
            "features": {"epochs": float(len(losses)), "trainable parameters": 128.0},
            "count": len(losses) if count is None else count,
            "noise": 0.0,
        }
        return bench(variant.id, energy_j, 0.9, **(plain | changes))

    return make


def test_the_target_is_the_worst_final_loss_so_that_all_reach_it(tuned):
    full, lora = tunings([tuned("full", [2.0, 0.9, 0.5]), tuned("lora", [2.5, 1.5, 1.0], energy_j=1.0)])
    assert full.target_loss == lora.target_loss == 1.0
    assert (full.epochs_to_target, full.joules_to_target) == (2, pytest.approx(4.0))
    assert (lora.epochs_to_target, lora.joules_to_target) == (3, pytest.approx(3.0))
    assert full.trainable_parameters == 128
    assert full.epoch_j == pytest.approx((2.0, 2.0, 2.0))


def test_each_base_has_a_target_of_its_own(tuned):
    other = tuned("full", [3.0, 2.0], traits={"base model": "n"})
    assert [item.target_loss for item in tunings([tuned("full", [1.0, 0.5]), other])] == [0.5, 2.0]


def test_a_target_that_is_never_reached_costs_no_number(tuned):
    (item,) = tunings([tuned("full", [2.0, 1.0])], {"m": 0.1})
    assert (item.epochs_to_target, item.joules_to_target) == (None, None)


def test_a_discarded_epoch_leaves_the_joules_unknown(tuned):
    (item,) = tunings([tuned("full", [2.0, 1.0, 0.5], count=2)])
    assert item.epoch_j is None
    assert (item.epochs_to_target, item.joules_to_target) == (3, None)


def test_a_loss_that_rises_again_counts_when_it_was_first_reached(tuned):
    (item,) = tunings([tuned("full", [2.0, 0.4, 0.5])])
    assert item.epochs_to_target == 2


def test_other_benchmarks_and_failed_ones_are_left_out(tuned, bench):
    failed = dataclasses.replace(tuned("full", [1.0]), outcome="failed")
    assert tunings([bench("other"), failed]) == ()


def test_without_losses_there_is_no_target(tuned):
    (item,) = tunings([tuned("full", [], count=2)])
    assert target_loss([item]) is None
    assert reach(item, None) == item
