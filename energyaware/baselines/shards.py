"""Splitting a suite into parts that are measured apart, so that each benchmark is in exactly one of them."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from energyaware.errors import OptionError

MOST_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`, from 1 on."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Read `i/n`, as `2/4`.

    Raises:
        OptionError: no such part.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text, flags=re.ASCII)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= MOST_SHARDS:
        raise OptionError(
            f"--energy-shard={text} is no part i of n with 1 ≤ i ≤ n ≤ {MOST_SHARDS}",
            "write it as --energy-shard=2/4: the second of four parts",
        )
    return Shard(index, count)


@dataclass(frozen=True)
class ShardRecord:
    """What a part stores of the whole, so that parts are only joined with their own.

    Attributes:
        index, of: as in `Shard`.
        plan: a hash of which benchmark is in which part; equal in all parts of one whole.
        ids: all benchmarks of the whole, in the order in which one run would measure them.
        durations_of: the stored run whose durations balanced the parts; empty where none was known.
        limits: what the markers of this part's benchmarks say, for the gate of the whole.
        default_limits: limits of benchmarks without such a marker.
    """

    index: int
    of: int
    plan: str
    ids: tuple[str, ...]
    durations_of: str = ""
    limits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of <= MOST_SHARDS:
            raise ValueError(f"part {self.index} of {self.of}")


def split(ids: Sequence[str], count: int, durations_s: Mapping[str, float]) -> dict[str, int]:
    """Benchmark to part, from 1 on: longest first, each to the part that has the least to do.

    The same input gives the same parts on every machine, whatever the order of `ids`.

    Args:
        durations_s: seconds where they are known; other benchmarks count as a usual one.

    Raises:
        OptionError: there are fewer benchmarks than parts.
    """
    if len(ids) < count:
        raise OptionError(
            f"--energy-shard splits {len(ids)} energy benchmarks into {count} parts, so some would be empty",
            f"use at most {len(ids)} parts" if ids else "name the folder of the benchmarks",
        )
    known = [seconds for name in ids if (seconds := durations_s.get(name)) is not None]
    usual = statistics.median(known) if known else 1.0
    weights = {name: durations_s.get(name, usual) for name in ids}
    parts = [(0.0, 0, index) for index in range(1, count + 1)]
    found = {}
    for name in sorted(weights, key=lambda name: (-weights[name], name)):
        load_s, number, index = heapq.heappop(parts)
        found[name] = index
        heapq.heappush(parts, (load_s + weights[name], number + 1, index))
    return found


def plan_of(parts: Mapping[str, int]) -> str:
    """A hash of who is where."""
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()[:16]
