"""SparseGPT: one matrix pruned by its second-order error, the weights that stay make up for those that go.

Source: Frantar & Alistarh 2023, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
algorithm 1. Columns are visited left to right in blocks of 128; within a block the mask is chosen by w² / [H⁻¹]ⱼⱼ²,
each pruned weight's error is spread over the columns behind it, and the columns behind the block are updated once per
block (lazy updates). Here the same is done once more on a smaller scale: inside a block, columns beyond 16 are updated
by one matrix product instead of sixteen outer products, which changes the order of sums and nothing else.
"""

from __future__ import annotations

import torch

from energyaware.compression.masks import Amount, check_amount, check_finite, highest_rows, kept_in_group, share_mask
from energyaware.errors import CompressionError

BLOCK_SIZE = 128
DAMPING = 0.01
_STEP = 16


class Hessian:
    """Sum of x xᵀ over the inputs of one linear map, in fp32: the Hessian of its squared output error, up to a factor.

    Attributes:
        matrix: inputs × inputs.
        tokens: how many inputs were added.
    """

    def __init__(self, inputs: int, device: torch.device | str = "cpu") -> None:
        self.matrix = torch.zeros(inputs, inputs, device=device)
        self.tokens = 0

    def add(self, x: torch.Tensor) -> None:
        """Add a batch of inputs, tokens × inputs, fp32."""
        self.matrix.addmm_(x.T, x)
        self.tokens += len(x)


@torch.no_grad()
def sparsegpt(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    amount: Amount,
    *,
    block_size: int = BLOCK_SIZE,
    damping: float = DAMPING,
    name: str = "the weight",
) -> torch.Tensor:
    """Prune one matrix and adjust what stays.

    Unstructured, each block of columns loses the floor(share · its elements) weights that cost least; N:M keeps N of
    every M consecutive inputs, the last shorter group as `energyaware.compression.masks` says. Inputs that were always
    zero carry nothing: their weights go first.

    Args:
        weight: outputs × inputs; left as it is.
        hessian: inputs × inputs, any positive multiple of Σ x xᵀ; left as it is.
        amount: share inside (0, 1), or pattern (N, M).
        block_size: columns per lazy update; rounded down to a multiple of M.
        damping: this share of the Hessian's mean diagonal is added to its diagonal.
        name: of the module, for messages.

    Returns:
        outputs × inputs in the dtype of `weight`, exactly zero where pruned.

    Raises:
        CompressionError: bad amount, weights or inputs that are not finite, a Hessian that cannot be factorised.
    """
    check_amount(amount)
    check_finite(weight, name)
    if not torch.isfinite(hessian).all():
        raise CompressionError(
            f"the calibration inputs of {name} are NaN or infinite",
            "check that the dense model gives finite outputs on the calibration data",
        )
    factor = _inverse_factor(hessian, damping, name)
    # One row per input, so that every step below reads and writes memory in order.
    columns = weight.T.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    columns[hessian.diagonal() == 0] = 0
    inputs = len(columns)
    if isinstance(amount, tuple):
        block_size = max(block_size // amount[1], 1) * amount[1]
    for start in range(0, inputs, block_size):
        stop = min(start + block_size, inputs)
        errors = _prune_block(columns[start:stop], factor[start:stop, start:stop], amount)
        if stop < inputs:
            columns[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return columns.T.to(weight.dtype).contiguous()


def _prune_block(columns: torch.Tensor, factor: torch.Tensor, amount: Amount) -> torch.Tensor:
    """Prune the rows of `columns` (inputs × outputs) in place; the errors that those behind the block must take."""
    diagonal = factor.diagonal()
    squares = diagonal.square()
    errors = torch.empty_like(columns)
    step = _STEP
    if isinstance(amount, tuple):
        n, m = amount
        step = max(step // m, 1) * m
        keep = torch.empty(columns.shape, dtype=torch.bool, device=columns.device)
    else:
        scores = columns.square() / squares[:, None]
        keep = share_mask(scores.T, amount).T.contiguous()
    for start in range(0, len(columns), step):
        stop = min(start + step, len(columns))
        for index in range(start, stop):
            if isinstance(amount, tuple) and (index - start) % m == 0:
                group = slice(index, min(index + m, stop))
                scores = columns[group].square().div_(squares[group, None])
                keep[group] = highest_rows(scores, kept_in_group(n, m, len(scores)))
            row = columns[index]
            errors[index].copy_(row).masked_fill_(keep[index], 0)
            row.sub_(errors[index])  # exactly zero where dropped
            errors[index].div_(diagonal[index])
            if index + 1 < stop:
                columns[index + 1 : stop].addr_(factor[index, index + 1 : stop], errors[index], alpha=-1)
        if stop < len(columns):
            columns[stop:].addmm_(factor[start:stop, stop:].T, errors[start:stop], alpha=-1)
    return errors


def _inverse_factor(hessian: torch.Tensor, damping: float, name: str) -> torch.Tensor:
    """Upper triangular U with Uᵀ U = H⁻¹, which the paper gets as the Cholesky factor of the inverse.

    From H = R Rᵀ with R upper triangular follows U = R⁻¹: one factorisation and one triangular inverse, where inverting
    first takes two factorisations and a full inverse. R is the Cholesky factor of H read backwards.
    """
    damped = hessian.to(torch.float32, copy=True)
    diagonal = damped.diagonal()
    dead = diagonal == 0
    diagonal[dead] = 1
    diagonal += damping * diagonal[~dead].mean() if bool((~dead).any()) else damping
    lower, failed = torch.linalg.cholesky_ex(damped.flip(0, 1))
    if int(failed):
        raise CompressionError(
            f"the calibration inputs of {name} do not determine its weights (the Hessian cannot be factorised)",
            "calibrate on more tokens, or raise the damping",
        )
    upper = lower.flip(0, 1)
    identity = torch.eye(len(upper), device=upper.device)
    inverse: torch.Tensor = torch.linalg.solve_triangular(upper, identity, upper=True)
    return inverse
