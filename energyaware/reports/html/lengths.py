"""Energy, latency and quality against the length of input and output."""

from __future__ import annotations

from typing import Any

from energyaware.records import Benchmark
from energyaware.reports.charts import Column, Rows, make_chart, present
from energyaware.reports.drivers import batch_size, input_tokens, output_tokens
from energyaware.reports.html import estimates
from energyaware.reports.html.energy import ROW_COLUMNS, identity
from energyaware.reports.html.material import Material
from energyaware.reports.html.sweeps import LENGTH_GROUP


def lengths(material: Material) -> dict[str, Any] | None:
    """None where no group sweeps lengths."""
    energies: Rows = []
    latencies: Rows = []
    qualities: Rows = []
    found = [entry for entry in material.details if entry[1].benchmark.group.endswith(LENGTH_GROUP)]
    for row, item in sorted(found, key=lambda entry: _length(entry[1].benchmark)[1] or 0.0):
        bench = item.benchmark
        what, tokens = _length(bench)
        if tokens is None:
            continue
        who = (*identity(row, item)[:-1], what, tokens)
        energy = estimates.energy(item)
        if energy is not None:
            energies.append((*who, energy.value, energy.low, energy.high))
        latencies.append((*who, item.latency_s))
        error = estimates.quality_half_width(item)
        ends = (None, None) if item.quality is None or error is None else (item.quality - error, item.quality + error)
        qualities.append((*who, item.quality, *ends))
    columns = (*ROW_COLUMNS[:-1], Column("curve", "what"), Column("tokens", "tokens"))
    charts = present(
        make_chart(
            "lengths-energy", "lines", "Energy against length", "Energy per request over tokens, a line per variant.",
            (
                *columns, Column("energy_j", "energy per request", "J"), Column("low_j", "low", "J"),
                Column("high_j", "high", "J"),
            ),
            energies, log=("x", "y"), x="tokens", y="energy_j", y_low="low_j", y_high="high_j", series="variant",
            choose="curve",
        ),
        make_chart(
            "lengths-latency", "lines", "Latency against length", "Seconds of one call over tokens.",
            (*columns, Column("latency_s", "latency of a call", "s")), latencies, log=("x", "y"),
            x="tokens", y="latency_s", series="variant", choose="curve",
        ),
        make_chart(
            "lengths-quality", "lines", "Quality against length", "Quality over tokens of the prompt.",
            (*columns, Column("quality", "quality"), Column("low", "low"), Column("high", "high")), qualities,
            log=("x",), x="tokens", y="quality", y_low="low", y_high="high", series="variant", choose="curve",
        ),
    )  # fmt: skip
    return {"title": "Sequence lengths", "text": [], "charts": charts} if charts else None


def _length(item: Benchmark) -> tuple[str, float | None]:
    """Which curve a benchmark lies on, and where: over output tokens where it has any, else over input tokens."""
    before, after, batch = input_tokens(item), output_tokens(item), batch_size(item)
    parts = [item.group]
    if batch is not None and not item.quality:
        parts.append(f"batch {batch:g}")
    if after is None:
        return ", ".join([*parts, "over input tokens"]), before
    if before is not None:
        parts.append(f"{before:g} tokens in")
    return ", ".join([*parts, "over output tokens"]), after
