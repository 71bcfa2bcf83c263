"""Energy of every variant by domain and phase, and joules per token."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from energyaware.ranking.score import Detail, Row
from energyaware.records import Benchmark, RowSource
from energyaware.reports.charts import Column, Rows, Value, make_chart, present
from energyaware.reports.html import estimates
from energyaware.reports.html.material import Material, said_source, work_of

ROW_COLUMNS = (
    Column("variant", "variant"),
    Column("model", "model"),
    Column("task", "task"),
    Column("phase", "phase"),
    Column("source", "source"),
    Column("work", "work"),
)


def identity(row: Row, item: Detail, source: RowSource | None = None) -> tuple[Value, ...]:
    """The cells of `ROW_COLUMNS`; `source` is that of one domain, where only its joules are shown."""
    bench = item.benchmark
    model = bench.variant.model if bench.variant else row.name
    return row.name, model, bench.task, bench.phase, said_source(source or bench.source), work_of(bench)


def energy(material: Material) -> dict[str, Any] | None:
    """None where nothing was read."""
    domains: Rows = []
    windows: Rows = []
    tokens: Rows = []
    for row, item in material.details:
        who = identity(row, item)
        for name, value in domain_medians_j(item.benchmark):
            source = item.benchmark.domains[name].source
            domains.append((*identity(row, item, source), f"{name}, {source}", value))
        windows += [(*who, name, value) for name, value in window_medians_j(item.benchmark)]
        per_token = estimates.energy_per_token(item)
        if per_token is not None:
            tokens.append((*who, per_token.value, per_token.low, per_token.high))
    amount = Column("energy_j", "energy per request", "J")
    charts = present(
        make_chart(
            "energy-domains", "bars", "Energy per request by domain",
            "One bar per variant, stacked by the domain that spent the energy.",
            (*ROW_COLUMNS, Column("domain", "domain"), amount), domains,
            x="energy_j", y="variant", series="domain", choose="work",
            note="Medians over rounds; measured idle power is taken off where the run did so.",
        ),
        make_chart(
            "energy-phases", "bars", "Energy of one request by phase",
            "One bar per variant, stacked by the named windows inside a request.",
            (*ROW_COLUMNS, Column("window", "phase inside the request"), amount), windows,
            x="energy_j", y="variant", series="window", choose="work", note="Medians over rounds.",
        ),
        make_chart(
            "energy-tokens", "intervals", "Energy per token",
            "Energy per token of each variant with its interval over rounds.",
            (
                *ROW_COLUMNS, Column("energy_per_token_j", "energy per token", "J"),
                Column("low_j", "low", "J"), Column("high_j", "high", "J"),
            ),
            tokens, x="energy_per_token_j", x_low="low_j", x_high="high_j", y="variant", series="model", choose="work",
            note="Tokens in and out of the row's own phase; 95 % intervals over rounds of this launch.",
        ),
    )  # fmt: skip
    return {"title": "Where the energy goes", "text": [], "charts": charts} if charts else None


def domain_medians_j(item: Benchmark) -> Iterator[tuple[str, float]]:
    """Joules per request of each domain: the median over rounds, above idle where the benchmark asks for it."""
    requests = item.work.requests or 1
    for domain in item.domains:
        values = [
            (entry.reading.energy_j[domain] - entry.reading.duration_s * item.idle_w.get(domain, 0.0)) / entry.calls
            for entry in item.rounds
            if domain in entry.reading.energy_j
        ]
        if values:
            yield domain, median(values) / requests


def window_medians_j(item: Benchmark) -> Iterator[tuple[str, float]]:
    """Joules per request of each named window: the median over rounds."""
    requests = item.work.requests or 1
    for name in dict.fromkeys(name for entry in item.rounds for name in entry.windows):
        values = [
            entry.windows[name].above_idle_j(item.idle_w) / entry.calls
            for entry in item.rounds
            if name in entry.windows
        ]
        yield name, median(values) / requests
