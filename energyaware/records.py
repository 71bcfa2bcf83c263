"""What a run stores: readings, rounds and benchmarks, frozen once made.

Raw rounds are kept; every statistic is derived when a record is read. `baselines.codec` takes them to and from JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

Source = Literal["measured", "estimated"]
RowSource = Literal["measured", "estimated", "mixed"]
Outcome = Literal["passed", "failed"]

# What neither `-k` nor a file name can hold; a slash parts owner and name of a model.
_ID_LETTERS = str.maketrans({"/": "--", "\\": "--", ":": "_", "%": "_"})


def is_valid_energy(energy_j: float) -> bool:
    """Whether a reading may be stored: positive and finite. Zero means that the meter's counter did not tick."""
    return math.isfinite(energy_j) and energy_j > 0


@dataclass(frozen=True, slots=True)
class Domain:
    """Who reads one energy domain (`cpu`, `dram`, `gpu0`, `soc`) and how.

    Attributes:
        resolution_s: shortest time that the meter can tell apart.
        detail: the model behind an estimate (`4 W per core: …`) or the counter's name.
    """

    meter: str
    source: Source
    resolution_s: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Joules per domain over one window. Every value is positive and finite: see `is_valid_energy`."""

    energy_j: Mapping[str, float]
    duration_s: float

    def __post_init__(self) -> None:
        for domain, value in self.energy_j.items():
            if not is_valid_energy(value):
                raise ValueError(f"{domain} read {value} J: not a stored number")
        if not self.energy_j:
            raise ValueError("a reading without a domain")
        if not (math.isfinite(self.duration_s) and self.duration_s > 0):
            raise ValueError(f"a reading of {self.duration_s} s")

    @property
    def total_j(self) -> float:
        """Sum over domains, in joules."""
        return sum(self.energy_j.values())


@dataclass(frozen=True, slots=True)
class Round:
    """One metered window: `calls` calls of the workload, beside one reading of the candle.

    Attributes:
        duration_s: wall time of the calls alone.
        windows: readings of the named windows opened inside the calls.
    """

    calls: int
    duration_s: float
    reading: Reading
    candle: Reading | None = None
    candle_first: bool = False
    windows: Mapping[str, Reading] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.calls < 1:
            raise ValueError(f"a round of {self.calls} calls")
        if not (math.isfinite(self.duration_s) and self.duration_s > 0):
            raise ValueError(f"a round of {self.duration_s} s")


@dataclass(frozen=True, slots=True)
class Variant:
    """Model × precision × pruning: what is ranked.

    `pruning` is `dense`, `magnitude-50`, `2of4`, `depth-50`, …: no `%` or `:`, so that ids work in `-k` and file names.
    """

    model: str
    precision: str = "fp32"
    pruning: str = "dense"

    @property
    def id(self) -> str:
        """`mini-gpt2-bf16-2of4`; `dense` is left out."""
        parts = (self.model, self.precision, "" if self.pruning == "dense" else self.pruning)
        return "-".join(part for part in parts if part).translate(_ID_LETTERS)


@dataclass(frozen=True, slots=True)
class Work:
    """Deterministic counters of one call: exact on any machine. None where nobody counted.

    Attributes:
        flops: floating-point operations of one call (a multiply-add counts as two).
        weight_bytes: bytes of weights as stored.
    """

    flops: int | None = None
    weight_bytes: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        for count in (self.flops, self.weight_bytes, self.tokens_in, self.tokens_out, self.requests):
            if count is not None and count < 0:
                raise ValueError(f"a count of {count}")


@dataclass(frozen=True)
class Benchmark:
    """Everything one benchmark of one launch recorded.

    Attributes:
        fullname: pytest node id, the key between runs.
        group: rows of one group are ranked together.
        candle: name and version of the reference workload (`matmul/1`); part of comparability.
        layout: how often the weights' place in memory was redrawn.
        discarded: invalid readings by reason; they are counted, never stored as numbers.
        quality: metric name to value over the whole test set.
        scores: metric name to one value per example, in the order of the test set.
        example_ids: what `scores` is paired by.
        fingerprints: SHA-256 of dataset, weights and benchmark source; part of comparability.
        traits: further conditions that must agree (device, weight and compute dtype).
        notes: what a reader must know (`zeros run dense`).
    """

    fullname: str
    name: str
    group: str
    task: str
    phase: str
    candle: str
    layout: str
    domains: Mapping[str, Domain]
    rounds: tuple[Round, ...] = ()
    variant: Variant | None = None
    discarded: Mapping[str, int] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    example_ids: tuple[str, ...] = ()
    trivial_quality: Mapping[str, float] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    peak_memory_bytes: int | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    outcome: Outcome = "passed"
    error: str = ""

    def __post_init__(self) -> None:
        for name, value in (*self.quality.items(), *self.trivial_quality.items()):
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}: not a stored number")
        if self.peak_memory_bytes is not None and self.peak_memory_bytes < 1:
            raise ValueError(f"a peak of {self.peak_memory_bytes} bytes")

    @property
    def row(self) -> str:
        """Name of the ranked row: the variant's id, else the test's name."""
        return self.variant.id if self.variant else self.name

    @property
    def source(self) -> RowSource | None:
        """`measured`, `estimated`, or `mixed` where domains differ; None where nothing was read."""
        sources = {domain.source for domain in self.domains.values()}
        if len(sources) > 1:
            return "mixed"
        return next(iter(sources), None)

    @property
    def meters(self) -> str:
        """Which meter reads which domain, for people and for comparability: `cpu: cpu-time, dram: cpu-time`."""
        return ", ".join(f"{name}: {domain.meter}" for name, domain in sorted(self.domains.items()))


@dataclass(frozen=True)
class Totals:
    """What the whole run cost, from start to end, in joules and CO₂e.

    Attributes:
        harness_share: share of the metered energy that went to candles, layout draws and bookkeeping.
        intensity_g_per_kwh: carbon intensity used, with its origin in `intensity_source`.
    """

    energy_j: float | None = None
    source: RowSource | None = None
    duration_s: float | None = None
    carbon_g: float | None = None
    intensity_g_per_kwh: float | None = None
    intensity_source: str = ""
    harness_share: float | None = None


@dataclass(frozen=True)
class Run:
    """One stored run as read back: the benchmarks plus the conditions they ran under."""

    benchmarks: tuple[Benchmark, ...]
    machine: Mapping[str, str]
    options: Mapping[str, Any]
    totals: Totals
    version: str
    path: str = ""
    commit: str = ""
    branch: str = ""
    dirty: bool = False
    datetime: str = ""
    interrupted: bool = False
