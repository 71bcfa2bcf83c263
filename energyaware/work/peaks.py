"""Measure what a device can do at most: large matrix products per dtype, and reading memory by working-set size.

Best of several repetitions, because a ceiling is what the device can do undisturbed. Each figure is the best over
several shapes or kernels too: which of them a library has tuned differs from machine to machine, and a ceiling that a
model can break is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psutil
import torch

PRODUCT_SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384)
PRODUCT_LIMIT_S = 0.5
"""No product is tried that is expected to take longer."""

SMALLEST_BYTES = 2**20
LARGEST_BYTES = 2**31

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_COLUMNS = 1024
_BATCH_S = 0.002
_PRODUCT_S = 0.15
_READ_S = 0.05
_LEAST_BATCHES = 2


@torch.inference_mode()
def product_rate(dtype: str, device: str) -> float | None:
    """Best rate of square matrix products, in operations per second (a multiply-add is two).

    Floating-point dtypes go through `torch.nn.functional.linear`, as a model's linear maps do; `int8` through
    `torch._int_mm`, the kernel of bitsandbytes' int8 maps on a CPU with AVX-512.

    Args:
        dtype: `fp32`, `bf16`, `fp16` or `int8`.
        device: a torch device.

    Returns:
        None where the dtype is unknown here or this device has no kernel for it.
    """
    best = None
    room = _free_bytes(device) // 4
    for size in PRODUCT_SIZES:
        if 16 * size * size > room:
            break
        try:
            product = _product(dtype, size, device)
            if product is None:
                return None
            seconds = _best_seconds(product, device, _PRODUCT_S)
        except RuntimeError:  # torch has no more special type for a kernel that is missing on this device
            break
        best = max(best or 0.0, 2 * size**3 / seconds)
        if 8 * seconds > PRODUCT_LIMIT_S:
            break
    return best


@torch.inference_mode()
def read_rates(device: str) -> tuple[tuple[int, float], ...]:
    """Best rate of reading memory again and again, for working sets that double from 1 MiB to 2 GiB.

    A quarter of the free memory is the limit. The rates hold for sets that are read over and over, as weights are while
    decoding, so caches of the processor count where the set fits.

    Returns:
        pairs of bytes and bytes per second, rising in bytes.
    """
    limit = min(LARGEST_BYTES, _free_bytes(device) // 4)
    sizes = [2**power for power in range(20, 32) if 2**power <= limit]
    if not sizes:
        return ()
    memory = torch.ones(sizes[-1] // 4, device=device)
    return tuple(
        (size, size / min(_best_seconds(reader, device, _READ_S) for reader in _readers(memory[: size // 4])))
        for size in sizes
    )


def _product(dtype: str, size: int, device: str) -> Callable[[], object] | None:
    if dtype == "int8":
        left = torch.ones(size, size, dtype=torch.int8, device=device)
        right = torch.ones(size, size, dtype=torch.int8, device=device).t()
        return lambda: torch._int_mm(left, right)
    if dtype not in _DTYPES:
        return None
    x = torch.randn(size, size, device=device).to(_DTYPES[dtype])
    weight = torch.randn(size, size, device=device).to(_DTYPES[dtype])
    return lambda: torch.nn.functional.linear(x, weight)


def _readers(values: torch.Tensor) -> Iterator[Callable[[], object]]:
    """Ways to read `values` once and do little else: a sum, a dot product, and what a linear map does to one row."""
    half = len(values) // 2
    matrix = values.view(-1, _COLUMNS)
    row = torch.ones(1, _COLUMNS, device=values.device)
    yield values.sum
    yield lambda: torch.dot(values[:half], values[half:])
    yield lambda: torch.mv(matrix, row[0])
    yield lambda: torch.nn.functional.linear(row, matrix)


def _best_seconds(call: Callable[[], object], device: str, budget_s: float) -> float:
    """Shortest time of one call, over batches long enough for the clock and for waiting on a GPU."""
    _seconds(call, 1, device)  # the first call may load a kernel
    calls = 1
    best = _seconds(call, calls, device)
    while best * calls < _BATCH_S:
        calls *= 2
        best = min(best, _seconds(call, calls, device) / calls)
    spent = batches = 0.0
    while spent < budget_s or batches < _LEAST_BATCHES:
        seconds = _seconds(call, calls, device)
        best = min(best, seconds / calls)
        spent += seconds
        batches += 1
    return best


def _seconds(call: Callable[[], object], calls: int, device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _free_bytes(device: str) -> int:
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
