"""Pruning does what its papers say, and SparseGPT takes no longer than the paper's own loop.

Prints the median error of one layer over draws with features of very different size, ‖X (W − Ŵ)ᵀ‖ / ‖X Wᵀ‖, for
magnitude, Wanda and SparseGPT at 50 %, 2:4 and 4:8; and the time of SparseGPT on one matrix against a plain
implementation of the paper's algorithm, both in turn, in random order, with the error of either result. The exit status
is 1 where a promise does not hold. Run: python -m benchmarks.promises.pruning
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tabulate import tabulate

from energyaware.compression.masks import Amount, magnitude_mask, n_m_mask
from energyaware.compression.pruning import wanda_mask
from energyaware.compression.sparsegpt import sparsegpt

AMOUNTS: dict[str, Amount] = {"50 %": 0.5, "2:4": (2, 4), "4:8": (4, 8)}
ROUNDING = 0.01
"""Sums in another order choose a few other weights: that much more error is no worse pruning."""
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
            timed = timing(AMOUNTS[name], options.size, options.pairs)
            print(timed.described(name, options.size), flush=True)
            kept &= timed.kept
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


@dataclass(frozen=True)
class Timing:
    """One matrix pruned by ours and by the plain implementation, in turn.

    Attributes:
        ours_s, plain_s: seconds of each call.
        ours_error, plain_error: ‖X (W − Ŵ)ᵀ‖ / ‖X Wᵀ‖ of the results, which rounding alone tells apart.
    """

    ours_s: tuple[float, ...]
    plain_s: tuple[float, ...]
    ours_error: float
    plain_error: float

    @property
    def ratios(self) -> list[float]:
        """Ours over plain, of each pair."""
        return [mine / other for mine, other in zip(self.ours_s, self.plain_s, strict=True)]

    @property
    def ratio(self) -> float:
        """Geometric mean of the pairs' ratios."""
        return math.exp(statistics.fmean(map(math.log, self.ratios)))

    @property
    def kept(self) -> bool:
        """Whether ours takes no longer, and prunes as well."""
        return self.ratio <= 1 and self.ours_error <= self.plain_error * (1 + ROUNDING)

    def described(self, name: str, size: int) -> str:
        """One line."""
        return (
            f"{name}, {size} × {size}, {len(self.ratios)} interleaved pairs: ours {statistics.median(self.ours_s):.2f} "
            f"s, plain {statistics.median(self.plain_s):.2f} s, ratio {self.ratio:.2f} (from {min(self.ratios):.2f} to "
            f"{max(self.ratios):.2f}); error {self.ours_error:.4f}, plain {self.plain_error:.4f}"
        )


def timing(amount: Amount, size: int, pairs: int) -> Timing:
    """Prune one matrix `pairs` times by both, each pair in random order; another pair warms up and is dropped."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(size, size, generator=generator)
    x = torch.randn(2 * size, size, generator=generator) * torch.exp(torch.randn(size, generator=generator))
    hessian = x.T @ x
    order = random.Random(0)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "ours": lambda: sparsegpt(weight, hessian, amount),
        "plain": lambda: plain_sparsegpt(weight, hessian, amount),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    errors: dict[str, float] = {}
    for _ in range(pairs + 1):
        for name in order.sample(sorted(calls), 2):
            begin = time.perf_counter()
            pruned = calls[name]()
            seconds[name].append(time.perf_counter() - begin)
            if name not in errors:
                errors[name] = float((x @ (weight - pruned).T).norm() / (x @ weight.T).norm())
    return Timing(tuple(seconds["ours"][1:]), tuple(seconds["plain"][1:]), errors["ours"], errors["plain"])


@torch.no_grad()
def plain_sparsegpt(
    weight: torch.Tensor, hessian: torch.Tensor, amount: Amount, block_size: int = 128, damping: float = 0.01
) -> torch.Tensor:
    """Algorithm 1 of Frantar & Alistarh 2023 (arXiv 2301.00774), step by step as the authors' released code goes.

    Column by column, all rows at once, in fp32; it shares nothing with ours. A threshold is found without sorting all
    scores, which is in its favour. The number of inputs is a multiple of M, and M divides the block size.
    """
    weight, hessian = weight.clone(), hessian.clone()
    dead = hessian.diagonal() == 0
    hessian.diagonal()[dead] = 1
    weight[:, dead] = 0
    hessian.diagonal().add_(damping * hessian.diagonal().mean())
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    for start in range(0, weight.shape[1], block_size):
        stop = min(start + block_size, weight.shape[1])
        block, factor = weight[:, start:stop].clone(), inverse[start:stop, start:stop]
        diagonal = factor.diagonal()
        pruned, errors = torch.zeros_like(block), torch.zeros_like(block)
        drop = torch.zeros_like(block, dtype=torch.bool)
        if not isinstance(amount, tuple):
            scores = block.square() / diagonal.square()
            drop = scores <= scores.flatten().kthvalue(int(amount * scores.numel())).values
        for column in range(stop - start):
            if isinstance(amount, tuple) and column % amount[1] == 0:
                n, m = amount
                scores = block[:, column : column + m].square() / diagonal[column : column + m].square()
                drop.scatter_(1, column + scores.topk(m - n, dim=1, largest=False).indices, True)
            values = block[:, column]
            pruned[:, column] = values.masked_fill(drop[:, column], 0)
            errors[:, column] = (values - pruned[:, column]) / diagonal[column]
            block[:, column:] -= errors[:, column, None] * factor[column, column:]
        weight[:, start:stop] = pruned
        weight[:, stop:] -= errors @ inverse[start:stop, stop:]
    return weight


if __name__ == "__main__":
    raise SystemExit(main())
