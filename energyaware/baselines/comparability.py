"""Whether two benchmarks were measured alike: readings of different meters are never compared as if equal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from energyaware.records import Benchmark
from energyaware.units import ABSENT

# What must be equal on both machines before their numbers are compared.
MACHINE_FIELDS = ("cpu", "dtype_support", "cores", "threads", "gpu")


def differing(
    candidate: Benchmark, baseline: Benchmark, machine: Mapping[str, str], baseline_machine: Mapping[str, str]
) -> str | None:
    """The first condition under which the two were not measured alike, with both values, or None."""
    return _first((*_circumstances(candidate, baseline, machine, baseline_machine), *_subject(candidate, baseline)))


def differing_subject(candidate: Benchmark, baseline: Benchmark) -> str | None:
    """As `differing`, for what does not depend on the machine: counts and qualities of the same thing."""
    return _first(_subject(candidate, baseline))


def _first(conditions: Iterable[tuple[str, str | None, str | None]]) -> str | None:
    for name, before, now in conditions:
        if before != now:
            return f"{name}: {_short(before)} in the baseline, {_short(now)} now"
    return None


def _circumstances(
    candidate: Benchmark, baseline: Benchmark, machine: Mapping[str, str], baseline_machine: Mapping[str, str]
) -> Iterator[tuple[str, str | None, str | None]]:
    yield "meter", baseline.meters, candidate.meters
    yield "source", baseline.source, candidate.source
    yield "candle", baseline.candle, candidate.candle
    yield "idle power", _idle(baseline), _idle(candidate)
    for name in MACHINE_FIELDS:
        yield f"machine {name}", baseline_machine.get(name), machine.get(name)
    for name in sorted(candidate.domains):
        before = baseline.domains.get(name)
        yield f"power model of {name}", before.detail if before else None, candidate.domains[name].detail


def _subject(candidate: Benchmark, baseline: Benchmark) -> Iterator[tuple[str, str | None, str | None]]:
    for name in sorted({*baseline.traits, *candidate.traits}):
        yield name, baseline.traits.get(name), candidate.traits.get(name)
    for name in sorted({*baseline.fingerprints, *candidate.fingerprints}):
        yield f"fingerprint of {name}", baseline.fingerprints.get(name), candidate.fingerprints.get(name)


def _idle(item: Benchmark) -> str:
    return "taken off" if item.idle_w else "included"


def _short(value: str | None) -> str:
    if not value:
        return ABSENT
    is_hash = len(value) == 64 and all(letter in "0123456789abcdef" for letter in value)
    return value[:12] if is_hash else value
