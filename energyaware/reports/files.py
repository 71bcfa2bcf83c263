"""Markdown and CSV of a run."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from energyaware.baselines.gate import Judgement
from energyaware.errors import CacheError
from energyaware.ranking.score import Detail, Ranking, Row, trivial_quality_of
from energyaware.records import Run
from energyaware.reports.analysis import length_tables
from energyaware.reports.clocks import clock_lines
from energyaware.reports.columns import Grams, escaped, percentile, plain
from energyaware.reports.sections import Section
from energyaware.reports.tables import MARKDOWN, gate_table, ranking_notes, ranking_table, remarks, totals_line

CSV_COLUMNS = (
    "group", "row", "model", "precision", "pruning", "task", "phase", "rank", "energy_per_request_j",
    "energy_relative_half_width_95", "energy_per_token_j", "source", "meters", "latency_s", "ttft_p50_s",
    "ttft_p95_s", "tpot_p50_s", "tpot_p95_s", "quality_name", "quality",
    "trivial_quality", "carbon_per_request_g", "phi", "rho", "r", "r_low", "r_high", "first_probability", "pareto",
    "rounds", "discarded",
    "requests", "tokens_in", "tokens_out", "flops", "weight_bytes", "kv_bytes", "read_bytes",
    "ceiling_flops_per_s", "ceiling_bytes_per_s", "peak_memory_bytes", "candle", "layout", "remark",
)  # fmt: skip


def markdown(
    run: Run,
    rankings: Sequence[Ranking],
    judgements: Sequence[Judgement],
    grams: Grams,
    baseline: str = "",
    sections: Sequence[Section] = (),
) -> str:
    """The run as GitHub Markdown: ranking, sections, verdicts, totals, provenance."""
    lines = ["# Energy report", ""]
    for ranking in rankings:
        lines += [f"## Ranking{f': {escaped(ranking.group)}' if ranking.group else ''}", ""]
        lines += [ranking_table(ranking, grams, style=MARKDOWN), ""]
        lines += [f"- {escaped(remark)}" for remark in remarks(ranking)] + [""]
        lines += _folded("Notes", [f"- {escaped(note)}" for note in ranking_notes(ranking, run.totals)])
    lengths = length_tables(run.benchmarks, MARKDOWN)
    if lengths:
        lines += ["## Energy against length", "", lengths, ""]
    clocks = clock_lines(run.benchmarks)
    if clocks:
        lines += ["## Clocks and power caps", "", *(f"- {escaped(line)}" for line in clocks), ""]
    for section in sections:
        lines += [f"## {escaped(section.title[:1].upper() + section.title[1:])}", ""]
        lines += [section.table(MARKDOWN, None), ""] if section.table is not None else []
        lines += [f"- {escaped(line)}" for line in section.lines] + [""]
    if judgements:
        lines += ["## Verdicts", "", f"Baseline: {escaped(baseline)}", "", gate_table(judgements, MARKDOWN), ""]
        lines += [f"- {escaped(item.row)}: {escaped(item.reason)}" for item in judgements if item.reason] + [""]
    origin = [f"- {escaped(key)}: {escaped(value)}" for key, value in run.machine.items()]
    origin += [f"- energyaware: {escaped(run.version)}"]
    if run.commit:
        origin += [f"- commit: {escaped(run.commit)}{' (dirty tree)' if run.dirty else ''}"]
    lines += ["## Run", "", f"- {escaped(totals_line(run.totals))}", "", *_folded("Machine and versions", origin)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    """Lines that GitHub and GitLab show when their title is clicked."""
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>", ""]


def csv_text(rankings: Sequence[Ranking], grams: Grams) -> str:
    """One line per benchmark, units in the column names; an absent value is an empty cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for ranking in rankings:
        for row in ranking.rows:
            for item in row.details:
                cells = cells_of(row, item, grams)
                writer.writerow(
                    {name: plain(value) if isinstance(value, str) else value for name, value in cells.items()}
                )
    return out.getvalue()


def cells_of(row: Row, item: Detail, grams: Grams) -> dict[str, object]:
    """One benchmark under `CSV_COLUMNS`; None where nothing was measured. Texts are as recorded."""
    bench = item.benchmark
    variant = bench.variant
    return {
        "group": bench.group,
        "row": row.name,
        "model": variant and variant.model,
        "precision": variant and variant.precision,
        "pruning": variant and variant.pruning,
        "task": bench.task,
        "phase": bench.phase,
        "rank": row.rank,
        "energy_per_request_j": item.energy_j,
        "energy_relative_half_width_95": item.energy_error,
        "energy_per_token_j": item.energy_per_token_j,
        "source": bench.source,
        "meters": bench.meters,
        "latency_s": item.latency_s,
        "ttft_p50_s": percentile(bench, "ttft_s", 0.5),
        "ttft_p95_s": percentile(bench, "ttft_s", 0.95),
        "tpot_p50_s": percentile(bench, "tpot_s", 0.5),
        "tpot_p95_s": percentile(bench, "tpot_s", 0.95),
        "quality_name": item.quality_name,
        "quality": item.quality,
        "trivial_quality": trivial_quality_of(bench),
        "carbon_per_request_g": None if item.energy_j is None else grams(item.energy_j),
        "phi": row.phi,
        "rho": row.rho,
        "r": row.r,
        "r_low": row.r_low,
        "r_high": row.r_high,
        "first_probability": row.first_probability,
        "pareto": row.pareto,
        "rounds": len(bench.rounds),
        "discarded": sum(bench.discarded.values()),
        "requests": bench.work.requests,
        "tokens_in": bench.work.tokens_in,
        "tokens_out": bench.work.tokens_out,
        "flops": bench.work.flops,
        "weight_bytes": bench.work.weight_bytes,
        "kv_bytes": bench.work.kv_bytes,
        "read_bytes": bench.work.read_bytes,
        "ceiling_flops_per_s": bench.ceiling.flops_per_s,
        "ceiling_bytes_per_s": bench.ceiling.bytes_per_s,
        "peak_memory_bytes": bench.peak_memory_bytes,
        "candle": bench.candle,
        "layout": bench.layout,
        "remark": row.remark,
    }


def write(folder: Path, texts: dict[str, str]) -> tuple[Path, ...]:
    """Write files whole: each is complete or not there at all.

    Raises:
        CacheError: the folder cannot be written.
    """
    written = []
    try:
        for name, text in texts.items():
            target = folder / name
            draft = target.with_name(f".{name}.{os.getpid()}-{secrets.token_hex(4)}")
            try:
                draft.write_text(text, encoding="utf-8")
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
            written.append(target)
    except OSError as error:
        raise CacheError(
            f"the report folder {folder} cannot be written ({error.strerror})",
            "choose another with --energy-report (pytest), --report (compare) or --output (report)",
        ) from error
    return tuple(written)
