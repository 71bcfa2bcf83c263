"""Ranking, verdicts and totals as text tables."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tabulate import tabulate

from energyaware.baselines.gate import Judgement
from energyaware.config import METRICS
from energyaware.ranking.score import FORMULA, Ranking, Row
from energyaware.records import CONTENDED_SHARE, Domain, Totals
from energyaware.reports.columns import COLUMNS, DROP_ORDER, Column, Grams, escaped, plain, sorted_rows
from energyaware.units import ABSENT, percent, si

MARKDOWN = "github"
TERMINAL = "simple"
TABBED = "tsv"
"""Cells between tabs, a line per row, the titles first; no cell holds a tab, as `plain` lets none through."""


def _cells(row: Row, columns: Sequence[Column], grams: Grams) -> list[list[str]]:
    """One line per task; what belongs to the variant stands on the first."""
    lines = []
    for index, item in enumerate(row.details):
        lines.append(
            [
                column.task(item, grams) if column.task else column.row(row) if column.row and index == 0 else ""
                for column in columns
            ]
        )
    return lines


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    header, *body = [[escaped(cell) for cell in line] for line in lines]
    return tabulate(body, headers=header, tablefmt=MARKDOWN, disable_numparse=True)


def _plain(lines: Sequence[Sequence[str]]) -> str:
    # tabulate pads headers by two, which costs a narrow terminal a column: so the header is a row with a rule below.
    header, *body = tabulate(lines, tablefmt="plain", disable_numparse=True).splitlines()
    return "\n".join([header, "-" * max(map(len, (header, *body))), *body])


def _tabbed(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(map("\t".join, lines))


_LAYOUTS: Mapping[str, Callable[[Sequence[Sequence[str]]], str]] = MappingProxyType(
    {MARKDOWN: _markdown, TERMINAL: _plain, TABBED: _tabbed}
)


def fitted(table: Mapping[str, Sequence[str]], droppable: Sequence[str], width: int | None, style: str) -> str:
    """Columns (name to title and cells) as text, without those of `droppable` that must go for it to fit `width`."""
    left = dict(table)
    for name in (None, *droppable):
        if name is not None:
            left.pop(name, None)
        lines = list(zip(*left.values(), strict=True))
        text = _LAYOUTS[style](lines)
        if width is None or max(map(len, text.splitlines())) <= width:
            break
    return text


def wrapped(text: str, width: int) -> list[str]:
    """A sentence as lines of a terminal, further ones indented; ids and paths stay whole, so that they can be copied.

    White space at its beginning indents the whole.
    """
    indent = " " * (len(text) - len(text.lstrip(" ")))
    return textwrap.wrap(
        plain(text.strip()), width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def ranking_table(
    ranking: Ranking,
    grams: Grams,
    *,
    names: Sequence[str] = (),
    sort: str = "r",
    width: int | None = None,
    style: str = TERMINAL,
) -> str:
    """The ranking as a table, no wider than `width` as long as columns can be left out.

    Args:
        names: columns to show, in this order; all (that fit) without.
        grams: joules to grams of CO₂ equivalent.
    """
    by_name = {column.name: column for column in COLUMNS}
    columns = [by_name[name] for name in names] if names else list(COLUMNS)
    lines = [line for row in sorted_rows(ranking.rows, sort) for line in _cells(row, columns, grams)]
    table = {column.name: [column.title, *cells] for column, *cells in zip(columns, *lines, strict=True)}
    if not names:
        empty = {column.name for column in columns if column.optional and set(table[column.name][1:]) <= {ABSENT, ""}}
        table = {name: cells for name, cells in table.items() if name not in empty}
    return fitted(table, () if names else DROP_ORDER, width, style)


def ranking_notes(ranking: Ranking, totals: Totals) -> list[str]:
    """What a reader must know to believe the table."""
    notes = []
    if any(row.r is not None for row in ranking.rows):
        notes.append(f"{FORMULA};  w = {ranking.weight:g}")
    elif any(row.rank is not None for row in ranking.rows):
        notes.append(
            "Ranked by energy alone: R needs a quality between 0 and 1 of every row (energy.record(quality=…))."
        )
    if ranking.source:
        meters = sorted(
            {item.benchmark.meters for row in ranking.rows for item in row.details if item.benchmark.meters}
        )
        notes.append(f"Energy is {ranking.source} ({'; '.join(meters)}); ± is the 95 % interval over rounds.")
        notes.extend(f"{name}: {text}" for name, text in _models(ranking))
        if any(item.benchmark.idle_w for row in ranking.rows for item in row.details):
            notes.append("Joules of measured domains are above idle: idle power is taken off (--energy-net).")
    if ranking.normalised:
        notes.append("φ uses energy divided by the candle beside each round; joules and seconds shown are raw.")
    if any(row.first_probability is not None for row in ranking.rows):
        notes.append("Rows that cannot be told apart share a rank.")
    if len(ranking.winners) > 1:
        parts = [f"{plain(item.name)} for w in [{item.low:.2f}, {item.high:.2f}]" for item in ranking.winners]
        notes.append("Best by weight: " + ", ".join(parts))
    if totals.intensity_g_per_kwh is not None:
        notes.append(f"CO₂e at {totals.intensity_g_per_kwh:.0f} g/kWh ({totals.intensity_source}).")
    seen: dict[str, list[str]] = {}
    for row in ranking.rows:
        for item in row.details:
            for note in item.benchmark.notes:
                seen.setdefault(plain(note), []).append(plain(row.name))
            if item.benchmark.discarded:
                counts = ", ".join(f"{count} × {why}" for why, count in item.benchmark.discarded.items())
                seen.setdefault(f"rounds discarded ({counts})", []).append(plain(row.name))
    notes.extend(_contention(ranking))
    everyone = {plain(row.name) for row in ranking.rows}
    for note, names in seen.items():
        notes.append(f"{'all' if set(names) == everyone else ', '.join(dict.fromkeys(names))}: {note}")
    return notes


def _contention(ranking: Ranking) -> list[str]:
    """How many rounds others disturbed, and who computed on the same GPU."""
    rounds = [entry for row in ranking.rows for item in row.details for entry in item.benchmark.rounds if entry.state]
    contended = [entry.state for entry in rounds if entry.state and entry.state.contended]
    if not contended:
        return []
    foreign = sorted({process for state in contended for process in state.foreign_gpu_processes})
    named = f"; other processes on the GPU: {', '.join(map(str, foreign))}" if foreign else ""
    share = percent(len(contended) / len(rounds), 0)
    taken = (
        f"others or the hypervisor took over {percent(CONTENDED_SHARE, 0)} of the CPU's time, or computed on the GPU"
    )
    return [f"{len(contended)} of {len(rounds)} rounds ({share}) under contention: {taken}{named}."]


def _models(ranking: Ranking) -> list[tuple[str, str]]:
    found: dict[str, Domain] = {}
    for row in ranking.rows:
        for item in row.details:
            found.update({name: d for name, d in item.benchmark.domains.items() if d.source == "estimated"})
    return [(name, domain.detail) for name, domain in sorted(found.items())]


def remarks(ranking: Ranking) -> list[str]:
    """Rows without a rank, and why."""
    return [f"{plain(row.name)}: {plain(row.remark)}" for row in ranking.rows if row.remark]


def _amount(metric: str, value: float | None) -> str:
    if METRICS[metric].kind == "quality":
        return ABSENT if value is None else f"{value:.3f}"
    unit = {"energy": "J", "latency": "s", "memory": "B", "bytes": "B", "flops": "FLOP"}[metric]
    return si(value, unit)


def _change(item: Judgement, value: float | None) -> str:
    if METRICS[item.metric].kind == "quality":
        # The effect is a drop; people read a change of the quality itself.
        return ABSENT if value is None else f"{-value * 100 + 0.0:+.1f} pp"  # no drop is no negative zero
    return percent(value, signed=True)


def _interval(item: Judgement) -> str:
    if item.low is None or item.high is None:
        return ABSENT
    low, high = _change(item, item.low), _change(item, item.high)
    first, second = (high, low) if METRICS[item.metric].kind == "quality" else (low, high)
    return f"{first} … {second}"


# What goes first when the terminal is narrow.
_GATE_DROP_ORDER = ("baseline", "now", "catches", "interval")


def gate_table(judgements: Sequence[Judgement], style: str = TERMINAL, width: int | None = None) -> str:
    """Verdict per benchmark and metric, no wider than `width` as long as columns can be left out."""
    cells: dict[str, Callable[[Judgement], str]] = {
        "verdict": lambda item: item.verdict.upper() if item.verdict == "regressed" else item.verdict,
        "benchmark": lambda item: plain(item.row),
        "limit": lambda item: item.limit,
        "baseline": lambda item: _amount(item.metric, item.baseline),
        "now": lambda item: _amount(item.metric, item.candidate),
        "change": lambda item: _change(item, item.effect),
        "interval": _interval,
        "catches": lambda item: ABSENT if item.decidable is None else percent(item.decidable, signed=True),
    }
    if not any(item.decidable is not None for item in judgements):
        del cells["catches"]  # a sequential test goes on until it has caught what its limit names
    table = {title: [title, *map(cell, judgements)] for title, cell in cells.items()}
    return fitted(table, _GATE_DROP_ORDER, width, style)


def totals_line(totals: Totals) -> str:
    """One line: what this run cost."""
    if totals.energy_j is None:
        spent = "energy of the whole run – (the meter gave no total)"
    else:
        spent = f"this run spent {si(totals.energy_j, 'J')} ({totals.source})"
    carbon = "" if totals.carbon_g is None else f", {si(totals.carbon_g, 'g')} CO₂e"
    duration = "" if totals.duration_s is None else f" in {totals.duration_s:.0f} s"
    share = "" if totals.harness_share is None else f"; {percent(totals.harness_share)} of it went to measuring"
    drawn = ", ".join(f"{name} {si(watts, 'W')}" for name, watts in totals.idle_w.items())
    return spent + carbon + duration + share + (f"; idle power: {drawn}" if drawn else "")
