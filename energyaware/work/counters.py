"""Count the floating-point operations of a call from the shapes that pass through it.

PyTorch's own counter sees neither bitsandbytes' linear modules nor attention on the CPU, so linear maps are counted by
forward hooks and attention by watching the calls of `scaled_dot_product_attention`, of 4-dimensional `matmul`, and of
`bmm` and `baddbmm`, in which batch and heads are folded into one dimension.

What counts (a multiply-add is two operations):
- a linear map: 2 · rows · inputs · outputs. Biases are left out. The dtype plays no part: nf4 counts as fp32.
- attention, per layer: 4 · batch · query heads · query length · key length · head dimension, for the full rectangle:
  the half that a causal mask hides is not subtracted.
- embeddings, norms, activations, softmax and rotary angles: nothing.
Zeroed weights count in full, because they run through dense kernels. Not seen: experts computed by one grouped product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

from energyaware.errors import ModelError
from energyaware.records import Work
from energyaware.work.storage import weight_bytes
from energyaware.work.traffic import watch

_COUNTED_ATTENTION = ("eager", "sdpa")


def count(model: nn.Module, call: Callable[[], object]) -> Work:
    """Run `call` once and count it.

    Args:
        model: the model that `call` runs, any number of times.
        call: takes no arguments; what it returns is dropped.

    Returns:
        Work with `flops`, `kv_bytes` and `read_bytes` of this call and `weight_bytes` as stored; who knows tokens and
        requests fills those in. See `energyaware.work.traffic` for what counts as read.

    Raises:
        ModelError: the model computes attention in a way that is not counted.
    """
    with watch(model) as traffic:
        operations = flops(model, call)
    return Work(
        flops=operations,
        weight_bytes=weight_bytes(model),
        kv_bytes=traffic.kv_bytes,
        read_bytes=traffic.read_bytes,
    )


def flops(model: nn.Module, call: Callable[[], object]) -> int:
    """Floating-point operations of `call`, by the rules above. Exact and the same on every machine.

    Raises:
        ModelError: the model computes attention in a way that is not counted.
    """
    implementation = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if implementation is not None and implementation not in _COUNTED_ATTENTION:
        raise ModelError(
            f"attention implementation {implementation!r} cannot be counted",
            f"load the model with attn_implementation set to one of: {', '.join(_COUNTED_ATTENTION)}",
        )
    attention = _AttentionCounter()
    with _linear_counter(model) as linear_flops, attention:
        call()
    return sum(linear_flops) + attention.flops


class _AttentionCounter(TorchFunctionMode):
    """Adds up the products of two activations: 4-dimensional (batch, heads, rows, columns), or heads folded away."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is nn.functional.scaled_dot_product_attention:
            query, key, value = _first_tensors({**dict(enumerate(args)), **(kwargs or {})})
            batch, heads, q_length, head_dim = query.shape
            self.flops += 2 * batch * heads * q_length * key.shape[-2] * (head_dim + value.shape[-1])
        elif func in _MATMULS and args[0].ndim == 4 and args[1].ndim == 4:
            self.flops += 2 * result.numel() * args[0].shape[-1]
        elif func in _BATCHED:
            position, name = _BATCHED[func]
            left = args[position] if len(args) > position else (kwargs or {})[name]
            self.flops += 2 * result.numel() * left.shape[-1]
        return result


# Where the left factor stands, by position and by name.
_BATCHED = {
    torch.bmm: (0, "input"),
    torch.Tensor.bmm: (0, "input"),
    torch.baddbmm: (1, "batch1"),
    torch.Tensor.baddbmm: (1, "batch1"),
}
_MATMULS = (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__)


def _first_tensors(named: dict[Any, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    query, key, value = (
        named[position] if position in named else named[name] for position, name in enumerate(("query", "key", "value"))
    )
    return query, key, value


@contextmanager
def _linear_counter(model: nn.Module) -> Iterator[list[int]]:
    counted: list[int] = []

    def hook(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        # The output's last dimension is the number of outputs, whatever the weight is packed into.
        counted.append(2 * output.numel() * inputs[0].shape[-1])

    handles = [
        module.register_forward_hook(hook) for module in model.modules() if isinstance(module, (nn.Linear, Conv1D))
    ]
    try:
        yield counted
    finally:
        for handle in handles:
            handle.remove()
