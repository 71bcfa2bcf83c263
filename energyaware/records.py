"""What a run stores: readings, rounds and benchmarks, frozen once made.

Raw rounds are kept; every statistic is derived when a record is read. `baselines.codec` takes them to and from JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

SCHEMA_VERSION = 1

Source = Literal["measured", "estimated"]
RowSource = Literal["measured", "estimated", "mixed"]
Outcome = Literal["passed", "failed"]

# What neither `-k` nor a file name can hold; a slash parts owner and name of a model.
_ID_LETTERS = str.maketrans({"/": "--", "\\": "--", ":": "_", "%": "_"})


CONTENDED_SHARE = 0.1
"""A round in which others took more than this share of the CPU's time is marked."""


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

    def above_idle_j(self, idle_w: Mapping[str, float]) -> float:
        """`total_j` without what these domains draw when nothing runs, `idle_w` watts each."""
        return self.total_j - self.duration_s * sum(idle_w.get(domain, 0.0) for domain in self.energy_j)


@dataclass(frozen=True, slots=True)
class RoundState:
    """What else the machine did during a round; None where nobody can tell.

    Attributes:
        steal_share: CPU time that the hypervisor gave to others, as a share of all cores' time.
        others_share: CPU time of other processes, as a share of all cores' time.
        gpu_temperature_c: hottest GPU in use at the end of the round.
        gpu_clock_mhz: lowest SM clock of the GPUs in use at the end of the round.
        foreign_gpu_processes: ids of other processes that computed on these GPUs.
    """

    steal_share: float | None = None
    others_share: float | None = None
    gpu_temperature_c: float | None = None
    gpu_clock_mhz: float | None = None
    foreign_gpu_processes: tuple[int, ...] = ()

    @property
    def contended(self) -> bool:
        """Whether others took so much of the machine that the round is suspect."""
        taken = (self.steal_share or 0.0) + (self.others_share or 0.0)
        return taken > CONTENDED_SHARE or bool(self.foreign_gpu_processes)


@dataclass(frozen=True, slots=True)
class Round:
    """One metered window: `calls` calls of the workload, beside one reading of the candle.

    Attributes:
        duration_s: wall time of the calls alone.
        windows: readings of the named windows opened inside the calls.
        state: what else the machine did meanwhile; None where nobody looked.
    """

    calls: int
    duration_s: float
    reading: Reading
    candle: Reading | None = None
    candle_first: bool = False
    windows: Mapping[str, Reading] = field(default_factory=dict)
    state: RoundState | None = None

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
        kv_bytes: bytes of the key and value cache at the end of one call.
        read_bytes: least bytes that one call must read: the weights once per forward pass, and the cache as it grows.
    """

    flops: int | None = None
    weight_bytes: int | None = None
    kv_bytes: int | None = None
    read_bytes: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        for count in (getattr(self, item.name) for item in fields(self)):
            if count is not None and count < 0:
                raise ValueError(f"a count of {count}")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What this machine can do at most, at a row's working-set size: measured, not from a data sheet.

    Attributes:
        flops_per_s: rate of large matrix products in the row's compute dtype.
        bytes_per_s: rate at which memory of the row's working-set size is read.
    """

    flops_per_s: float | None = None
    bytes_per_s: float | None = None


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
        samples: name to single observations of all rounds (`ttft_s`, `tpot_s`), for percentiles.
        ceiling: what the machine can do at most at this row's size.
        features: numbers that describe the work and condition nothing (parameters, entropy of the texts), for analyses.
        idle_w: watts per domain that are taken off its joules when they are read; empty: joules are whole. Stored
            readings are always whole.
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
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    ceiling: Ceiling = field(default_factory=Ceiling)
    features: Mapping[str, float] = field(default_factory=dict)
    idle_w: Mapping[str, float] = field(default_factory=dict)
    outcome: Outcome = "passed"
    error: str = ""

    def __post_init__(self) -> None:
        for name, value in (*self.quality.items(), *self.trivial_quality.items(), *self.features.items()):
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
        idle_w: what measured domains drew at the start of the run while nothing ran, in watts.
    """

    energy_j: float | None = None
    source: RowSource | None = None
    duration_s: float | None = None
    carbon_g: float | None = None
    intensity_g_per_kwh: float | None = None
    intensity_source: str = ""
    harness_share: float | None = None
    idle_w: Mapping[str, float] = field(default_factory=dict)


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
