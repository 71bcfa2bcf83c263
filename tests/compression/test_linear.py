from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import FalconConfig, FalconForCausalLM
from transformers.pytorch_utils import Conv1D

from energyaware.compression.linear import block_lists, convert_to_linear, linear_maps
from energyaware.errors import CompressionError


def test_gpt2_has_four_maps_per_block_without_head_and_embeddings(gpt2):
    assert [linear_map.name for linear_map in linear_maps(gpt2)] == [
        f"transformer.h.{block}.{name}"
        for block in range(2)
        for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    ]


def test_mistral_has_seven_maps_per_block(mistral):
    names = [linear_map.name for linear_map in linear_maps(mistral)]
    assert len(names) == 14
    assert names[0] == "model.layers.0.self_attn.q_proj"


def test_weight_of_a_conv1d_is_a_transposed_view_that_writes_through(gpt2):
    linear_map = linear_maps(gpt2)[0]
    assert isinstance(linear_map.module, Conv1D)
    assert linear_map.weight.shape == (192, 64)
    linear_map.weight[5, 3] = 7.0
    assert linear_map.module.weight[3, 5] == 7.0


def test_weight_view_reproduces_the_module(make_model):
    for linear_map in linear_maps(make_model()):
        x = torch.randn(3, linear_map.weight.shape[1])
        expected = nn.functional.linear(x, linear_map.weight, linear_map.module.bias)
        torch.testing.assert_close(linear_map.module(x), expected)


@torch.no_grad()
def test_conversion_keeps_the_outputs(gpt2, ids):
    expected = gpt2(ids).logits
    converted = convert_to_linear(gpt2)
    assert len(converted) == 8
    assert all(type(linear_map.module) is nn.Linear for linear_map in linear_maps(gpt2))
    torch.testing.assert_close(gpt2(ids).logits, expected, rtol=1e-5, atol=1e-5)
    assert not gpt2.transformer.h[0].attn.c_attn.training


def test_nothing_to_convert_in_mistral(mistral):
    assert convert_to_linear(mistral) == ()


@torch.no_grad()
def test_subclass_of_linear_is_converted_when_it_computes_the_same(ids):
    model = FalconForCausalLM(
        FalconConfig(vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    ).eval()
    expected = model(ids).logits
    assert type(linear_maps(model)[0].module).__name__ == "FalconLinear"
    convert_to_linear(model)
    assert {type(linear_map.module) for linear_map in linear_maps(model)} == {nn.Linear}
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_subclass_that_computes_something_else_is_refused(mistral):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    mistral.model.layers[1].mlp.up_proj = Doubled(64, 128, bias=False)
    with pytest.raises(CompressionError, match=r"model\.layers\.1\.mlp\.up_proj \(Doubled\)"):
        convert_to_linear(mistral)


def test_lists_inside_a_block_belong_to_the_block():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    model = nn.Sequential()
    model.add_module("layers", nn.ModuleList([Block(), Block(), Block()]))
    assert [(name, len(stack)) for name, stack in block_lists(model)] == [("layers", 3)]
    assert len(linear_maps(model)) == 6


def test_model_without_linear_layers_is_refused():
    with pytest.raises(CompressionError, match="no linear layers"):
        linear_maps(nn.Sequential(nn.Embedding(4, 4)))
