from __future__ import annotations

import pytest
import torch
from torch import nn

from energyaware.compression.calibration import checked, model_inputs, packed_batches, visit_blocks
from energyaware.compression.linear import block_lists, linear_maps
from energyaware.errors import CompressionError


def record_inputs(model, batches):
    """What every linear map reads in ordinary forward passes, by name."""
    seen = {linear_map.name: [] for linear_map in linear_maps(model)}
    handles = [
        linear_map.module.register_forward_pre_hook(
            lambda _, args, name=linear_map.name: seen[name].append(args[0].reshape(-1, args[0].shape[-1]))
        )
        for linear_map in linear_maps(model)
    ]
    with torch.no_grad():
        for batch in batches:
            model(**model_inputs(model, batch), use_cache=False)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def visited_inputs(model, batches, change=lambda *_: None):
    seen = {}

    def observe(linear_map, x):
        seen.setdefault(linear_map.name, []).append(x)

    visit_blocks(model, batches, lambda *_: observe, change)
    return {name: torch.cat(parts) for name, parts in seen.items()}


def test_without_a_change_every_map_sees_what_the_whole_model_gives_it(build, architecture, calibration):
    model = build(architecture, 3)
    expected = record_inputs(model, calibration)
    found = visited_inputs(model, calibration)
    assert set(found) == set(expected)
    for name, inputs in expected.items():
        torch.testing.assert_close(found[name], inputs, rtol=1e-5, atol=1e-6)


def test_later_blocks_see_what_changed_blocks_give_them(build, architecture, calibration):
    model = build(architecture, 3)

    def halve(_, maps):
        for linear_map in maps:
            linear_map.weight.mul_(0.5)

    found = visited_inputs(model, calibration, halve)
    expected = record_inputs(model, calibration)  # the model is changed as a whole by now
    for _, stack in block_lists(model):
        assert len(stack) == 3
    firsts = [name for name in expected if name.startswith(tuple(f"{stack}.2." for stack, _ in block_lists(model)))]
    # The first map of each last block reads what the changed blocks before it wrote.
    torch.testing.assert_close(found[firsts[0]], expected[firsts[0]], rtol=1e-5, atol=1e-6)


def test_nothing_of_the_walk_stays_in_the_model(build, architecture, calibration):
    model = build(architecture)
    inputs = model_inputs(model, calibration[0])
    expected = model(**inputs).logits
    visited_inputs(model, calibration)
    assert torch.equal(model(**inputs).logits, expected)
    assert not [name for name, module in model.named_modules() if "forward" in vars(module)]
    assert not [name for name, module in model.named_modules() if module._forward_hooks or module._forward_pre_hooks]


def test_blocks_come_in_order_and_each_once(build, calibration):
    model = build("t5", 2)
    seen = []
    visit_blocks(model, calibration, lambda *_: lambda *_: None, lambda block, _: seen.append(block))
    assert seen == [*model.encoder.block, *model.decoder.block]


def test_hidden_states_around_each_block_are_shown(mistral, calibration):
    shapes = []
    visit_blocks(
        mistral,
        calibration,
        lambda *_: lambda *_: None,
        lambda *_: None,
        lambda _, before, after: shapes.append((before.shape, after.shape)),
    )
    assert shapes == [((2, 24, 64), (2, 24, 64))] * 4


def test_a_generator_and_keyword_batches_will_do(build):
    model = build("t5")
    batches = ({"input_ids": torch.ones(1, 5, dtype=torch.long), "decoder_input_ids": torch.ones(1, 3).long()},)
    found = visited_inputs(model, (batch for batch in batches))
    assert found["decoder.block.0.layer.0.SelfAttention.q"].shape == (3, 64)
    assert found["decoder.block.0.layer.1.EncDecAttention.k"].shape == (5, 64)


def test_a_model_that_skips_a_block_is_refused(mistral, calibration):
    mistral.model.config.num_hidden_layers = 1
    with pytest.raises(CompressionError, match="did not run its block 1"):
        visited_inputs(mistral, calibration)
    assert not [name for name, module in mistral.named_modules() if "forward" in vars(module)]


@pytest.mark.parametrize("empty", [(), (torch.empty(2, 0, dtype=torch.long),)])
def test_an_empty_set_is_refused(empty):
    with pytest.raises(CompressionError, match="empty"):
        checked(empty)


@pytest.mark.parametrize("bad", [torch.ones(2, 3), torch.ones(3, dtype=torch.long), {"attention_mask": torch.ones(1)}])
def test_batches_must_hold_token_ids(bad):
    with pytest.raises(CompressionError, match="no token ids"):
        checked([bad])


def test_packed_batches_hold_no_padding():
    batches = packed_batches([range(10), range(10, 15), range(15, 40)], length=4, batch_size=2, limit=3)
    assert [batch.tolist() for batch in batches] == [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[8, 9, 10, 11], [12, 13, 14, 15]],
        [[16, 17, 18, 19], [20, 21, 22, 23]],
    ]
    assert [batch.shape for batch in packed_batches([range(5)], length=4, batch_size=2)] == [(1, 4)]
    assert packed_batches([range(3)], length=4)[0].tolist() == [[0, 1, 2]]
    with pytest.raises(CompressionError, match="no tokens"):
        packed_batches([[], []])


def test_a_block_without_linear_maps_is_no_stack():
    assert block_lists(nn.Sequential(nn.ModuleList([nn.ReLU()]))) == ()
