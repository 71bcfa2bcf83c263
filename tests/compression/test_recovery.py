from __future__ import annotations

import pytest
import torch

from energyaware.compression.linear import linear_maps
from energyaware.compression.pruning import prune_n_m
from energyaware.compression.recovery import keep_masks, masks_of
from energyaware.errors import CompressionError


def train(model, ids, after_step):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(3):
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        after_step()
    model.eval()


def test_zeros_stay_through_training_and_the_rest_learns(make_model, ids):
    model = make_model()
    prune_n_m(model, 2, 4)
    masks = masks_of(model)
    before = {item.name: item.weight.clone() for item in linear_maps(model)}
    train(model, ids, keep_masks(model))
    for item in linear_maps(model):
        assert bool((item.weight[~masks[item.name]] == 0).all())
        assert not torch.equal(item.weight, before[item.name])


def test_without_it_zeros_grow_back(mistral, ids):
    prune_n_m(mistral, 2, 4)
    masks = masks_of(mistral)
    train(mistral, ids, lambda: None)
    assert any(bool((item.weight[~masks[item.name]] != 0).any()) for item in linear_maps(mistral))


def test_nothing_stays_in_the_model(mistral):
    prune_n_m(mistral, 2, 4)
    names = set(mistral.state_dict())
    keep_masks(mistral)()
    assert set(mistral.state_dict()) == names


def test_a_dense_model_has_no_masks(mistral):
    with pytest.raises(CompressionError, match="prune the model first"):
        masks_of(mistral)


def test_masks_of_another_model_are_refused(mistral, gpt2):
    prune_n_m(gpt2, 2, 4)
    with pytest.raises(CompressionError, match="does not fit the model"):
        keep_masks(mistral, masks_of(gpt2))
