"""What a sweep over clocks or power caps found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from energyaware.dvfs.optimum import optimum, sentences
from energyaware.dvfs.spec import parse_spec
from energyaware.records import Benchmark

TRAIT = "dvfs"


def clock_lines(benchmarks: Sequence[Benchmark]) -> tuple[str, ...]:
    """The best settings of each variant and phase: least energy, least energy × latency, least within a latency bound.

    Raw joules are compared: the candle runs at the same setting, so dividing by it would hide what is looked for.

    Returns:
        empty where nothing was swept.
    """
    swept: dict[tuple[str, str, str, str], list[tuple[float, float, float]]] = {}
    for item in benchmarks:
        if item.outcome == "passed" and item.traits.get(TRAIT):
            spec = parse_spec(item.traits[TRAIT])
            requests = item.work.requests or 1
            swept.setdefault((item.row, item.phase, spec.knob, spec.unit), []).extend(
                (
                    spec.settings[0],
                    entry.reading.above_idle_j(item.idle_w) / entry.calls / requests,
                    entry.duration_s / entry.calls,
                )
                for entry in item.rounds
            )
    lines: list[str] = []
    for (row, phase, knob, unit), observations in swept.items():
        found = optimum(observations)
        if found is not None:
            lines += [f"{row}, {phase}, {knob}: {line}" for line in sentences(found, unit)]
    return tuple(lines)
