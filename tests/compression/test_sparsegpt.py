from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.compression.masks import kept_in_group
from energyaware.compression.sparsegpt import Hessian, sparsegpt
from energyaware.errors import CompressionError


def reference(weight, hessian, amount, block, damping=0.01):
    """Algorithm 1 of the paper, line by line, in fp64."""
    w, h = weight.double().clone(), hessian.double().clone()
    h += damping * h.diagonal().mean() * torch.eye(len(h), dtype=torch.float64)
    inverse = torch.linalg.cholesky(torch.linalg.inv(h), upper=True)
    mask = torch.ones_like(w, dtype=torch.bool)
    for i in range(0, w.shape[1], block):
        errors = torch.zeros(w.shape[0], min(block, w.shape[1] - i), dtype=torch.float64)
        end = i + errors.shape[1]
        for j in range(i, end):
            if not isinstance(amount, tuple) and j == i:
                scores = (w[:, i:end] / inverse.diagonal()[i:end]) ** 2
                order = scores.flatten().argsort()[: int(amount * scores.numel())]
                mask[:, i:end] = torch.ones(scores.numel(), dtype=torch.bool).scatter(0, order, False).view_as(scores)
            if isinstance(amount, tuple) and (j - i) % amount[1] == 0:
                group = slice(j, min(j + amount[1], end))
                scores = (w[:, group] / inverse.diagonal()[group]) ** 2
                drop = scores.shape[1] - kept_in_group(*amount, scores.shape[1])
                mask[:, group] = torch.ones_like(scores, dtype=torch.bool).scatter(1, scores.argsort()[:, :drop], False)
            errors[:, j - i] = torch.where(mask[:, j], 0.0, w[:, j] / inverse[j, j])
            w[:, j:end] -= errors[:, j - i, None] * inverse[j, j:end]
        w[:, end:] -= errors @ inverse[i:end, end:]
    return w * mask


def problem(rows, columns, seed, tokens=300):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, columns, generator=generator) * torch.exp(torch.randn(columns, generator=generator))
    return torch.randn(rows, columns, generator=generator), x.T @ x


@given(
    rows=st.integers(1, 9),
    columns=st.integers(2, 70),
    amount=st.one_of(st.sampled_from([(2, 4), (4, 8), (1, 2), (3, 5)]), st.floats(0.1, 0.9)),
    block=st.sampled_from([16, 40, 128]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_equals_the_papers_algorithm(rows, columns, amount, block, seed):
    weight, hessian = problem(rows, columns, seed)
    if isinstance(amount, tuple):
        block = block // amount[1] * amount[1]
    expected = reference(weight, hessian, amount, block).float()
    found = sparsegpt(weight, hessian, amount, block_size=block)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(found == 0, expected == 0)


@given(columns=st.integers(1, 50), m=st.integers(2, 9), data=st.data(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_patterns_hold_in_every_group(columns, m, data, seed):
    n = data.draw(st.integers(1, m - 1))
    weight, hessian = problem(5, columns, seed)
    pruned = sparsegpt(weight, hessian, (n, m), block_size=16)
    for start in range(0, columns, m):
        group = pruned[:, start : start + m]
        assert bool(((group != 0).sum(dim=1) <= kept_in_group(n, m, group.shape[1])).all())


def test_inputs_that_are_always_zero_lose_their_weights_first():
    weight, hessian = problem(4, 16, 0)
    hessian[3] = hessian[:, 3] = 0
    pruned = sparsegpt(weight, hessian, 0.25)
    assert bool((pruned[:, 3] == 0).all())
    assert torch.isfinite(pruned).all()


def test_arguments_stay_as_they_are_and_the_scale_of_the_hessian_plays_no_part():
    weight, hessian = problem(6, 24, 1)
    kept = weight.clone(), hessian.clone()
    pruned = sparsegpt(weight, hessian, 0.5)
    assert torch.equal(weight, kept[0])
    assert torch.equal(hessian, kept[1])
    torch.testing.assert_close(sparsegpt(weight, 8 * hessian, 0.5), pruned, rtol=1e-4, atol=1e-4)


def test_dtype_is_kept():
    weight, hessian = problem(4, 8, 2)
    assert sparsegpt(weight.bfloat16(), hessian, 0.5).dtype == torch.bfloat16


def test_hessian_adds_up_over_batches():
    x = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    hessian = Hessian(6)
    hessian.add(x[:4])
    hessian.add(x[4:])
    torch.testing.assert_close(hessian.matrix, x.T @ x)
    assert hessian.tokens == 10


def test_bad_input_is_refused():
    weight, hessian = problem(4, 8, 3)
    with pytest.raises(CompressionError, match="not inside"):
        sparsegpt(weight, hessian, 1.0)
    broken = weight.clone()
    broken[0, 0] = float("nan")
    with pytest.raises(CompressionError, match=r"mlp\.up holds 1 of 32 weights"):
        sparsegpt(broken, hessian, 0.5, name="mlp.up")
    with pytest.raises(CompressionError, match="calibration inputs of the weight are NaN"):
        sparsegpt(weight, hessian * float("nan"), 0.5)
    with pytest.raises(CompressionError, match="cannot be factorised"):
        sparsegpt(weight, -hessian, 0.5)
