"""Energy against a clock or power cap, with the energy-optimal setting."""

from __future__ import annotations

from typing import Any

from energyaware.baselines.values import round_value
from energyaware.dvfs.optimum import optimum, sentences
from energyaware.dvfs.spec import parse_spec
from energyaware.errors import OptionError
from energyaware.records import Benchmark
from energyaware.reports.charts import Column, Rows, make_chart, present
from energyaware.reports.clocks import TRAIT
from energyaware.reports.columns import plain
from energyaware.reports.html.material import Material, said_source

_NUMBERS = (
    Column("energy_j", "energy per request", "J"),
    Column("latency_s", "latency of a call", "s"),
    Column("edp_js", "energy × latency", "J·s"),
)


def dvfs(material: Material) -> dict[str, Any] | None:
    """None where nothing was swept, or a sweep has fewer than two settings."""
    sweeps: dict[tuple[str, str, str], dict[float, Benchmark]] = {}
    for row, item in material.details:
        found = _setting(item.benchmark)
        if found is not None:
            knob, setting = found
            sweeps.setdefault((row.name, item.benchmark.phase, knob), {})[setting] = item.benchmark
    rows: Rows = []
    texts: list[str] = []
    for (name, phase, knob), settings in sweeps.items():
        result = optimum(
            (setting, round_value(bench, "energy", entry), round_value(bench, "latency", entry))
            for setting, bench in settings.items()
            for entry in bench.rounds
        )
        if result is None:
            continue
        unit = parse_spec(knob).unit
        texts += [plain(f"{name}, {phase}: {line}") for line in sentences(result, unit)]
        first = next(iter(settings.values()))
        variant, source = first.variant, said_source(first.source)
        rows += [
            (
                name, variant.model if variant else name, phase, source, f"{phase}, {knob} in {unit}", point.setting,
                point.energy_j, point.latency_s, point.edp_js, point.setting == result.energy.setting,
            )
            for point in result.points
        ]  # fmt: skip
    columns = (
        Column("variant", "variant"), Column("model", "model"), Column("phase", "phase"), Column("source", "source"),
        Column("sweep", "sweep"),
        Column("setting", "setting"), *_NUMBERS, Column("least_energy", "least energy"),
    )  # fmt: skip
    charts = present(
        *(
            make_chart(
                f"dvfs-{number.name.partition('_')[0]}", "lines", f"{number.title.capitalize()} by setting",
                f"{number.title.capitalize()} over the setting of the knob; the setting of least energy is marked.",
                columns, rows, x="setting", y=number.name, series="variant", choose="sweep", mark="least_energy",
            )
            for number in _NUMBERS
        )
    )  # fmt: skip
    return {"title": "Clocks and power caps", "text": texts, "charts": charts} if charts else None


def _setting(item: Benchmark) -> tuple[str, float] | None:
    """The knob and where it stood; None where a benchmark is no part of a sweep that we can read."""
    text = item.traits.get(TRAIT)
    if text is None:
        return None
    try:
        spec = parse_spec(text)
    except OptionError:  # a stored file may say anything
        return None
    return (spec.knob, spec.settings[0]) if len(spec.settings) == 1 else None
