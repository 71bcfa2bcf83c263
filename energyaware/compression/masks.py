"""Masks from scores: which entries of a matrix stay. True stays; lower scores go first, ties in row-major order.

N:M patterns run along the inputs, as sparse tensor cores want them (Mishra et al. 2021, "Accelerating Sparse Deep
Neural Networks"). Where the number of inputs is no multiple of M, the last r < M inputs of a row are a group of their
own that keeps ceil(N · r / M): never a smaller share than a full group keeps.
"""

from __future__ import annotations

import math

import torch

from energyaware.errors import CompressionError

Amount = float | tuple[int, int]
"""How much goes: a share inside (0, 1), or the pattern (N, M) that keeps N of every M inputs."""


def magnitude_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Drop the `sparsity` share of smallest absolute values of one matrix (Han et al. 2015).

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
    check_finite(weight, "the weight")
    return share_mask(weight.abs(), sparsity)


def n_m_mask(weight: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Keep the `n` largest absolute values of every `m` consecutive inputs; a shorter last group keeps its part.

    Args:
        weight: outputs × inputs.
        n: weights kept in each group; among equal values the first are kept.
        m: size of a group.

    Returns:
        Boolean tensor of the same shape with exactly `n` True in each full group.

    Raises:
        CompressionError: not 0 < n < m, not a matrix, or weights that are not finite.
    """
    check_pattern(n, m)
    check_finite(weight, "the weight")
    return group_mask(weight.abs(), n, m)


def share_mask(scores: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Drop the floor(sparsity · elements) lowest scores of the whole tensor."""
    flat = scores.flatten()
    dropped = math.floor(sparsity * flat.numel())
    keep = torch.ones(flat.numel(), dtype=torch.bool, device=scores.device)
    if dropped:
        threshold = torch.kthvalue(flat, dropped).values
        keep[flat < threshold] = False
        ties = (flat == threshold).nonzero().flatten()
        still_to_drop = dropped - int((~keep).sum())
        keep[ties[:still_to_drop]] = False
    return keep.view(scores.shape)


def row_mask(scores: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Drop the floor(sparsity · inputs) lowest scores of every row, that is of every output."""
    dropped = math.floor(sparsity * scores.shape[1])
    keep = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    if dropped:
        keep.scatter_(1, scores.argsort(dim=1, stable=True)[:, :dropped], False)
    return keep


def group_mask(scores: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """Keep the `n` highest scores of every `m` consecutive inputs of each row; see the module for the last group.

    Raises:
        CompressionError: `scores` is not a matrix.
    """
    if scores.ndim != 2:
        raise CompressionError(f"{n}:{m} needs a matrix, not the shape {tuple(scores.shape)}", "give outputs × inputs")
    inputs = scores.shape[1]
    full = inputs - inputs % m
    keep = torch.empty(scores.shape, dtype=torch.bool, device=scores.device)
    keep[:, :full] = _full_groups(scores[:, :full], n, m)
    if full < inputs:
        rest = scores[:, full:]
        order = rest.argsort(dim=1, descending=True, stable=True)
        kept = order[:, : kept_in_group(n, m, inputs - full)]
        keep[:, full:] = torch.zeros_like(rest, dtype=torch.bool).scatter_(1, kept, True)
    return keep


def kept_in_group(n: int, m: int, size: int) -> int:
    """How many of the `size` ≤ m inputs of one group stay: ceil(n · size / m)."""
    return -(-n * size // m)


def _full_groups(scores: torch.Tensor, n: int, m: int) -> torch.Tensor:
    return highest_rows(scores.reshape(-1, m).T.contiguous(), n).T.reshape(scores.shape)


def highest_rows(scores: torch.Tensor, n: int) -> torch.Tensor:
    """Keep the `n` highest scores of every column, that is of every group; among equal ones the first.

    Args:
        scores: few rows × groups.
    """
    # Ranks by comparing all pairs of a group: for four rows about four times as fast as sorting each group.
    rank = torch.zeros(scores.shape, dtype=torch.int16, device=scores.device)
    rows, ranks = scores.unbind(), rank.unbind()
    for later in range(len(rows)):
        for earlier in range(later):
            earlier_wins = rows[earlier] >= rows[later]
            ranks[later].add_(earlier_wins)
            ranks[earlier].add_(earlier_wins.logical_not_())
    return rank < n


def check_amount(amount: Amount) -> None:
    """Refuse a share outside (0, 1) and a pattern that is not 0 < n < m."""
    if isinstance(amount, tuple):
        check_pattern(*amount)
    else:
        check_sparsity(amount)


def check_sparsity(sparsity: float) -> None:
    """Refuse a share outside (0, 1)."""
    if not 0 < sparsity < 1:
        raise CompressionError(f"sparsity {sparsity} is not inside (0, 1)", "give a share such as 0.5")


def check_pattern(n: int, m: int) -> None:
    """Refuse an N:M pattern that is not 0 < n < m."""
    if not 0 < n < m:
        raise CompressionError(f"{n}:{m} is not a pattern with 0 < n < m", "use 2:4 or 4:8")


def check_finite(weight: torch.Tensor, name: str) -> None:
    """Refuse weights that are NaN or infinite, by name."""
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise CompressionError(
            f"{name} holds {bad} of {weight.numel()} weights that are NaN or infinite",
            "train or download the model again: no mask can be chosen from such weights",
        )
