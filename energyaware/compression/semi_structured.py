"""2:4 sparsity that a GPU's sparse tensor cores use, through `torch.sparse.to_sparse_semi_structured`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from energyaware.compression.linear import LinearMap, linear_maps, quantized_as

_DTYPES = (torch.float16, torch.bfloat16)
# Both backends of PyTorch (cuSPARSELt and CUTLASS) take 16-bit matrices of these multiples.
_ROWS = 32
_COLUMNS = 64


def pack_semi_structured(
    model: nn.Module, convert: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Pack every 2:4 weight of the blocks for sparse tensor cores, in place; others stay dense with their zeros.

    The model computes the same with half the multiplications; it can then no longer be saved, nor its zeros counted.

    Args:
        model: `nn.Linear` weights in fp16 or bf16 on a CUDA device.
        convert: what packs one matrix; `torch.sparse.to_sparse_semi_structured` unless a test gives another.

    Returns:
        Names of the packed modules; and for each other linear map the reason why it runs dense.

    Raises:
        CompressionError: the model has no linear layers.
    """
    convert = convert or torch.sparse.to_sparse_semi_structured
    packed: list[str] = []
    dense: dict[str, str] = {}
    for linear_map in linear_maps(model):
        reason = reason_for_dense(linear_map)
        if reason is None:
            try:
                sparse = convert(linear_map.weight.contiguous())
            except RuntimeError as error:  # a GPU or a build of torch without sparse kernels
                reason = str(error).splitlines()[0]
            else:
                module: Any = linear_map.module
                module.weight = nn.Parameter(sparse, requires_grad=False)
                packed.append(linear_map.name)
        if reason is not None:
            dense[linear_map.name] = reason
    return tuple(packed), dense


def reason_for_dense(linear_map: LinearMap) -> str | None:
    """Why sparse tensor cores cannot take this linear map, or None where they can."""
    if type(linear_map.module) is not nn.Linear or quantized_as(linear_map.module) is not None:
        return f"{type(linear_map.module).__name__} is not a plain nn.Linear"
    weight = linear_map.weight
    if weight.device.type != "cuda":
        return f"sparse kernels need a CUDA device, not {weight.device.type}"
    if weight.dtype not in _DTYPES:
        return f"sparse kernels need fp16 or bf16, not {weight.dtype}"
    rows, columns = weight.shape
    if rows % _ROWS or columns % _COLUMNS:
        return f"{rows} × {columns} is no multiple of {_ROWS} × {_COLUMNS}"
    return None if is_2_of_4(weight) else "not every four inputs hold two zeros"


def is_2_of_4(weight: torch.Tensor) -> bool:
    """Whether every four consecutive inputs hold at most two weights that are not zero."""
    if weight.ndim != 2 or weight.shape[1] % 4:
        return False
    return bool(((weight != 0).reshape(weight.shape[0], -1, 4).sum(dim=-1) <= 2).all())
