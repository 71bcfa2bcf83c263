"""How near a row comes to what its machine can do: model FLOPs and model bandwidth utilisation. Needs no torch.

MFU = FLOPs / (duration · peak FLOP/s), after Chowdhery et al. (2022), “PaLM”, appendix B. MBU = bytes that must be
read / (duration · peak bytes/s), after Databricks (2023), “LLM inference performance engineering: best practices”. Both
count work that the task needs and not what an implementation spends, so padding or a second pass does not raise them.
"""

from __future__ import annotations

import math

from energyaware.records import Ceiling, Work


def mfu(work: Work, duration_s: float | None, ceiling: Ceiling) -> float | None:
    """Share of the peak rate of operations, 0 to 1, or None where a part is unknown.

    Args:
        work: of one call.
        duration_s: of one call.
        ceiling: of the machine, in the row's compute dtype.
    """
    return _share(work.flops, duration_s, ceiling.flops_per_s)


def mbu(work: Work, duration_s: float | None, ceiling: Ceiling) -> float | None:
    """Share of the peak rate of reading at the row's working-set size, 0 to 1, or None where a part is unknown.

    Args:
        work: of one call.
        duration_s: of one call.
        ceiling: of the machine, at the row's working-set size.
    """
    return _share(work.read_bytes, duration_s, ceiling.bytes_per_s)


def _share(amount: int | None, duration_s: float | None, per_s: float | None) -> float | None:
    if amount is None or duration_s is None or per_s is None:
        return None
    if not (_is_positive(duration_s) and _is_positive(per_s)):
        return None
    return amount / duration_s / per_s


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0
