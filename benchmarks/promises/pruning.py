"""Pruning does what its papers say, and SparseGPT takes no longer than the paper's own loop.

Prints the median error of one layer over draws with features of very different size, ‖X (W − Ŵ)ᵀ‖ / ‖X Wᵀ‖, for
magnitude, Wanda and SparseGPT at 50 %, 2:4 and 4:8; and the time of SparseGPT on one matrix against a plain
implementation of the paper's algorithm, both in turn, in random order. The exit status is 1 where a promise does not
hold. Run: python -m benchmarks.promises.pruning
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from tabulate import tabulate

from energyaware.compression.masks import Amount, group_mask, magnitude_mask, n_m_mask
from energyaware.compression.pruning import wanda_mask
from energyaware.compression.sparsegpt import sparsegpt

AMOUNTS: dict[str, Amount] = {"50 %": 0.5, "2:4": (2, 4), "4:8": (4, 8)}
_HEADS = ("amount", "draws", "magnitude", "Wanda", "SparseGPT", "in order")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables; the exit status is 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20, help="layers drawn for the errors (20)")
    parser.add_argument("--inputs", type=int, default=256, help="inputs of these layers (256)")
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the timed matrix (4096); 0: none")
    parser.add_argument("--pairs", type=int, default=5, help="timed pairs (5)")
    options = parser.parse_args(arguments)
    rows = [layer_errors(name, amount, options.draws, options.inputs) for name, amount in AMOUNTS.items()]
    print(tabulate(rows, _HEADS, tablefmt="github", floatfmt=".4f"))
    kept = all(row[-1] == "yes" for row in rows)
    if options.size:
        print()
        for name in ("50 %", "2:4"):
            ratios, ours, plain = timing(AMOUNTS[name], options.size, options.pairs)
            ratio = math.exp(statistics.fmean(map(math.log, ratios)))
            print(
                f"{name}, {options.size} × {options.size}, {len(ratios)} interleaved pairs: ours "
                f"{statistics.median(ours):.2f} s, plain {statistics.median(plain):.2f} s, ratio {ratio:.2f} "
                f"(from {min(ratios):.2f} to {max(ratios):.2f})"
            )
            kept &= ratio <= 1
    print("\nAll promises hold." if kept else "\nA promise DOES NOT HOLD.")
    return 0 if kept else 1


def layer_errors(name: str, amount: Amount, draws: int, inputs: int) -> tuple[object, ...]:
    """One row: the median relative output error of each method."""
    errors: dict[str, list[float]] = {"magnitude": [], "wanda": [], "sparsegpt": []}
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        mixing = torch.eye(inputs) + torch.randn(inputs, inputs, generator=generator) / inputs**0.5
        scales = torch.exp(torch.randn(inputs, generator=generator))
        x = torch.randn(4 * inputs, inputs, generator=generator) @ mixing * scales
        weight = torch.randn(inputs // 2, inputs, generator=generator)
        mask = n_m_mask(weight, *amount) if isinstance(amount, tuple) else magnitude_mask(weight, amount)
        results = {
            "magnitude": weight * mask,
            "wanda": weight * wanda_mask(weight, x.norm(dim=0), amount),
            "sparsegpt": sparsegpt(weight, x.T @ x, amount),
        }
        for method, result in results.items():
            errors[method].append(float((x @ (weight - result).T).norm() / (x @ weight.T).norm()))
    medians = [statistics.median(values) for values in errors.values()]
    in_order = medians[2] <= medians[1] <= medians[0]
    return (name, draws, *medians, "yes" if in_order else "NO")


def timing(amount: Amount, size: int, pairs: int) -> tuple[list[float], list[float], list[float]]:
    """Ratios of each pair, and the seconds of ours and of the plain one; the first pair warms up and is dropped."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(size, size, generator=generator)
    x = torch.randn(2 * size, size, generator=generator) * torch.exp(torch.randn(size, generator=generator))
    hessian = x.T @ x
    order = random.Random(0)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "ours": lambda: sparsegpt(weight, hessian, amount),
        "plain": lambda: plain_sparsegpt(weight, hessian, amount),
    }
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(pairs + 1):
        for name in order.sample(sorted(calls), 2):
            begin = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - begin)
    ours, plain = seconds["ours"][1:], seconds["plain"][1:]
    return [mine / other for mine, other in zip(ours, plain, strict=True)], ours, plain


def plain_sparsegpt(
    weight: torch.Tensor, hessian: torch.Tensor, amount: Amount, block_size: int = 128, damping: float = 0.01
) -> torch.Tensor:
    """Algorithm 1 of Frantar & Alistarh 2023 as it is printed, one column after the other, in fp32."""
    weight, hessian = weight.clone(), hessian.clone()
    hessian.diagonal().add_(damping * hessian.diagonal().mean())
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    for start in range(0, weight.shape[1], block_size):
        stop = min(start + block_size, weight.shape[1])
        block, factor = weight[:, start:stop].clone(), inverse[start:stop, start:stop]
        errors = torch.zeros_like(block)
        mask = torch.ones_like(block, dtype=torch.bool)
        if not isinstance(amount, tuple):
            scores = (block / factor.diagonal()).square()
            mask = scores > scores.flatten().kthvalue(int(amount * scores.numel())).values
        for column in range(stop - start):
            if isinstance(amount, tuple) and column % amount[1] == 0:
                group = slice(column, column + amount[1])
                mask[:, group] = group_mask((block[:, group] / factor.diagonal()[group]).square(), *amount)
            values = block[:, column]
            errors[:, column] = torch.where(mask[:, column], 0.0, values) / factor[column, column]
            block[:, column:] -= errors[:, column, None] * factor[column, column:]
        weight[:, start:stop] = block * mask
        weight[:, stop:] -= errors @ inverse[start:stop, stop:]
    return weight


if __name__ == "__main__":
    raise SystemExit(main())
