"""Where the numbers come from: machine, meters, versions, data, commit, options, contention and overhead."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from energyaware.records import CONTENDED_SHARE, Run
from energyaware.reports.columns import plain
from energyaware.reports.html.material import Material
from energyaware.reports.tables import totals_line
from energyaware.units import ABSENT, percent

Pairs = list[tuple[str, str]]


def provenance(material: Material) -> dict[str, Any]:
    """Tables of names and values."""
    run = material.run
    tables: list[tuple[str, Pairs]] = [
        ("Run", _run(run)),
        ("Machine", list(run.machine.items())),
        ("Meters", _meters(run)),
        ("Data and weights", _fingerprints(run)),
        ("Options", [(name, _option(value)) for name, value in run.options.items()]),
        ("Conduct", _conduct(run)),
    ]
    if len(material.runs) > 1:
        tables.append(("All runs", [(Path(item.path).name, _said(item)) for item in material.runs]))
    return {
        "title": "Provenance",
        "text": [plain(totals_line(run.totals))],
        "tables": [
            {"title": title, "rows": [(plain(name), plain(value)) for name, value in rows]}
            for title, rows in tables
            if rows
        ],
        "charts": [],
    }


def _option(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or ABSENT
    return ABSENT if value in (None, "") else str(value)


def _said(run: Run) -> str:
    return f"{run.datetime[:19]} {run.commit[:12]} {run.branch}{', dirty tree' if run.dirty else ''}"


def _run(run: Run) -> Pairs:
    totals = run.totals
    rows = [
        ("file", Path(run.path).name if run.path else ABSENT),
        ("time", run.datetime or ABSENT),
        ("commit", (run.commit or ABSENT) + (" (dirty tree)" if run.dirty else "")),
        ("branch", run.branch or ABSENT),
        ("energyaware", run.version),
    ]
    if run.interrupted:
        rows.append(("state", "cut off: not every benchmark ran"))
    if totals.intensity_g_per_kwh is not None:
        rows.append(("carbon intensity", f"{totals.intensity_g_per_kwh:.0f} g/kWh ({totals.intensity_source})"))
    rows.append(("overhead of measuring", percent(totals.harness_share)))
    return rows


def _meters(run: Run) -> Pairs:
    found = {}
    for item in run.benchmarks:
        for name, domain in item.domains.items():
            text = f"{domain.source} by {domain.meter}, resolution {domain.resolution_s:g} s"
            found[f"{name}: {text}"] = (name, text + (f" ({domain.detail})" if domain.detail else ""))
    return list(found.values())


def _fingerprints(run: Run) -> Pairs:
    found: dict[str, dict[str, None]] = {}
    for item in run.benchmarks:
        for name, value in item.fingerprints.items():
            found.setdefault(name, {})[value] = None
    return [(name, _listed(values)) for name, values in found.items()]


def _listed(values: Iterable[str]) -> str:
    shown = list(values)
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def _conduct(run: Run) -> Pairs:
    entries = [entry for item in run.benchmarks for entry in item.rounds]
    watched = [entry.state for entry in entries if entry.state is not None]
    contended = sum(state.contended for state in watched)
    discarded = sum(sum(item.discarded.values()) for item in run.benchmarks)
    candles = _listed(dict.fromkeys(item.candle for item in run.benchmarks if item.candle))
    layouts = _listed(dict.fromkeys(item.layout for item in run.benchmarks if item.layout))
    noted: dict[str, dict[str, None]] = {}
    for item in run.benchmarks:
        for note in item.notes:
            noted.setdefault(note, {})[item.row] = None
    rows = [
        ("rounds", str(len(entries))),
        ("discarded readings", str(discarded)),
        ("candles", candles or ABSENT),
        ("layout of weights", layouts or ABSENT),
        *(("note", f"{note} ({_listed(names)})") for note, names in noted.items()),
    ]
    if watched:
        text = f"{contended} of {len(watched)} (others took over {percent(CONTENDED_SHARE, 0)} of the CPU, or the GPU)"
        rows.insert(2, ("rounds under contention", text))
    return rows
