"""The names of variants: which precisions and prunings exist, their ids, their titles, and the quick grid.

Ids hold no `%` and no `:`, so they work in `-k` expressions and file names; titles are what tables show.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from energyaware.errors import CompressionError
from energyaware.records import Variant

PRECISIONS = ("fp32", "bf16", "fp16", "int8", "nf4", "fp4", "int8fast", "nf4dq", "int8wo", "int8dyn")
"""`int8fast` is bitsandbytes' int8 without the search for outliers, `nf4dq` nf4 with quantized scales, `int8wo` and
`int8dyn` are torchao's weight-only and dynamic int8; see `energyaware.compression.quantization.SCHEMES`."""

CALIBRATED = ("wanda", "sparsegpt")
"""Methods that need calibration data."""

MASKS = ("magnitude", *CALIBRATED)
"""Methods that leave zeros in matrices of the same size."""

_STRUCTURES = ("width", "heads", "depth")

METHODS = ("dense", *MASKS, *_STRUCTURES)
"""Ways of pruning that are built in."""

RECOVERED = "-recovered"
"""Ends the name of a pruning after which the model is trained again, its zeros kept."""

_EXAMPLES = "dense, magnitude-50, 2of4, wanda-50, sparsegpt-4of8, width-50, heads-50, depth-50, depth-50-recovered"


@dataclass(frozen=True, slots=True)
class Pruning:
    """A pruning's name, taken apart.

    Attributes:
        method: one of `METHODS`, or the name of another plugin's compression.
        percent: share that goes, where the name gives one.
        pattern: (n, m) of an N:M pattern: n kept of every m.
        recovered: whether the pruned model was trained again.
    """

    method: str
    percent: int | None = None
    pattern: tuple[int, int] | None = None
    recovered: bool = False

    @property
    def name(self) -> str:
        """The short name, as in ids: magnitude is left out before a pattern."""
        if self.pattern is not None:
            joined = "{}of{}".format(*self.pattern)
            name = joined if self.method == "magnitude" else f"{self.method}-{joined}"
        else:
            name = self.method if self.percent is None else f"{self.method}-{self.percent}"
        return f"{name}{RECOVERED}" if self.recovered else name

    @property
    def title(self) -> str:
        """What tables show: `2:4`, `50 %`, `depth 50 %, recovered`, `dense`."""
        if self.percent is None and self.pattern is None:
            return self.method
        amount = "{}:{}".format(*self.pattern) if self.pattern is not None else f"{self.percent} %"
        title = amount if self.method == "magnitude" else f"{self.method} {amount}"
        return f"{title}, recovered" if self.recovered else title


def parse_pruning(name: str, offered: Collection[str] = ()) -> Pruning:
    """Take a pruning's name apart: `dense`, `wanda-50`, `2of4` (the same as `magnitude-2of4`), `depth-50`, and so on,
    each but `dense` also with `-recovered` behind it.

    Args:
        offered: names of other plugins' compressions.

    Raises:
        CompressionError: unknown method, a share outside 1 to 99 percent, or a pattern without 0 < n < m.
    """
    if name == "dense":
        return Pruning("dense")
    if name in offered:
        return Pruning(name)
    plain = name.removesuffix(RECOVERED)
    recovered = plain != name
    found = re.fullmatch(r"(?:([a-z]+)-)?(?:(\d+)of(\d+)|(\d+))", plain, flags=re.ASCII)
    if found is None:
        raise CompressionError(f"unknown pruning {name!r}", _known(offered))
    method, n, m, percent = found.groups()
    if percent is not None and method in (*MASKS, *_STRUCTURES):
        if not 0 < int(percent) < 100:
            raise CompressionError(f"pruning {name!r} takes {percent} % away", "give a whole percentage from 1 to 99")
        return Pruning(method, percent=int(percent), recovered=recovered)
    if n is not None and method in (None, *MASKS):
        if not 0 < int(n) < int(m):
            raise CompressionError(f"pruning {name!r} is not a pattern with 0 < n < m", "use 2of4 or 4of8")
        return Pruning(method or "magnitude", pattern=(int(n), int(m)), recovered=recovered)
    raise CompressionError(f"unknown pruning {name!r}", _known(offered))


def _known(offered: Collection[str]) -> str:
    return f"use a name such as: {', '.join((_EXAMPLES, *offered))}"


def pruning_title(name: str) -> str:
    """What tables show for a pruning: `2:4`, `50 %`, `depth 50 %`, `dense`.

    Raises:
        CompressionError: see `parse_pruning`.
    """
    return parse_pruning(name).title


def make_variant(model: str, precision: str = "fp32", pruning: str = "dense", offered: Collection[str] = ()) -> Variant:
    """A variant with checked and shortened names, so that one variant has one id.

    Args:
        offered: see `parse_pruning`.

    Raises:
        CompressionError: unknown precision or pruning.
    """
    if precision not in PRECISIONS:
        raise CompressionError(f"unknown precision {precision!r}", f"use one of: {', '.join(PRECISIONS)}")
    return Variant(model, precision, parse_pruning(pruning, offered).name)


def parse_compression(name: str, offered: Collection[str] = ()) -> tuple[str, str]:
    """Precision and pruning of a compression's name, the part of a variant's id behind its model: `bf16-2of4`.

    Raises:
        CompressionError: unknown precision or pruning.
    """
    precision, dash, pruning = name.partition("-")
    variant = make_variant("", precision, pruning if dash else "dense", offered)
    return variant.precision, variant.pruning


def chosen_grid(
    models: Iterable[str], compressions: Iterable[str], offered: Collection[str] = ()
) -> tuple[Variant, ...]:
    """Each of `compressions` (`fp32`, `bf16-2of4`, …) of each model, each once.

    Args:
        offered: see `parse_pruning`.

    Raises:
        CompressionError: unknown precision or pruning.
    """
    chosen = dict.fromkeys(parse_compression(name, offered) for name in compressions)
    return tuple(Variant(model, *names) for model in models for names in chosen)


def quick_grid(models: Iterable[str]) -> tuple[Variant, ...]:
    """The nine variants of each model that touch every kind of compression within minutes on two cores."""
    return tuple(make_variant(model, precision, pruning) for model in models for precision, pruning in _QUICK)


def full_grid(models: Iterable[str]) -> tuple[Variant, ...]:
    """The variants worth comparing of each model, without those that only repeat what another shows.

    Every precision dense; every pruning in fp32, where its effect is seen alone, and in bf16, which runs it best, two
    of them also with the training that makes up for it; and for fp16, int8 and nf4 the four prunings that people deploy
    beside them.
    """
    grid = dict.fromkeys(
        (
            *((precision, "dense") for precision in PRECISIONS),
            *((precision, pruning) for precision in ("fp32", "bf16") for pruning in (*_PRUNINGS, *_RECOVERED)),
            *((precision, pruning) for precision in ("fp16", "int8", "nf4") for pruning in _DEPLOYED),
        )
    )
    return tuple(make_variant(model, precision, pruning) for model in models for precision, pruning in grid)


_PRUNINGS = (
    *(f"{method}-50" for method in MASKS),
    *(f"{method}-{pattern}" for pattern in ("2of4", "4of8") for method in MASKS),
    *(f"{method}-50" for method in _STRUCTURES),
)
_RECOVERED = (f"2of4{RECOVERED}", f"depth-67{RECOVERED}")
_DEPLOYED = ("2of4", "sparsegpt-2of4", "width-50", "depth-50")

_QUICK = (
    ("fp32", "dense"),
    ("bf16", "dense"),
    ("fp16", "dense"),
    ("int8", "dense"),
    ("nf4", "dense"),
    ("fp32", "magnitude-50"),
    ("fp32", "2of4"),
    ("fp32", "depth-50"),
    ("bf16", "2of4"),
)
