"""Numbers as people read them, and back."""

from __future__ import annotations

import math

ABSENT = "–"
JOULES_PER_KWH = 3.6e6

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def si(value: float | None, unit: str, digits: int = 3) -> str:
    """`value` with an SI prefix and `digits` significant digits: `si(0.0123, "J")` is `12.3 mJ`; None is `–`."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return f"0 {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), _PREFIXES[-1])
    # 999.7 rounds to 1000 with three digits: let it carry into the next prefix.
    if float(f"{abs(value) / scale:.{digits}g}") >= 1000 and scale < _PREFIXES[0][0]:
        index = [s for s, _ in _PREFIXES].index(scale)
        scale, prefix = _PREFIXES[index - 1]
    number = value / scale
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(float(f"{number:.{digits}g}")))))
    return f"{number:.{decimals}f} {prefix}{unit}"


def percent(ratio: float | None, digits: int = 1, signed: bool = False) -> str:
    """A ratio as percent: `percent(0.123)` is `12.3 %`; None is `–`."""
    if ratio is None or not math.isfinite(ratio):
        return ABSENT
    return f"{ratio * 100:{'+' if signed else ''}.{digits}f} %"


def fixed(value: float | None, digits: int = 3) -> str:
    """A plain number with fixed decimals; None is `–`."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def kwh(energy_j: float) -> float:
    """Joules as kilowatt-hours."""
    return energy_j / JOULES_PER_KWH


def joules(energy_kwh: float) -> float:
    """Kilowatt-hours as joules."""
    return energy_kwh * JOULES_PER_KWH
