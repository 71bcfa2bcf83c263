from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForCausalLM

from energyaware.compression.linear import block_lists, maps_in
from energyaware.compression.structured import drop_layers, dropped_blocks
from energyaware.errors import CompressionError


def blocks_of(model):
    return block_lists(model)[0][1]


def test_half_of_six_blocks_leaves_the_first_two_and_the_last(make_model):
    model = make_model(6)
    before = list(blocks_of(model))
    assert drop_layers(model, 0.5) == (2, 3, 4)
    assert list(blocks_of(model)) == [before[0], before[1], before[5]]
    assert model.config.num_hidden_layers == 3


@given(depth=st.integers(2, 80), fraction=st.floats(0.01, 0.99))
def test_dropped_blocks_are_contiguous_and_spare_the_last(depth, fraction):
    count = round(fraction * depth)
    if not 0 < count < depth:
        with pytest.raises(CompressionError, match="would remove"):
            dropped_blocks(depth, fraction)
        return
    removed = dropped_blocks(depth, fraction)
    assert len(removed) == count
    assert removed == tuple(range(removed[0], depth - 1))


@torch.no_grad()
def test_cache_gives_the_same_logits_as_no_cache(make_model, ids):
    model = make_model(5)
    drop_layers(model, 0.4)
    whole = model(ids, use_cache=False).logits
    head = model(ids[:, :3], use_cache=True)
    tail = model(ids[:, 3:], past_key_values=head.past_key_values, use_cache=True)
    torch.testing.assert_close(torch.cat([head.logits, tail.logits], 1), whole, rtol=1e-4, atol=1e-5)
    assert head.past_key_values.get_seq_length() == 5
    assert len(head.past_key_values.layers) == 3


@torch.no_grad()
def test_saved_model_loads_again_and_generates_the_same(make_model, ids, tmp_path):
    model = make_model(4)
    drop_layers(model, 0.5)
    model.save_pretrained(tmp_path)
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert torch.equal(loaded.eval()(ids).logits, model(ids).logits)
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    assert torch.equal(loaded.generate(ids, **options), model.generate(ids, **options))


def test_lists_of_the_config_that_describe_layers_are_shortened(mistral):
    mistral.config.layer_types = ["sliding_attention", "full_attention"]
    drop_layers(mistral, 0.5)
    assert mistral.config.layer_types == ["full_attention"]


def test_layer_indices_are_renumbered(make_model):
    model = make_model(6)
    drop_layers(model, 0.5)
    indices = [
        module.layer_idx for module in blocks_of(model).modules() if isinstance(getattr(module, "layer_idx", None), int)
    ]
    assert indices == [0, 1, 2]


def test_two_stacks_are_refused():
    model = nn.Module()
    model.encoder = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    model.decoder = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    with pytest.raises(CompressionError, match="2 stacks"):
        drop_layers(model, 0.5)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_fraction_outside_the_open_interval_is_refused(mistral, fraction):
    with pytest.raises(CompressionError, match="not inside"):
        drop_layers(mistral, fraction)


def test_both_stacks_of_an_encoder_decoder_shrink_and_the_position_bias_stays(build, ids, tmp_path):
    model = build("t5", 4)
    first = model.encoder.block[0]
    assert drop_layers(model, 0.5) == (1, 2)
    assert (len(model.encoder.block), len(model.decoder.block)) == (2, 2)
    assert model.encoder.block[0] is first
    assert (model.config.num_layers, model.config.num_decoder_layers) == (2, 2)
    assert (model.encoder.config.num_layers, model.decoder.config.num_layers) == (2, 2)


def test_a_first_block_with_weights_of_its_own_outlives_the_last(build):
    model = build("t5", 2)
    kept = model.encoder.block[0], model.decoder.block[0]
    assert drop_layers(model, 0.5) == (1,)
    assert (model.encoder.block[0], model.decoder.block[0]) == kept


def test_gpt_neos_kinds_of_attention_follow(build, tmp_path):
    model = build("gpt-neo", 4)
    drop_layers(model, 0.25)
    assert model.config.attention_layers == ["global", "local", "local"]
    assert [block.attn.attention.layer_id for block in model.transformer.h] == [0, 1, 2]
    model.save_pretrained(tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.attention_layers == ["global", "local", "local"]


@torch.no_grad()
def test_calibration_finds_the_blocks_that_do_nothing(make_model, calibration, ids):
    model = make_model(6)
    for index in (1, 2):  # the default would take blocks 3 and 4
        for linear_map in maps_in(blocks_of(model)[index], ""):
            linear_map.weight.zero_()
            if getattr(linear_map.module, "bias", None) is not None:
                linear_map.module.bias.zero_()
    expected = model(ids).logits
    assert drop_layers(model, 2 / 6, calibration) == (1, 2)
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_depth_by_calibration_needs_data(mistral):
    with pytest.raises(CompressionError, match="empty"):
        drop_layers(mistral, 0.5, ())
