from __future__ import annotations

import pytest
import torch
from torch import nn

from energyaware.compression import semi_structured
from energyaware.compression.linear import LinearMap, convert_to_linear, linear_maps
from energyaware.compression.pruning import prune_n_m
from energyaware.compression.semi_structured import is_2_of_4, pack_semi_structured, reason_for_dense


class OnGpu(torch.Tensor):
    """A tensor that says it lies on a GPU."""

    @property
    def device(self):
        return torch.device("cuda")


def on_gpu(weight):
    return LinearMap("block.0.up", _linear(weight.as_subclass(OnGpu)))


def _linear(weight):
    module = nn.Linear(1, 1)
    module.weight = nn.Parameter(weight, requires_grad=False)
    return module


def pattern(rows=32, columns=64, dtype=torch.bfloat16):
    return torch.tensor([1, 0, 0, 2] * (columns // 4)).repeat(rows, 1).to(dtype)


def test_what_the_kernels_can_take():
    assert reason_for_dense(on_gpu(pattern())) is None
    assert reason_for_dense(on_gpu(pattern(dtype=torch.float16))) is None


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (pattern(dtype=torch.float32), "fp16 or bf16"),
        (pattern(rows=48), "no multiple of 32 × 64"),
        (pattern(columns=32), "no multiple of 32 × 64"),
        (torch.ones(32, 64, dtype=torch.bfloat16), "two zeros"),
    ],
)
def test_what_they_cannot_take_has_a_reason(weight, reason):
    assert reason in reason_for_dense(on_gpu(weight))


def test_on_a_cpu_everything_stays_dense_with_the_reason(gpt2, ids):
    prune_n_m(gpt2, 2, 4)
    convert_to_linear(gpt2)
    gpt2.bfloat16()
    expected = gpt2(ids).logits
    packed, dense = pack_semi_structured(gpt2)
    assert packed == ()
    assert list(dense) == [linear_map.name for linear_map in linear_maps(gpt2)]
    assert set(dense.values()) == {"sparse kernels need a CUDA device, not cpu"}
    assert torch.equal(gpt2(ids).logits, expected)


def test_maps_that_fit_are_replaced_and_a_refusal_of_torch_is_kept_as_the_reason(mistral, ids, monkeypatch):
    prune_n_m(mistral, 2, 4)
    expected = mistral(ids).logits
    monkeypatch.setattr(
        semi_structured,
        "reason_for_dense",
        lambda linear_map: None if "mlp" in linear_map.name else "attention stays",
    )

    def convert(weight):
        if weight.shape[1] == 128:
            raise RuntimeError("no sparse kernels\nin this build")
        assert is_2_of_4(weight)
        return weight.clone()

    packed, dense = pack_semi_structured(mistral, convert)
    assert list(packed) == [f"model.layers.{block}.mlp.{name}_proj" for block in (0, 1) for name in ("gate", "up")]
    assert dense["model.layers.0.mlp.down_proj"] == "no sparse kernels"
    assert dense["model.layers.0.self_attn.q_proj"] == "attention stays"
    assert torch.equal(mistral(ids).logits, expected)


def test_two_of_four():
    assert is_2_of_4(torch.zeros(2, 8))
    assert not is_2_of_4(torch.tensor([[1.0, 1, 1, 0]]))
    assert not is_2_of_4(torch.zeros(2, 6))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_the_same_with_packed_weights():
    torch.manual_seed(0)
    dense = nn.Linear(256, 128, dtype=torch.bfloat16, device="cuda")
    model = nn.Sequential()
    model.add_module("layers", nn.ModuleList([dense]))
    prune_n_m(model, 2, 4)
    x = torch.randn(64, 256, dtype=torch.bfloat16, device="cuda")
    expected = dense(x)
    assert pack_semi_structured(model) == (("layers.0",), {})
    torch.testing.assert_close(dense(x), expected, rtol=2e-2, atol=2e-2)
