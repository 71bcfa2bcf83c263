"""The columns of the ranking: what each shows, once, for terminal, Markdown and option checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from energyaware.ranking.score import Detail, Row, trivial_quality_of
from energyaware.records import Benchmark, Ceiling, Work
from energyaware.units import ABSENT, fixed, percent, si
from energyaware.work.utilisation import mbu, mfu

Grams = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `row` fills the first line of a variant, `task` each task's line; either may be absent."""

    name: str
    title: str
    row: Callable[[Row], str] | None = None
    task: Callable[[Detail, Grams], str] | None = None
    optional: bool = False
    """Left out where no row has a value, unless it was asked for."""


def plain(text: str) -> str:
    """Text from tests, files and git with control characters made visible."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def escaped(text: str) -> str:
    """Such text for Markdown: it can break out of neither its line nor its cell, and is no HTML, link or image.

    Where a report becomes a comment, the forge may still make a mention of `@name`: no Markdown can prevent it.
    """
    cell = plain(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    # GitHub and GitLab make links of bare addresses too.
    cell = re.sub(r"(?i)\bwww\.", lambda found: found[0][:-1] + "\\.", cell.replace("://", ":\\//"))
    # Neither a link nor, at the beginning, the definition of one.
    return re.sub(r"^(\s*)\[", r"\1\\[", cell.replace("](", "]\\("))


def _variant(row: Row) -> str:
    variant = row.details[0].benchmark.variant if row.details else None
    return plain(variant.id if variant else row.name)


def _energy(item: Detail, grams: Grams) -> str:  # noqa: ARG001 - one signature for all columns
    if item.energy_j is None:
        return si(None, "J")
    error = "" if item.energy_error is None else f" ±{percent(item.energy_error)}"
    return si(item.energy_j, "J") + error


def _carbon(item: Detail, grams: Grams) -> str:
    return si(None if item.energy_j is None else grams(item.energy_j), "g")


def _interval(row: Row) -> str:
    if row.r_low is None or row.r_high is None:
        return fixed(None)
    return f"{row.r_low:.3f} … {row.r_high:.3f}"


def percentile(benchmark: Benchmark, name: str, share: float) -> float | None:
    """A percentile of the observations that were recorded as `name`; None without any."""
    values = benchmark.samples.get(name)
    return float(np.quantile(values, share)) if values else None


def _percentiles(name: str) -> Callable[[Detail, Grams], str]:
    def cell(item: Detail, _: Grams) -> str:
        middle, high = (percentile(item.benchmark, name, share) for share in (0.5, 0.95))
        return ABSENT if middle is None else f"{si(middle, 's')} / {si(high, 's')}"

    return cell


def _rate(item: Detail, grams: Grams) -> str:  # noqa: ARG001 - one signature for all columns
    work = item.benchmark.work
    tokens = (work.tokens_in or 0) + (work.tokens_out or 0)
    return si(tokens / item.latency_s, "/s") if tokens and item.latency_s else ABSENT


def _share(item: Detail, of: Callable[[Work, float, Ceiling], float | None]) -> str:
    if item.latency_s is None:
        return ABSENT
    return percent(of(item.benchmark.work, item.latency_s, item.benchmark.ceiling))


COLUMNS: tuple[Column, ...] = (
    Column("rank", "rank", row=lambda row: "–" if row.rank is None else str(row.rank)),
    Column("variant", "variant", row=_variant),
    Column("task", "task", task=lambda item, _: plain(item.benchmark.task)),
    Column("energy", "energy/request", task=_energy),
    Column("token", "energy/token", task=lambda item, _: si(item.energy_per_token_j, "J")),
    Column("source", "source", task=lambda item, _: item.benchmark.source or "–"),
    Column("latency", "latency", task=lambda item, _: si(item.latency_s, "s")),
    Column("rate", "tokens", task=_rate, optional=True),
    Column("ttft", "first token p50/p95", task=_percentiles("ttft_s"), optional=True),
    Column("tpot", "per token p50/p95", task=_percentiles("tpot_s"), optional=True),
    Column("mfu", "MFU", task=lambda item, _: _share(item, mfu), optional=True),
    Column("mbu", "MBU", task=lambda item, _: _share(item, mbu), optional=True),
    Column("accuracy", "quality", task=lambda item, _: fixed(item.quality)),
    Column("trivial", "trivial", task=lambda item, _: fixed(trivial_quality_of(item.benchmark)), optional=True),
    Column("carbon", "CO₂e/request", task=_carbon),
    Column("phi", "φ", row=lambda row: fixed(row.phi)),
    Column("rho", "ρ", row=lambda row: fixed(row.rho)),
    Column("r", "R", row=lambda row: fixed(row.r)),
    Column("interval", "95 % of R", row=_interval),
    Column("first", "P(first)", row=lambda row: fixed(row.first_probability, 2)),
    Column("pareto", "Pareto", row=lambda row: "◆" if row.pareto else ""),
)
NAMES = tuple(column.name for column in COLUMNS)
# What goes first when the terminal is narrow; the files always hold every column.
DROP_ORDER = (
    "carbon",
    "rate",
    "first",
    "trivial",
    "source",
    "interval",
    "token",
    "task",
    "rho",
    "phi",
    "pareto",
    "mfu",
    "mbu",
    "ttft",
    "tpot",
    "r",
)


def _sort_value(item: Detail, sort: str) -> float | None:
    if sort == "accuracy":
        return None if item.quality is None else -item.quality
    return item.energy_j if sort == "energy" else item.latency_s


def sorted_rows(rows: tuple[Row, ...], sort: str) -> tuple[Row, ...]:
    """Rows in the order of `--energy-sort`; rows without the value come last."""
    if sort == "r":
        return rows
    if sort == "variant":
        return tuple(sorted(rows, key=lambda row: row.name))

    def key(row: Row) -> tuple[bool, float]:
        value = _sort_value(row.details[0], sort) if row.details else None
        return value is None, value or 0.0

    return tuple(sorted(rows, key=key))
