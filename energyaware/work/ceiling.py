"""What a machine can do at most, measured once and kept: the ceiling against which a row's rates are shares.

One figure for memory would give shares above 100 %: a set that fits the processor's caches is read several times
faster than one that does not. So reading is measured by working-set size, and a row is compared with its own size.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from energyaware.paths import writable_dir
from energyaware.progress import Progress, silent
from energyaware.records import Ceiling
from energyaware.work import peaks

VERSION = 1
"""Raised whenever the way of measuring changes: older files are measured anew."""

# Named or not depending on what is loaded, and no part of what is measured.
_IRRELEVANT = frozenset({"python", "transformers", "bitsandbytes"})


@dataclass(frozen=True)
class MachinePeaks:
    """Measured peaks of one device.

    Attributes:
        flops_per_s: dtype to rate of matrix products; a dtype that the device cannot multiply is absent.
        bytes_per_s: pairs of working-set bytes and rate of reading, rising in bytes.
    """

    flops_per_s: Mapping[str, float] = field(default_factory=dict)
    bytes_per_s: tuple[tuple[int, float], ...] = ()


def machine_peaks(
    machine: Mapping[str, str], device: str, dtypes: Iterable[str], folder: Path, progress: Progress = silent
) -> MachinePeaks:
    """The peaks of this device for these dtypes: from the cache, and what is not there is measured, in seconds.

    A file is good for one description of the machine, device, number of threads, version of torch, precision of fp32
    products on a GPU, and way of measuring. Versions of other software play no part. A damaged file is measured anew
    and replaced.

    Args:
        machine: what the machine is; any change of it measures anew.
        device: a torch device.
        dtypes: `fp32 bf16 fp16 int8`.
        folder: the cache; files go to `ceilings/` inside.

    Raises:
        CacheError: the cache cannot be written.
    """
    conditions = {
        **{name: value for name, value in machine.items() if name not in _IRRELEVANT},
        "device": device,
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
        "float32 products": torch.get_float32_matmul_precision(),
    }
    digest = hashlib.sha256(json.dumps([VERSION, conditions], sort_keys=True).encode()).hexdigest()
    path = writable_dir(folder / "ceilings", "cache") / f"{digest[:16]}.json"
    stored = _read(path, conditions)
    rates: dict[str, float | None] = dict(stored[0]) if stored else {}
    reads = stored[1] if stored else ()
    missing = [dtype for dtype in dict.fromkeys(dtypes) if dtype not in rates]
    steps = len(missing) + (not reads)
    done = 0
    for dtype in missing:
        progress("ceiling", done, steps, f"{dtype} products")
        rates[dtype] = peaks.product_rate(dtype, device)
        done += 1
    if not reads:
        progress("ceiling", done, steps, "memory")
        reads = peaks.read_rates(device)
        done += 1
    if done:
        _write(path, {"version": VERSION, "conditions": conditions, "flops_per_s": rates, "bytes_per_s": reads})
        progress("ceiling", steps, steps)
    return MachinePeaks({dtype: rate for dtype, rate in rates.items() if rate is not None}, reads)


def ceiling_of(machine: MachinePeaks, compute_dtype: str, working_set_bytes: int | None) -> Ceiling:
    """The ceiling of one row.

    Args:
        compute_dtype: what its products are computed in; several joined by `+` (a quantized model's head stays in
            floating point) give the fastest of them, the only bound that holds for the mixture.
        working_set_bytes: what one forward pass reads; None leaves the rate of reading open.

    Returns:
        `flops_per_s` is None where one of the dtypes has no measured peak. `bytes_per_s` lies between the rates of the
        neighbouring measured sizes on log scales, and never below that of a larger size; beyond the ends the nearest
        measured size counts.
    """
    rates = [machine.flops_per_s.get(dtype) for dtype in compute_dtype.split("+")]
    known = [rate for rate in rates if rate is not None]
    return Ceiling(
        flops_per_s=max(known) if known and len(known) == len(rates) else None,
        bytes_per_s=_read_rate(machine.bytes_per_s, working_set_bytes),
    )


def _read_rate(measured: tuple[tuple[int, float], ...], size: int | None) -> float | None:
    if not measured or size is None or size < 1:
        return None
    sizes = [size for size, _ in measured]
    # What can be read of a large set can be read of a smaller one: a dip there is a disturbed or clumsy measurement.
    rates = [max(rate for _, rate in measured[index:]) for index in range(len(measured))]
    if size <= sizes[0]:
        return rates[0]
    for index in range(1, len(sizes)):
        if size <= sizes[index]:
            share = math.log(size / sizes[index - 1]) / math.log(sizes[index] / sizes[index - 1])
            return float(rates[index - 1] ** (1 - share) * rates[index] ** share)
    return rates[-1]


def _read(
    path: Path, conditions: Mapping[str, str]
) -> tuple[dict[str, float | None], tuple[tuple[int, float], ...]] | None:
    """What a file holds, or None where there is none or any part of it is not as `_write` leaves it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rates = {str(dtype): None if rate is None else _rate(rate) for dtype, rate in data["flops_per_s"].items()}
        reads = tuple((_size(size), _rate(rate)) for size, rate in data["bytes_per_s"])
        rising = all(low < high for (low, _), (high, _) in pairwise(reads))
        as_written = data["version"] == VERSION and data["conditions"] == conditions and rising
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (rates, reads) if as_written else None


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} is no rate")
    return float(value)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is no size")
    return value


def _write(path: Path, data: Mapping[str, Any]) -> None:
    # Two runs may measure at once: each replaces the whole file.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False) as stream:
        json.dump(data, stream, indent=1)
    Path(stream.name).replace(path)
