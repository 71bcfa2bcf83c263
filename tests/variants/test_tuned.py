from __future__ import annotations

import subprocess
import sys

import pytest

from energyaware.variants.grid import make_variant
from energyaware.variants.tuned import (
    PRUNINGS,
    SETTINGS,
    dense_of,
    inference_grid,
    pruned_grid,
    trained_as,
    tuned_grid,
    tuned_name,
    untuned,
)


def test_six_settings_of_each_model():
    assert [variant.id for variant in tuned_grid(["mini-gpt2"])] == [
        "mini-gpt2-full-fp32",
        "mini-gpt2-full-bf16",
        "mini-gpt2-lora-fp32",
        "mini-gpt2-lora-bf16",
        "mini-gpt2-lora-int8",
        "mini-gpt2-lora-nf4",
    ]
    assert len(tuned_grid(["a", "b"])) == 2 * len(SETTINGS)


def test_inference_adds_what_is_quantized_after_its_training():
    added = set(inference_grid(["m"])) - set(tuned_grid(["m"]))
    assert {variant.id for variant in added} == {"m-full-int8", "m-full-nf4"}
    assert {trained_as(variant).id for variant in added} == {"m-full-fp32"}
    assert all(trained_as(variant) == variant for variant in tuned_grid(["m"]))
    assert {trained_as(variant) for variant in inference_grid(["m"])} <= set(tuned_grid(["m"]))


def test_pruned_variants_know_where_they_come_from():
    (variant, *_) = tuned_grid(["m"])
    pruned = pruned_grid([variant])
    assert len(pruned) == len(PRUNINGS)
    assert {dense_of(item) for item in pruned} == {trained_as(item) for item in pruned} == {variant}
    assert trained_as(make_variant("m-full", "nf4", "2of4")).id == "m-full-fp32"
    assert trained_as(make_variant("m-lora", "nf4", "2of4")).id == "m-lora-nf4"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m-lora", ("m", "lora")), ("m-full", ("m", "full")), ("m", None), ("other-lora", None), ("-lora", None)],
)
def test_names_are_taken_apart_only_where_the_model_is_known(name, expected):
    assert untuned(name, ["m"]) == expected


def test_a_model_that_is_called_so_itself_is_fine_tuned_too():
    assert untuned(tuned_name("m-lora", "full"), ["m-lora"]) == ("m-lora", "full")
    assert untuned("m-lora", ["m-lora"]) is None


def test_names_need_no_torch():
    code = "import sys, energyaware.variants.tuned; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
