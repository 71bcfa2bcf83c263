from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

from energyaware.compression.calibration import model_inputs
from energyaware.compression.linear import linear_maps
from energyaware.compression.quantize import quantize
from energyaware.compression.shrink import drop_heads, select, shrink_width
from energyaware.errors import CompressionError

WITH_HEADS = ("mistral", "llama", "t5")


def weights_of(model):
    return sum(linear_map.weight.numel() for linear_map in linear_maps(model))


def copy_of(model):
    import copy

    return copy.deepcopy(model)


@torch.no_grad()
def logits_of(model, ids):
    return model(**model_inputs(model, ids)).logits


@pytest.mark.parametrize("calibrated", [False, True])
def test_width_shrinks_in_every_architecture(build, architecture, calibration, calibrated):
    model = build(architecture)
    total = weights_of(model)
    before, after = shrink_width(model, 0.5, calibration if calibrated else None)
    assert after == before // 2
    assert weights_of(model) < total
    shapes = {tuple(linear_map.weight.shape) for linear_map in linear_maps(model)}
    assert (after, 64) in shapes
    assert (64, after) in shapes
    assert not any(before in shape for shape in shapes)


def test_units_without_influence_go_first_and_nothing_changes(build, architecture, calibration, ids):
    """Half of the hidden units write nothing to the output: without them the model computes the same."""
    for source in (None, calibration):
        model = build(architecture)
        generator = torch.Generator().manual_seed(0)
        for linear_map in linear_maps(model):
            name = linear_map.name.rpartition(".")[2]
            if name in ("down_proj", "wo", "fc_out", "dense_4h_to_h") or linear_map.name.endswith("mlp.c_proj"):
                width = linear_map.weight.shape[1]
                linear_map.weight[:, torch.randperm(width, generator=generator)[: width // 2]] = 0
        expected = logits_of(model, ids)
        shrink_width(model, 0.5, source)
        torch.testing.assert_close(logits_of(model, ids), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", WITH_HEADS)
def test_heads_without_influence_go_first_and_nothing_changes(build, architecture, calibration, ids):
    for source in (None, calibration):
        model = build(architecture)
        for linear_map in linear_maps(model):
            if linear_map.name.endswith(("o_proj", ".o")):
                linear_map.weight[:, :32] = 0  # the first two of four heads, which share a key head in Mistral
        expected = logits_of(model, ids)
        assert drop_heads(model, 0.5, source) == (4, 2)
        torch.testing.assert_close(logits_of(model, ids), expected, rtol=1e-4, atol=1e-5)
        assert model.config.num_attention_heads == 2


def test_t5_keeps_the_same_heads_in_every_block_of_a_stack(build, ids):
    """One position bias serves all blocks, so it must still meet the heads it was made for."""
    model = build("t5", 3)
    with torch.no_grad():
        model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.normal_(0, 3)
    for block in model.encoder.block:
        block.layer[0].SelfAttention.o.weight.data[:, [*range(16), *range(32, 48)]] = 0  # heads 0 and 2
    expected = model.encoder(ids).last_hidden_state
    drop_heads(model, 0.5)
    torch.testing.assert_close(model.encoder(ids).last_hidden_state, expected, rtol=1e-4, atol=1e-5)
    assert model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.shape[1] == 2


@pytest.mark.parametrize("architecture", ["gpt2", "gpt-neo", "gpt-j", "falcon"])
def test_heads_need_a_config_that_can_say_it(build, architecture):
    model = build(architecture)
    name = linear_maps(model)[0].name.replace(".", r"\.")
    with pytest.raises(CompressionError, match=rf"{name} has hidden size / heads .* cannot say fewer heads"):
        drop_heads(model, 0.5)


def test_heads_that_the_config_refuses_are_an_error_with_the_reason():
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4
    )
    model = LlamaForCausalLM(config)
    with pytest.raises(CompressionError, match=r"self_attn cannot keep 3 heads.*LlamaConfig refuses"):
        drop_heads(model, 0.25)
    assert model.config.num_attention_heads == 4


def test_width_is_rounded_to_multiples_of_64(build):
    model = build("gpt2")
    assert shrink_width(model, 0.6) == (256, 128)
    with pytest.raises(CompressionError, match="steps of 64"):
        shrink_width(build("gpt2"), 0.1)


@pytest.mark.parametrize("shrink", [shrink_width, drop_heads])
def test_bad_input_is_refused(build, shrink, calibration):
    model = build("mistral")
    with pytest.raises(CompressionError, match="not inside"):
        shrink(model, 1.0)
    with pytest.raises(CompressionError, match="empty"):
        shrink(model, 0.5, ())
    linear_maps(model)[-1].weight[0, 0] = float("nan")
    linear_maps(model)[-4].weight[0, 0] = float("nan")
    with pytest.raises(CompressionError, match="NaN or infinite"):
        shrink(model, 0.5)
    quantized = build("mistral")
    quantize(quantized, "int8")
    with pytest.raises(CompressionError, match="prune first"):
        shrink(quantized, 0.5)


def test_all_heads_cannot_go(build):
    with pytest.raises(CompressionError, match="would leave 0"):
        drop_heads(build("mistral"), 0.9)


def test_an_unknown_mlp_is_refused(mistral):
    for block in mistral.model.layers:
        block.mlp = nn.Sequential(nn.Linear(64, 128), nn.Linear(128, 64))
    with pytest.raises(CompressionError, match=r"no MLP .* config"):
        shrink_width(mistral, 0.5)


@pytest.mark.parametrize("make", [lambda: nn.Linear(8, 6), lambda: Conv1D(6, 8)])
@torch.no_grad()
def test_select_keeps_rows_and_columns(make):
    module = make()
    nn.init.normal_(module.bias)
    x = torch.randn(3, 8)
    x[:, [1, 7]] = 0
    expected = module(x)[:, [0, 2, 5]]
    select(module, outputs=torch.tensor([0, 2, 5]), inputs=torch.tensor([0, 2, 3, 4, 5, 6]))
    torch.testing.assert_close(module(x[:, [0, 2, 3, 4, 5, 6]]), expected)
