"""Unstructured and N:M pruning of the linear maps in a model's blocks, by magnitude, Wanda and SparseGPT.

A mask is True where the weight stays. The zeros run through dense kernels: they cost what the weights cost, unless
`energyaware.compression.semi_structured` packs them for a GPU. Embeddings and the output head are never pruned.
Sources: Han et al. 2015 (magnitude), here within each layer rather than over the whole model; Sun et al. 2024, "A
Simple and Effective Pruning Approach for Large Language Models" (Wanda); Frantar & Alistarh 2023 (SparseGPT).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from energyaware.compression.calibration import Batch, Observer, visit_blocks
from energyaware.compression.linear import LinearMap, linear_maps, quantized_as
from energyaware.compression.masks import (
    Amount,
    check_amount,
    check_finite,
    check_pattern,
    check_sparsity,
    group_mask,
    magnitude_mask,
    n_m_mask,
    row_mask,
)
from energyaware.compression.sparsegpt import Hessian, sparsegpt
from energyaware.errors import CompressionError


def wanda_mask(weight: torch.Tensor, norms: torch.Tensor, amount: Amount) -> torch.Tensor:
    """Drop the lowest |W|ᵢⱼ · ‖Xⱼ‖₂ among the weights of each output, or within each N:M group (Sun et al. 2024).

    Args:
        weight: outputs × inputs.
        norms: ‖Xⱼ‖₂ of each input over the calibration tokens.
        amount: share inside (0, 1) of every row, or pattern (N, M).

    Returns:
        Boolean tensor of the shape of `weight`, True where the weight stays.

    Raises:
        CompressionError: bad amount; weights or norms that are not finite.
    """
    check_amount(amount)
    check_finite(weight, "the weight")
    check_finite(norms, "the list of input norms")
    scores = weight.abs() * norms
    return group_mask(scores, *amount) if isinstance(amount, tuple) else row_mask(scores, amount)


def prune_magnitude(model: nn.Module, sparsity: float) -> None:
    """Zero the `sparsity` share of smallest weights of every linear map in the blocks, layer by layer, in place.

    Raises:
        CompressionError: see `magnitude_mask`; or the model has no linear layers, or is quantized already.
    """
    check_sparsity(sparsity)
    _prune(model, lambda weight: magnitude_mask(weight, sparsity))


def prune_n_m(model: nn.Module, n: int, m: int) -> None:
    """Keep the `n` largest of every `m` consecutive inputs in every linear map in the blocks, in place.

    Raises:
        CompressionError: see `n_m_mask`; or the model has no linear layers, or is quantized already.
    """
    check_pattern(n, m)
    _prune(model, lambda weight: n_m_mask(weight, n, m))


def prune_wanda(model: nn.Module, amount: Amount, calibration: Iterable[Batch]) -> None:
    """Prune every linear map in the blocks by `wanda_mask`, block by block, in place.

    Each block is pruned by what the pruned blocks before it give.

    Args:
        model: in evaluation mode, in fp32.
        amount: share inside (0, 1), or pattern (N, M).
        calibration: batches of token ids without padding.

    Raises:
        CompressionError: bad amount, an empty calibration set, a linear map that no calibration token reaches, weights
            or activations that are not finite, no linear layers, or quantized already.
    """
    check_amount(amount)
    _check_prunable(linear_maps(model))
    squares: dict[str, torch.Tensor] = {}

    def observe(linear_map: LinearMap, x: torch.Tensor) -> None:
        squares[linear_map.name] = squares.get(linear_map.name, 0) + x.square().sum(dim=0)

    def change(_: nn.Module, maps: tuple[LinearMap, ...]) -> None:
        for linear_map in maps:
            if linear_map.name not in squares:
                raise _unreached(linear_map)
            norms = squares.pop(linear_map.name).sqrt()
            check_finite(norms, f"the list of input norms of {linear_map.name}")
            weight = linear_map.weight
            weight.masked_fill_(~wanda_mask(weight, norms, amount), 0)

    visit_blocks(model, calibration, _same(observe), change)


def prune_sparsegpt(model: nn.Module, amount: Amount, calibration: Iterable[Batch]) -> None:
    """Prune every linear map in the blocks by `sparsegpt`, block by block, in place; the weights that stay change too.

    Args and errors as in `prune_wanda`.
    """
    check_amount(amount)
    _check_prunable(linear_maps(model))
    hessians: dict[str, Hessian] = {}

    def observe(linear_map: LinearMap, x: torch.Tensor) -> None:
        if linear_map.name not in hessians:
            hessians[linear_map.name] = Hessian(x.shape[1], x.device)
        hessians[linear_map.name].add(x)

    def change(_: nn.Module, maps: tuple[LinearMap, ...]) -> None:
        for linear_map in maps:
            if linear_map.name not in hessians:
                raise _unreached(linear_map)
            hessian = hessians.pop(linear_map.name).matrix
            weight = linear_map.weight
            weight.copy_(sparsegpt(weight, hessian, amount, name=linear_map.name))

    visit_blocks(model, calibration, _same(observe), change)


def _same(observer: Observer) -> Callable[[nn.Module, tuple[LinearMap, ...]], Observer]:
    return lambda *_: observer


def _prune(model: nn.Module, mask_of: Callable[[torch.Tensor], torch.Tensor]) -> None:
    maps = linear_maps(model)
    _check_prunable(maps)
    with torch.no_grad():
        for linear_map in maps:
            weight = linear_map.weight
            weight.masked_fill_(~mask_of(weight), 0)


def _check_prunable(maps: Iterable[LinearMap]) -> None:
    for linear_map in maps:
        if quantized_as(linear_map.module) is not None or not linear_map.weight.is_floating_point():
            raise CompressionError(
                f"{linear_map.name} holds {linear_map.weight.dtype} weights, which cannot be masked",
                "prune first and quantize afterwards",
            )
        check_finite(linear_map.weight, linear_map.name)


def _unreached(linear_map: LinearMap) -> CompressionError:
    return CompressionError(
        f"no calibration token reaches {linear_map.name}",
        "calibrate on more data, or choose a pruning that needs none, such as magnitude-50",
    )
