"""The level of each benchmark over several runs, with the places where it changed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from energyaware.baselines.gate import ratio
from energyaware.baselines.trend import changes_of, series
from energyaware.reports.charts import Column, Rows, make_chart
from energyaware.reports.columns import plain
from energyaware.reports.html.material import Material, said_source
from energyaware.stats.sessions import MIN_SESSIONS
from energyaware.units import percent

COLUMNS = (
    Column("benchmark", "benchmark"),
    Column("number", "run"),
    Column("name", "file"),
    Column("commit", "commit"),
    Column("source", "source"),
    Column("datetime", "time"),
    Column("energy_ratio", "energy, first run = 1"),
    Column("changed", "a new level begins"),
)


def history(material: Material) -> dict[str, Any] | None:
    """None with a single run. Runs that were cut off are left out."""
    runs = [run for run in material.runs if not run.interrupted]
    if len(runs) < 2:
        return None
    rows: Rows = []
    texts: list[str] = []
    places = {id(run): place for place, run in enumerate(runs, 1)}
    found = [item for item in series(runs, "energy") if len(item.values) > 1]
    for item in found:
        changes = changes_of(item, len(found))
        starts = {step.index for step in changes.steps} if changes else set()
        for index, (run, value) in enumerate(zip(item.runs, item.values, strict=True)):
            level = math.exp(min(value - item.values[0], 700.0))
            source = next(said_source(entry.source) for entry in run.benchmarks if entry.fullname == item.fullname)
            rows.append(
                (
                    item.fullname, places[id(run)], Path(run.path).stem, run.commit[:12], source, run.datetime[:19],
                    level, index in starts,
                )
            )  # fmt: skip
        if changes is None:
            continue
        for step in changes.steps:
            name = Path(item.runs[step.index].path).stem
            texts.append(f"{item.fullname}: {percent(ratio(step.effect), signed=True)} from {name} on")
        if changes.drift is not None:
            texts.append(f"{item.fullname}: a drift of {percent(ratio(changes.drift.effect), signed=True)} in all")
    chart = make_chart(
        "history", "lines", "Energy over runs",
        "Energy of each benchmark over runs, as a ratio to its first run; where a new level begins is marked.",
        COLUMNS, rows, x="number", y="energy_ratio", series="benchmark", choose="benchmark", mark="changed",
        rules=(), note="The candle beside each round is divided out; only runs with the same conditions are joined.",
    )  # fmt: skip
    if chart is None:
        return None
    if not texts:
        few = len(runs) < MIN_SESSIONS
        texts.append(f"Too few runs to tell changes (from {MIN_SESSIONS})." if few else "No change of level was found.")
    return {"title": "History", "text": [plain(text) for text in texts], "charts": [chart]}
