"""Masks by magnitude, unstructured and N:M, and their use on the linear maps of a model's blocks.

A mask is True where the weight stays. The zeros run through dense kernels: they cost what the weights cost.
Sources: Han et al. 2015 (magnitude), Mishra et al. 2021 (2:4 along the input dimension), and Sun et al. 2024 (Wanda)
for comparing within each layer rather than over the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from energyaware.compression.linear import LinearMap, linear_maps
from energyaware.errors import CompressionError


def magnitude_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Drop the `sparsity` share of smallest absolute values of one matrix.

    Exactly floor(sparsity · elements) are dropped; among equal values the first in row-major order go first.

    Args:
        weight: any shape, floating point.
        sparsity: share that becomes zero, inside (0, 1).

    Returns:
        Boolean tensor of the same shape.

    Raises:
        CompressionError: sparsity outside (0, 1), or weights that are not finite.
    """
    check_sparsity(sparsity)
    _check_finite(weight, "the weight")
    scores = weight.abs().flatten()
    dropped = math.floor(sparsity * scores.numel())
    keep = torch.ones(scores.numel(), dtype=torch.bool, device=weight.device)
    if dropped:
        threshold = torch.kthvalue(scores, dropped).values
        keep[scores < threshold] = False
        ties = (scores == threshold).nonzero().flatten()
        still_to_drop = dropped - int((~keep).sum())
        keep[ties[:still_to_drop]] = False
    return keep.view(weight.shape)


def n_m_mask(weight: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Keep the `n` largest absolute values of every `m` consecutive inputs.

    Args:
        weight: outputs × inputs; the number of inputs must be a multiple of `m`.
        n: weights kept in each group; among equal values the first are kept.
        m: size of a group.

    Returns:
        Boolean tensor of the same shape with exactly `n` True in each group.

    Raises:
        CompressionError: not 0 < n < m, inputs not divisible by m, or weights that are not finite.
    """
    check_pattern(n, m)
    _check_finite(weight, "the weight")
    if weight.ndim != 2 or weight.shape[1] % m:
        raise CompressionError(
            f"{n}:{m} needs a matrix whose number of inputs is a multiple of {m}, not the shape {tuple(weight.shape)}",
            "choose an unstructured sparsity such as magnitude-50 for this model",
        )
    groups = weight.abs().reshape(-1, m).T.contiguous()
    # Ranks by comparing all pairs of a group: for m = 4 about four times as fast as sorting each group.
    rank = torch.zeros(groups.shape, dtype=torch.uint8, device=weight.device)
    for later in range(m):
        for earlier in range(later):
            earlier_wins = groups[earlier] >= groups[later]
            rank[later] += earlier_wins
            rank[earlier] += ~earlier_wins
    return (rank < n).T.reshape(weight.shape)


def prune_magnitude(model: nn.Module, sparsity: float) -> None:
    """Zero the `sparsity` share of smallest weights of every linear map in the blocks, layer by layer, in place.

    Raises:
        CompressionError: see `magnitude_mask`; or the model has no linear layers, or is quantized already.
    """
    check_sparsity(sparsity)
    _prune(model, lambda weight: magnitude_mask(weight, sparsity))


def prune_n_m(model: nn.Module, n: int, m: int) -> None:
    """Keep the `n` largest of every `m` consecutive inputs in every linear map in the blocks, in place.

    Every layer is checked before the first is changed.

    Raises:
        CompressionError: see `n_m_mask`; or the model has no linear layers, or is quantized already.
    """
    check_pattern(n, m)
    for linear_map in linear_maps(model):
        inputs = linear_map.weight.shape[-1]
        if inputs % m:
            raise CompressionError(
                f"{linear_map.name} has {inputs} inputs, not a multiple of {m}, so {n}:{m} does not fit",
                "choose an unstructured sparsity such as magnitude-50 for this model",
            )
    _prune(model, lambda weight: n_m_mask(weight, n, m))


def check_sparsity(sparsity: float) -> None:
    """Refuse a share outside (0, 1)."""
    if not 0 < sparsity < 1:
        raise CompressionError(f"sparsity {sparsity} is not inside (0, 1)", "give a share such as 0.5")


def check_pattern(n: int, m: int) -> None:
    """Refuse an N:M pattern that is not 0 < n < m."""
    if not 0 < n < m:
        raise CompressionError(f"{n}:{m} is not a pattern with 0 < n < m", "use 2:4 or 4:8")


def _prune(model: nn.Module, mask_of: Callable[[torch.Tensor], torch.Tensor]) -> None:
    maps = linear_maps(model)
    for linear_map in maps:
        _check_prunable(linear_map)
    with torch.no_grad():
        for linear_map in maps:
            weight = linear_map.weight
            weight.masked_fill_(~mask_of(weight), 0)


def _check_prunable(linear_map: LinearMap) -> None:
    if not linear_map.weight.is_floating_point():
        raise CompressionError(
            f"{linear_map.name} holds {linear_map.weight.dtype} weights, which cannot be masked",
            "prune first and quantize afterwards",
        )
    _check_finite(linear_map.weight, linear_map.name)


def _check_finite(weight: torch.Tensor, name: str) -> None:
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise CompressionError(
            f"{name} holds {bad} of {weight.numel()} weights that are NaN or infinite",
            "train or download the model again: no mask can be chosen from such weights",
        )
