from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from energyaware.compression.linear import linear_maps
from energyaware.compression.masks import kept_in_group, magnitude_mask, n_m_mask
from energyaware.compression.pruning import prune_magnitude, prune_n_m, prune_sparsegpt, prune_wanda, wanda_mask
from energyaware.errors import CompressionError


@pytest.mark.parametrize("sparsity", [0, 1, -0.5, 1.5, float("nan")])
def test_sparsity_outside_the_open_interval_is_refused(sparsity, mistral):
    with pytest.raises(CompressionError, match="not inside"):
        magnitude_mask(torch.ones(2, 2), sparsity)
    with pytest.raises(CompressionError, match="not inside"):
        prune_magnitude(mistral, sparsity)


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


def test_integer_weights_are_refused(mistral):
    mistral.model.layers[0].mlp.up_proj.weight = nn.Parameter(torch.ones(128, 64, dtype=torch.int8), False)
    with pytest.raises(CompressionError, match="prune first and quantize afterwards"):
        prune_magnitude(mistral, 0.5)


def test_model_without_linear_layers_is_refused():
    with pytest.raises(CompressionError, match="no linear layers"):
        prune_n_m(nn.Sequential(nn.Embedding(4, 4)), 2, 4)


def kept_per_group(weight, n, m):
    """Non-zero weights of each group of each row, and how many should be there."""
    for row in (weight != 0).tolist():
        for start in range(0, len(row), m):
            group = row[start : start + m]
            yield sum(group), kept_in_group(n, m, len(group))


@given(
    rows=st.integers(1, 4), columns=st.integers(1, 24), m=st.integers(2, 8), data=st.data(), seed=st.integers(0, 999)
)
@settings(max_examples=40)
def test_wanda_mask_equals_a_reference(rows, columns, m, data, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    x = torch.randn(7, columns, generator=generator)
    norms = x.square().sum(dim=0).sqrt()
    n = data.draw(st.integers(1, m - 1))
    share = data.draw(st.floats(0.05, 0.95))
    for amount in (share, (n, m)):
        size = columns if amount == share else m
        expected = torch.ones(rows, columns, dtype=torch.bool)
        for row in range(rows):
            for start in range(0, columns, size):
                group = range(start, min(start + size, columns))
                dropped = int(share * columns) if amount == share else len(group) - kept_in_group(n, m, len(group))
                order = sorted(group, key=lambda j: abs(float(weight[row, j])) * float(norms[j]))
                expected[row, order[:dropped]] = False
        assert torch.equal(wanda_mask(weight, norms, amount), expected)


@pytest.mark.parametrize("prune", [prune_wanda, prune_sparsegpt])
@pytest.mark.parametrize("pattern", [(2, 4), (4, 8)])
def test_calibrated_patterns_hold_in_every_group(build, architecture, prune, pattern, calibration):
    model = build(architecture)
    embeddings = model.get_input_embeddings().weight.clone()
    prune(model, pattern, calibration)
    for linear_map in linear_maps(model):
        assert all(found <= wanted for found, wanted in kept_per_group(linear_map.weight, *pattern)), linear_map.name
    assert torch.equal(model.get_input_embeddings().weight, embeddings)


def test_wanda_drops_the_same_share_of_every_output_and_keeps_the_rest_as_it_is(make_model, calibration):
    model = make_model()
    before = [linear_map.weight.clone() for linear_map in linear_maps(model)]
    prune_wanda(model, 0.75, calibration)
    for old, linear_map in zip(before, linear_maps(model), strict=True):
        kept = linear_map.weight != 0
        assert torch.equal(kept.sum(dim=1), torch.full((len(old),), old.shape[1] // 4))
        assert torch.equal(linear_map.weight, old * kept)


def test_sparsegpt_changes_the_weights_that_stay(mistral, calibration):
    before = [linear_map.weight.clone() for linear_map in linear_maps(mistral)]
    prune_sparsegpt(mistral, 0.5, calibration)
    for old, linear_map in zip(before, linear_maps(mistral), strict=True):
        kept = linear_map.weight != 0
        assert float((~kept).float().mean()) == pytest.approx(0.5, abs=0.01)
        assert not torch.equal(linear_map.weight, old * kept)


@torch.no_grad()
def test_layer_errors_come_in_the_papers_order(build, calibration):
    """Median over 20 draws of one linear map with features of very different size: SparseGPT ≤ Wanda ≤ magnitude."""
    from energyaware.compression.sparsegpt import sparsegpt

    errors = {"magnitude": [], "wanda": [], "sparsegpt": []}
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        scales = torch.exp(torch.randn(64, generator=generator))
        mixing = torch.eye(64) + 0.1 * torch.randn(64, 64, generator=generator)
        x = torch.randn(512, 64, generator=generator) @ mixing * scales
        weight = torch.randn(32, 64, generator=generator)
        pruned = {
            "magnitude": weight * magnitude_mask(weight, 0.5),
            "wanda": weight * wanda_mask(weight, x.square().sum(dim=0).sqrt(), 0.5),
            "sparsegpt": sparsegpt(weight, x.T @ x, 0.5),
        }
        for name, result in pruned.items():
            errors[name].append(float((x @ (result - weight).T).norm() / (x @ weight.T).norm()))
    medians = {name: sorted(values)[10] for name, values in errors.items()}
    assert medians["sparsegpt"] < medians["wanda"] < medians["magnitude"]


@pytest.mark.parametrize("prune", [prune_wanda, prune_sparsegpt])
def test_errors_come_in_order_and_leave_the_model_alone(mistral, prune, calibration):
    first = linear_maps(mistral)[0].weight.clone()
    with pytest.raises(CompressionError, match="not inside"):
        prune(mistral, 1.0, ())
    with pytest.raises(CompressionError, match="not a pattern"):
        prune(mistral, (4, 4), ())
    with pytest.raises(CompressionError, match="no linear layers"):
        prune(nn.Sequential(nn.Embedding(4, 4)), 0.5, ())
    with pytest.raises(CompressionError, match="calibration set is empty"):
        prune(mistral, 0.5, ())
    last = linear_maps(mistral)[-1]
    last.weight[0, 0] = float("nan")
    with pytest.raises(CompressionError, match="NaN or infinite"):
        prune(mistral, 0.5, calibration)
    assert torch.equal(linear_maps(mistral)[0].weight, first)


def test_activations_that_are_not_finite_are_refused_by_name(mistral, calibration):
    mistral.model.embed_tokens.weight.data[:] = float("inf")
    with pytest.raises(CompressionError, match=r"model\.layers\.0\.self_attn\.q_proj"):
        prune_wanda(mistral, 0.5, calibration)
    with pytest.raises(CompressionError, match=r"model\.layers\.0\.self_attn\.q_proj are NaN"):
        prune_sparsegpt(mistral, 0.5, calibration)


def test_a_map_that_no_token_reaches_is_named(mistral, calibration):
    mistral.model.layers[0].mlp.idle = nn.Linear(64, 64)
    with pytest.raises(CompressionError, match=r"no calibration token reaches model\.layers\.0\.mlp\.idle"):
        prune_wanda(mistral, 0.5, calibration)
