"""The tensors in which a model stores its weights, bitsandbytes' packed ones and their statistics included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def weight_tensors(model: nn.Module) -> list[torch.Tensor]:
    """Every distinct tensor object that holds weights: parameters and the statistics that belong to quantized ones.

    Tied parameters come once. Two objects may share memory (bitsandbytes keeps int8 weights under two names).
    """
    return _distinct(tensor for module in model.modules() for tensor in module_tensors(module))


def stored_tensors(model: nn.Module) -> list[torch.Tensor]:
    """`weight_tensors` and the buffers."""
    return _distinct([*weight_tensors(model), *model.buffers()])


def memory_key(tensor: torch.Tensor) -> tuple[object, ...]:
    """Equal for tensors that are the same view of the same memory."""
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights as stored: packed where packed, scales and code books included, tied weights once."""
    return sum({memory_key(tensor): tensor.nbytes for tensor in weight_tensors(model)}.values())


def module_tensors(module: Any) -> Iterator[torch.Tensor | None]:
    """The tensors that hold the weights of `module` itself, without its children's; None for statistics it lacks."""
    for parameter in module.parameters(recurse=False):
        if hasattr(parameter, "__tensor_flatten__"):
            # torchao's and packed 2:4 weights are wrappers that own no memory: their parts do.
            yield from (getattr(parameter, name) for name in parameter.__tensor_flatten__()[0])
            continue
        yield parameter
        yield from (getattr(parameter, name, None) for name in ("CB", "SCB"))
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            yield from (getattr(state, name, None) for name in ("absmax", "code", "offset"))
            nested = getattr(state, "state2", None)
            yield from (getattr(nested, name, None) for name in ("absmax", "code"))
    # bitsandbytes moves the int8 statistics from the parameter to the module's state at the first call.
    int8_state = getattr(module, "state", None)
    if hasattr(int8_state, "has_fp16_weights"):
        yield from (getattr(int8_state, name) for name in ("CB", "SCB"))


def _distinct(tensors: Any) -> list[torch.Tensor]:
    return list({id(tensor): tensor for tensor in tensors if isinstance(tensor, torch.Tensor)}.values())
