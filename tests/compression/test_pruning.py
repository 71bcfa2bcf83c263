from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from energyaware.compression.linear import linear_maps
from energyaware.compression.pruning import magnitude_mask, n_m_mask, prune_magnitude, prune_n_m
from energyaware.errors import CompressionError

# Few distinct values, so that ties are common.
values = st.sampled_from([0.0, -0.5, 0.5, 1.0, -1.0, 2.0, 1e-30, -3e30])


@st.composite
def matrices(draw, multiple=1):
    rows = draw(st.integers(1, 6))
    columns = multiple * draw(st.integers(1, 6))
    entries = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
    return torch.tensor(entries).view(rows, columns)


@st.composite
def patterned(draw):
    m = draw(st.integers(2, 9))
    return draw(matrices(multiple=m)), draw(st.integers(1, m - 1)), m


@given(weight=matrices(), sparsity=st.floats(0.01, 0.99))
@settings(deadline=None)
def test_magnitude_mask_equals_a_stable_sort(weight, sparsity):
    flat = weight.abs().flatten().tolist()
    dropped = sorted(range(len(flat)), key=lambda index: (flat[index], index))[: math.floor(sparsity * len(flat))]
    expected = torch.ones(len(flat), dtype=torch.bool)
    expected[dropped] = False
    assert torch.equal(magnitude_mask(weight, sparsity), expected.view(weight.shape))


@given(case=patterned())
@settings(deadline=None)
def test_n_m_mask_equals_a_stable_sort_of_each_group(case):
    weight, n, m = case
    mask = n_m_mask(weight, n, m)
    for row, kept in zip(weight.abs().tolist(), mask.tolist(), strict=True):
        for start in range(0, len(row), m):
            order = sorted(range(start, start + m), key=lambda index: (-row[index], index))
            assert [index for index in range(start, start + m) if kept[index]] == sorted(order[:n])


@given(case=patterned())
@settings(deadline=None)
def test_n_m_mask_of_a_transposed_view_is_that_of_its_copy(case):
    weight, n, m = case
    assert torch.equal(n_m_mask(weight.T.contiguous().T, n, m), n_m_mask(weight, n, m))


@pytest.mark.parametrize("sparsity", [0, 1, -0.5, 1.5, float("nan")])
def test_sparsity_outside_the_open_interval_is_refused(sparsity, mistral):
    with pytest.raises(CompressionError, match="not inside"):
        magnitude_mask(torch.ones(2, 2), sparsity)
    with pytest.raises(CompressionError, match="not inside"):
        prune_magnitude(mistral, sparsity)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4), (-1, 4)])
def test_pattern_must_keep_some_and_drop_some(n, m):
    with pytest.raises(CompressionError, match="not a pattern"):
        n_m_mask(torch.ones(2, 4), n, m)


def test_width_must_be_a_multiple_of_the_group():
    with pytest.raises(CompressionError, match="multiple of 4"):
        n_m_mask(torch.ones(2, 6), 2, 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name_and_nothing_changes(make_model, bad):
    model = make_model()
    last = linear_maps(model)[-1]
    last.weight[0, 0] = bad
    first = linear_maps(model)[0].weight.clone()
    with pytest.raises(CompressionError, match=last.name.replace(".", r"\.")):
        prune_magnitude(model, 0.5)
    assert torch.equal(linear_maps(model)[0].weight, first)
    with pytest.raises(CompressionError, match="NaN or infinite"):
        n_m_mask(last.weight, 2, 4)


def test_magnitude_prunes_every_layer_by_its_own_threshold(make_model):
    model = make_model()
    with torch.no_grad():
        linear_maps(model)[0].weight.mul_(1000)
    outside = {name: parameter.clone() for name, parameter in model.named_parameters() if "embed" in name}
    before = [linear_map.weight.clone() for linear_map in linear_maps(model)]
    prune_magnitude(model, 0.75)
    for old, linear_map in zip(before, linear_maps(model), strict=True):
        mask = magnitude_mask(old, 0.75)
        assert torch.equal(linear_map.weight, old * mask)
        assert int((~mask).sum()) == 0.75 * old.numel()
    for name, parameter in outside.items():
        assert torch.equal(model.get_parameter(name), parameter)


def test_two_of_four_holds_exactly_along_the_inputs(make_model, ids):
    model = make_model()
    prune_n_m(model, 2, 4)
    for linear_map in linear_maps(model):
        groups = (linear_map.weight != 0).reshape(linear_map.weight.shape[0], -1, 4).sum(-1)
        assert torch.equal(groups, torch.full_like(groups, 2))
    assert torch.isfinite(model(ids).logits).all()


def test_pattern_that_does_not_fit_one_layer_changes_none(mistral):
    mistral.model.layers[1].mlp.down_proj = nn.Linear(126, 64, bias=False)
    first = linear_maps(mistral)[0].weight.clone()
    with pytest.raises(CompressionError, match=r"layers\.1\.mlp\.down_proj has 126 inputs"):
        prune_n_m(mistral, 2, 4)
    assert torch.equal(linear_maps(mistral)[0].weight, first)


def test_integer_weights_are_refused(mistral):
    mistral.model.layers[0].mlp.up_proj.weight = nn.Parameter(torch.ones(128, 64, dtype=torch.int8), False)
    with pytest.raises(CompressionError, match="prune first and quantize afterwards"):
        prune_magnitude(mistral, 0.5)


def test_model_without_linear_layers_is_refused():
    with pytest.raises(CompressionError, match="no linear layers"):
        prune_n_m(nn.Sequential(nn.Embedding(4, 4)), 2, 4)
