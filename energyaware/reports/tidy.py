"""Tidy tables: a line per benchmark and a line per round, units in the column names.

An absent value is an empty cell.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from energyaware.ranking.score import Ranking
from energyaware.records import Benchmark, Round, RoundState, Run
from energyaware.reports.columns import Grams, plain
from energyaware.reports.files import CSV_COLUMNS, cells_of

BENCHMARK_COLUMNS = ("run", "fullname", *CSV_COLUMNS)

ROUND_COLUMNS = (
    "run", "fullname", "group", "row", "model", "precision", "pruning", "task", "phase", "round", "calls", "duration_s",
    "energy_j", "reading_duration_s", "candle", "candle_energy_j", "candle_duration_s", "candle_first", "steal_share",
    "others_share", "gpu_temperature_c", "gpu_clock_mhz", "foreign_gpu_processes", "contended",
)  # fmt: skip
"""What every round has; columns of domains (`energy_cpu_j`) and windows (`window_prefill_j`) follow."""

Cells = Mapping[str, object]


def benchmarks_csv(runs: Iterable[tuple[Run, Sequence[Ranking], Grams]]) -> str:
    """A line per benchmark of every run."""
    lines: list[Cells] = []
    for run, rankings, grams in runs:
        for ranking in rankings:
            for row in ranking.rows:
                lines += [
                    {"run": _name(run), "fullname": item.benchmark.fullname, **cells_of(row, item, grams)}
                    for item in row.details
                ]
    return _text(BENCHMARK_COLUMNS, lines)


def rounds_csv(runs: Sequence[Run]) -> str:
    """A line per round of every run: raw joules of the whole window, idle power included.

    `energy_j` is that of `calls` calls, each of which may answer several requests.
    """
    found = [(run, item) for run in runs for item in run.benchmarks]
    domains = dict.fromkeys(name for _, item in found for entry in item.rounds for name in entry.reading.energy_j)
    windows = dict.fromkeys(name for _, item in found for entry in item.rounds for name in entry.windows)
    extra = (*(f"energy_{name}_j" for name in domains), *(f"window_{name}_j" for name in windows))
    lines = [
        {"run": _name(run), "round": number, **_benchmark_cells(item), **_round_cells(entry)}
        for run, item in found
        for number, entry in enumerate(item.rounds, 1)
    ]
    return _text((*ROUND_COLUMNS, *extra), lines)


def _name(run: Run) -> str:
    return Path(run.path).stem if run.path else run.datetime


def _benchmark_cells(item: Benchmark) -> Cells:
    variant = item.variant
    return {
        "fullname": item.fullname, "group": item.group, "row": item.row, "model": variant and variant.model,
        "precision": variant and variant.precision, "pruning": variant and variant.pruning, "task": item.task,
        "phase": item.phase, "candle": item.candle,
    }  # fmt: skip


def _round_cells(entry: Round) -> Cells:
    candle, state = entry.candle, entry.state or RoundState()
    return {
        "calls": entry.calls,
        "duration_s": entry.duration_s,
        "energy_j": entry.reading.total_j,
        "reading_duration_s": entry.reading.duration_s,
        "candle_energy_j": candle and candle.total_j,
        "candle_duration_s": candle and candle.duration_s,
        "candle_first": entry.candle_first if candle else None,
        "steal_share": state.steal_share,
        "others_share": state.others_share,
        "gpu_temperature_c": state.gpu_temperature_c,
        "gpu_clock_mhz": state.gpu_clock_mhz,
        "foreign_gpu_processes": " ".join(map(str, state.foreign_gpu_processes)),
        "contended": entry.state and entry.state.contended,
        **{f"energy_{name}_j": value for name, value in entry.reading.energy_j.items()},
        **{f"window_{name}_j": window.total_j for name, window in entry.windows.items()},
    }


def _text(columns: Sequence[str], lines: Iterable[Cells]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(plain, columns))
    for cells in lines:
        values = (cells.get(name) for name in columns)
        writer.writerow(plain(value) if isinstance(value, str) else value for value in values)
    return out.getvalue()
