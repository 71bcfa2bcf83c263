"""What a test says about its row: `energy.record(...)`, checked and merged into a `Benchmark`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest

from energyaware.baselines.values import raw_value
from energyaware.errors import OptionError
from energyaware.measure.rounds import RoundRecorder
from energyaware.records import Benchmark, Ceiling, Variant, Work

_COUNTS = tuple(item.name for item in fields(Work))


@dataclass(frozen=True)
class Facts:
    """Everything that `energy.record` takes; each may be given once or piece by piece.

    Attributes:
        quality: metric to value; the first one is ρ and lies in [0, 1]. `accuracy` and `macro_f1` can be gated.
        scores: metric to one value per example, for paired comparison; `example_ids` name the examples.
        trivial_quality: what a reader who looks at nothing scores (majority class); rows at or below it are not ranked.
        requests, tokens_in, tokens_out: of one call.
        flops, weight_bytes, kv_bytes, read_bytes: exact work of one call, see `energyaware.records.Work`.
        samples: name to single observations (`ttft_s`, `tpot_s`), for percentiles.
        ceiling: the most that this machine could do, `energyaware.records.Ceiling`.
        variant, task, phase, group: what the row is; `group` is ranked together.
        features: numbers that describe the work and condition nothing (parameters, entropy), for `energyaware analyze`.
        gpus: those that the call runs on, as torch numbers them, said before it is metered: only their joules, and
            those of CPU and DRAM, are the row's. Unsaid, every GPU of the run counts.
        fingerprints, traits: conditions that must agree before two runs are compared.
        notes: what a reader must know.
    """

    quality: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    example_ids: Sequence[str] = ()
    trivial_quality: Mapping[str, float] = field(default_factory=dict)
    requests: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    flops: int | None = None
    weight_bytes: int | None = None
    kv_bytes: int | None = None
    read_bytes: int | None = None
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    ceiling: Ceiling = field(default_factory=Ceiling)
    variant: Variant | None = None
    task: str = ""
    phase: str = ""
    group: str = ""
    features: Mapping[str, float] = field(default_factory=dict)
    gpus: Sequence[int] | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def updated(self, facts: Mapping[str, Any]) -> Facts:
        """These facts with others on top; mappings are merged.

        Raises:
            OptionError: an unknown name, a quality that is no finite number, or a count that is no whole number.
        """
        names = [item.name for item in fields(self)]
        merged: dict[str, Any] = {}
        for name, value in facts.items():
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise OptionError(f"energy.record does not know {name!r}", f"{hint}Known: {', '.join(names)}")
            old = getattr(self, name)
            merged[name] = {**old, **value} if isinstance(old, Mapping) else value
        for name in ("quality", "trivial_quality", "features"):
            for metric, value in merged.get(name, {}).items():
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise OptionError(
                        f"energy.record({name}=…): {metric} is {value!r}, no finite number",
                        "leave out what was not measured",
                    )
        for name in _COUNTS:
            value = merged.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise OptionError(
                    f"energy.record({name}={value!r}): no whole number from 0", "leave out what is unknown"
                )
        if merged.get("requests") == 0:
            raise OptionError("energy.record(requests=0): a call answers at least one", "leave it out if unknown")
        return replace(self, **merged)

    def benchmark(
        self,
        *,
        item: pytest.Item,
        group: str | None,
        recorder: RoundRecorder,
        candle: str,
        layout: str,
        peak_memory_bytes: int | None,
        fingerprints: Mapping[str, str],
    ) -> Benchmark:
        """The finished record."""
        return Benchmark(
            fullname=item.nodeid,
            name=item.name,
            group=group or self.group,
            task=self.task,
            phase=self.phase,
            candle=candle,
            layout=layout,
            domains=dict(recorder.domains),
            rounds=tuple(recorder.rounds),
            variant=self.variant,
            discarded=dict(recorder.discarded),
            quality={name: float(value) for name, value in self.quality.items()},
            scores={name: tuple(map(float, values)) for name, values in self.scores.items()},
            example_ids=tuple(self.example_ids),
            trivial_quality={name: float(value) for name, value in self.trivial_quality.items()},
            work=Work(**{name: getattr(self, name) for name in _COUNTS}),
            peak_memory_bytes=peak_memory_bytes,
            fingerprints=dict(fingerprints),
            traits=dict(self.traits),
            notes=tuple(self.notes),
            samples={name: tuple(map(float, values)) for name, values in self.samples.items()},
            ceiling=self.ceiling,
            features={name: float(value) for name, value in self.features.items()},
            idle_w=dict(recorder.idle_w),
        )


def properties(benchmark: Benchmark) -> list[tuple[str, object]]:
    """What a test report says of a benchmark: energy and its source, latency, qualities; absent values are left out."""
    energy_j, latency_s = raw_value(benchmark, "energy"), raw_value(benchmark, "latency")
    found = {
        "energy_j_per_request": energy_j,
        "energy_source": benchmark.source if energy_j is not None else None,
        "latency_s": latency_s,
        **benchmark.quality,
    }
    return [(name, value) for name, value in found.items() if value is not None]
