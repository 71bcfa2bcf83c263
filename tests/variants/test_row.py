from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from energyaware.compression.proof import LogitChange, Proof
from energyaware.examples import Dataset
from energyaware.variants.grid import make_variant
from energyaware.variants.prepare import PreparedModel
from energyaware.variants.row import plan_layout, product_dtypes, row_facts

DATASET = Dataset("tickets", "f" * 64, ("a", "b"), (), (), (), notes=("two dropped",))


def loaded(precision="fp32", compute="fp32", dtype=torch.float32, logits=None, gpus=()):
    return SimpleNamespace(
        model=SimpleNamespace(dtype=dtype),
        variant=make_variant("small", precision),
        compute_dtype=compute,
        weight_dtype=precision,
        notes=("conv1d→linear",),
        parameters=1000,
        weights=None,
        gpus=gpus,
        proof=Proof(30, 120, 30, 480, ("a",), 2, 2, ("fp32",), logits),
    )


def test_facts_of_a_row():
    facts = row_facts(loaded(), PreparedModel("folder", "a" * 64), DATASET, "cpu")
    assert facts == {
        "variant": make_variant("small", "fp32"),
        "fingerprints": {"dataset": "f" * 64, "weights": "a" * 64},
        "gpus": (),
        "traits": {"device": "cpu", "weight dtype": "fp32", "compute dtype": "fp32"},
        "features": {"parameters": 1000, "weights changed": 30, "share of weights changed": 0.25},
        "notes": ("two dropped", "conv1d→linear"),
    }


def test_what_was_noted_in_training_is_noted_in_the_row():
    prepared = PreparedModel("folder", None, notes=("2 of 9 training examples cut",))
    notes = row_facts(loaded(), prepared, DATASET, "cpu")["notes"]
    assert notes == ("two dropped", "2 of 9 training examples cut", "conv1d→linear")
    again = SimpleNamespace(**vars(loaded()) | {"notes": ("2 of 9 training examples cut",)})
    assert row_facts(again, prepared, DATASET, "cpu")["notes"] == ("two dropped", "2 of 9 training examples cut")


@pytest.mark.parametrize(("gpus", "place"), [((), "cuda"), ((1,), "cuda"), ((0, 1), "cuda:0+cuda:1")])
def test_a_row_says_over_which_gpus_its_model_is_spread(gpus, place):
    facts = row_facts(loaded(gpus=gpus), PreparedModel("folder", None), DATASET, "cuda")
    assert facts["gpus"] == gpus
    assert facts["traits"]["device"] == place


def test_a_probe_tells_how_far_the_answers_moved():
    facts = row_facts(loaded(logits=LogitChange(0.5, 3, 12)), PreparedModel("folder", "a" * 64), DATASET, "cpu")
    assert facts["features"]["largest logit error"] == 0.5
    assert facts["features"]["label flip rate"] == 0.25


def test_weights_that_are_not_local_have_no_fingerprint_and_another_dtype_is_noted():
    facts = row_facts(loaded("nf4", "bf16"), PreparedModel("owner/name", None), DATASET, "cpu")
    assert facts["fingerprints"] == {"dataset": "f" * 64}
    assert facts["notes"][-1] == "computes in bf16"


@pytest.mark.parametrize(
    ("compute", "dtype", "expected"),
    [("fp32", torch.float32, "fp32"), ("int8", torch.float16, "fp16+int8"), ("bf16+fp32", torch.float32, "bf16+fp32")],
)
def test_a_quantized_models_head_has_a_dtype_too(compute, dtype, expected):
    assert product_dtypes(loaded(compute=compute, dtype=dtype)) == expected


def addresses(model):
    return [parameter.data_ptr() for parameter in model.parameters()]


def test_a_small_model_is_laid_out_before_every_round(gpt2):
    before = addresses(gpt2)
    plan = plan_layout(gpt2, "seed")
    assert plan.description == "redrawn every round"
    assert addresses(gpt2) == before
    plan.before_round()
    assert all(new != old for new, old in zip(addresses(gpt2), before, strict=True))


def test_another_one_is_laid_out_at_once_and_never_again(gpt2, monkeypatch):
    monkeypatch.setattr("energyaware.variants.row.policy", lambda _: "once per launch")
    before = addresses(gpt2)
    plan = plan_layout(gpt2, "seed")
    assert (plan.before_round, plan.description) == (None, "redrawn once per launch")
    assert all(new != old for new, old in zip(addresses(gpt2), before, strict=True))
