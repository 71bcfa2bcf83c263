from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from energyaware.compression.linear import convert_to_linear, linear_maps
from energyaware.compression.proof import compare_logits, prove, require_change, require_dtype, snapshot
from energyaware.compression.pruning import prune_magnitude, prune_n_m
from energyaware.compression.quantization import quantization_config
from energyaware.compression.quantize import quantize
from energyaware.compression.shrink import shrink_width
from energyaware.compression.structured import drop_layers
from energyaware.errors import CompressionError


def weights_of(model):
    return sum(linear_map.weight.numel() for linear_map in linear_maps(model))


def test_nothing_changed_is_an_error_that_names_modules(gpt2):
    before = snapshot(gpt2)
    proof = prove(before, snapshot(gpt2), stored_bytes=1)
    assert proof.weights_changed == 0
    assert proof.modules == ()
    with pytest.raises(CompressionError, match=r"2of4 changed none of the 98304 .*transformer\.h\.0\.attn\.c_attn"):
        require_change(proof, before, "2of4")


def test_exact_conversion_is_not_a_change(gpt2):
    before = snapshot(gpt2)
    convert_to_linear(gpt2)
    assert prove(before, snapshot(gpt2), stored_bytes=1).weights_changed == 0


def test_pruning_twice_changes_nothing_the_second_time(mistral):
    prune_n_m(mistral, 2, 4)
    once = snapshot(mistral)
    prune_n_m(mistral, 2, 4)
    with pytest.raises(CompressionError, match="changed none"):
        require_change(prove(once, snapshot(mistral), stored_bytes=1), once, "2of4")


def test_masks_are_proven_by_their_zeros(make_model):
    model = make_model()
    before = snapshot(model)
    prune_magnitude(model, 0.25)
    after = snapshot(model)
    proof = prove(before, after, stored_bytes=123)
    require_change(proof, after, "magnitude-25")
    assert proof.zeros == proof.weights_changed == weights_of(model) // 4
    assert proof.weights_total == weights_of(model)
    assert proof.share_changed == 0.25
    assert len(proof.modules) == len(linear_maps(model))
    assert proof.stored_bytes == 123


def test_one_changed_module_is_named_alone(mistral):
    before = snapshot(mistral)
    linear_maps(mistral)[3].weight[:2] = 0
    proof = prove(before, snapshot(mistral), stored_bytes=1)
    assert proof.modules == ("model.layers.0.self_attn.o_proj",)
    assert proof.weights_changed == 2 * 64


def test_depth_is_proven_by_blocks_and_their_weights(make_model):
    model = make_model(4)
    total = weights_of(model)
    for linear_map in linear_maps(model)[-4:]:
        linear_map.weight[:4] = 0  # the last block moves up: its zeros must not look like new ones
    before = snapshot(model)
    drop_layers(model, 0.5)
    proof = prove(before, snapshot(model), stored_bytes=1)
    assert (proof.blocks_before, proof.blocks_after) == (4, 2)
    assert proof.weights_changed == total // 2


def test_cast_is_proven_by_the_dtype(make_model):
    model = make_model()
    before = snapshot(model)
    model.to(torch.bfloat16)
    after = snapshot(model)
    proof = prove(before, after, stored_bytes=1)
    assert proof.weights_changed == proof.weights_total
    assert proof.weight_dtypes == ("bf16",)
    require_dtype(after, "bf16")
    with pytest.raises(CompressionError, match="not stored as fp16"):
        require_dtype(after, "fp16")


@pytest.mark.parametrize("precision", ["int8", "nf4", "fp4"])
def test_zeros_survive_quantization_and_are_counted_in_packed_weights(make_model, tmp_path, precision):
    model = make_model()
    before = snapshot(model)
    prune_n_m(model, 2, 4)
    model.save_pretrained(tmp_path)
    quantized = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, quantization_config=quantization_config(precision)
    ).eval()
    after = snapshot(quantized)
    require_dtype(after, precision)
    proof = prove(before, after, stored_bytes=1)
    assert proof.weights_changed == proof.weights_total == weights_of(model)
    import bitsandbytes.functional as bnb_functional

    zeros = 0
    for linear_map in linear_maps(quantized):
        weight = linear_map.module.weight
        if precision != "int8":
            weight = bnb_functional.dequantize_4bit(weight.data, weight.quant_state)
        zeros += int((weight == 0).sum())
    assert proof.zeros == zeros >= weights_of(model) // 2


def test_a_smaller_matrix_is_proven_by_the_weights_it_lost(make_model):
    model = make_model()
    total = weights_of(model)
    for linear_map in linear_maps(model):
        linear_map.weight[:, ::2] = 0  # zeros that go with their columns must not look like fewer changes
    before = snapshot(model)
    shrink_width(model, 0.5)
    proof = prove(before, snapshot(model), stored_bytes=1)
    assert proof.weights_changed == total - weights_of(model) > 0
    assert all("mlp" in name for name in proof.modules)


@pytest.mark.parametrize("precision", ["int8wo", "int8dyn"])
def test_torchao_is_proven_by_its_codes(make_model, precision):
    pytest.importorskip("torchao")
    model = make_model()
    before = snapshot(model)
    prune_n_m(model, 2, 4)
    quantize(model, precision)
    after = snapshot(model)
    require_dtype(after, "int8")
    proof = prove(before, after, stored_bytes=1)
    assert proof.weights_changed == weights_of(model)
    assert proof.zeros >= weights_of(model) // 2


def test_logits_are_compared_by_error_and_label():
    reference = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [3.0, 2.0]]])
    candidate = torch.tensor([[[1.5, 0.0], [1.25, 1.0], [3.0, 2.0]]], dtype=torch.bfloat16)
    change = compare_logits(reference, candidate)
    assert (change.max_error, change.flips, change.positions) == (1.25, 1, 3)
    assert change.flip_rate == pytest.approx(1 / 3)
    assert compare_logits(reference, reference).flip_rate == 0


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (torch.zeros(1, 3, 3), "cannot be compared"),
        (torch.full((1, 3, 2), float("nan")), "the compressed model gives logits that are NaN"),
    ],
)
def test_logits_that_cannot_be_compared_are_refused(candidate, message):
    with pytest.raises(CompressionError, match=message):
        compare_logits(torch.zeros(1, 3, 2), candidate)
