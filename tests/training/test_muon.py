from __future__ import annotations

import pytest
import torch

from energyaware.training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(16, 16), (16, 64), (64, 16)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.02), (torch.bfloat16, 0.45)])
def test_singular_values_end_near_one(shape, dtype, tolerance):
    torch.manual_seed(0)
    found = orthogonalize(torch.randn(shape), dtype)
    assert found.dtype == torch.float32
    values = torch.linalg.svdvals(found)
    assert values[0] < 1 + tolerance
    assert values[-2] > 1 - tolerance


def test_directions_without_gradient_stay_out():
    torch.manual_seed(0)
    flat = torch.outer(torch.randn(16), torch.randn(16))
    values = torch.linalg.svdvals(orthogonalize(flat))
    assert values[0] == pytest.approx(1, abs=0.01)
    assert values[1] < 0.5


def test_singular_vectors_stay():
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(12, 12))
    matrix = u @ torch.diag(torch.linspace(1, 2, 12)) @ v
    turned = u.T @ orthogonalize(matrix) @ v.T
    assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale_of_the_gradient_is_irrelevant(scale):
    torch.manual_seed(0)
    matrix = torch.randn(8, 8)
    assert torch.allclose(orthogonalize(matrix * scale), orthogonalize(matrix), atol=1e-2)


def test_a_fused_projection_is_three_matrices():
    torch.manual_seed(0)
    gradient = torch.randn(8, 24)
    fused = torch.nn.Parameter(torch.zeros(8, 24))
    fused.grad = gradient
    Muon([{"params": [fused], "transposed": True}], lr=0.1).step()
    for part, piece in zip(fused.detach().chunk(3, 1), gradient.chunk(3, 1), strict=True):
        single = torch.nn.Parameter(torch.zeros(8, 8))
        single.grad = piece.clone()
        Muon([{"params": [single], "transposed": True}], lr=0.1).step()
        assert torch.allclose(part, single, atol=1e-3)


def test_the_layout_of_storage_is_irrelevant():
    torch.manual_seed(0)
    gradient = torch.randn(8, 32)
    conv, linear = torch.nn.Parameter(torch.zeros(8, 32)), torch.nn.Parameter(torch.zeros(32, 8))
    conv.grad, linear.grad = gradient, gradient.T.contiguous()
    Muon([{"params": [conv], "transposed": True}, {"params": [linear], "transposed": False}], lr=0.1).step()
    assert torch.allclose(conv, linear.T, atol=1e-3)


def test_weight_decay_shrinks():
    parameter = torch.nn.Parameter(torch.ones(4, 4))
    parameter.grad = torch.zeros(4, 4)
    Muon([{"params": [parameter]}], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(parameter, torch.full((4, 4), 0.95), atol=1e-6)


def test_what_has_no_gradient_stays():
    parameter = torch.nn.Parameter(torch.ones(4, 4))
    Muon([{"params": [parameter]}], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(parameter, torch.ones(4, 4))
