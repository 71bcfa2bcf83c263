"""A chart as plain data: what is drawn, what its table shows, and what its CSV holds are the same rows.

The page's script and the static figures draw every chart from such a dict, so a chart can be tested without either.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from energyaware.reports.columns import plain

Value = str | float | int | bool | None
Kind = Literal["points", "bars", "intervals", "lines", "histogram"]
Chart = dict[str, Any]
Rows = list[tuple[Value, ...]]

_SOURCED = ("energy", "carbon", "edp")
"""What rests on joules, by the beginnings of column names: a title on an axis says whether they were measured."""

DIGITS = 5
"""Significant digits of numbers in a page: more than any picture shows, and half the size."""

_ENCODINGS = (
    "x", "x_low", "x_high", "y", "y_low", "y_high", "series", "choose", "front", "mark", "limit",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a chart's data.

    Attributes:
        name: with its unit, as `energy_j`: the title of the CSV.
        title: as people read it.
        unit: `J`, `s`, `g`, … are shown with SI prefixes; `%` shows a ratio as percent; empty for other numbers and
            for texts.
    """

    name: str
    title: str
    unit: str = ""


def rounded(value: float, digits: int = DIGITS) -> float | None:
    """`value` with so many significant digits; None where it is not finite, as JSON has no such number."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _cell(value: Value) -> Value:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return plain(value)
    return value if isinstance(value, int) else rounded(value)


def make_chart(
    name: str,
    kind: Kind,
    title: str,
    alt: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Value]],
    *,
    log: Sequence[Literal["x", "y"]] = (),
    rules: Sequence[tuple[float, str]] = (),
    note: str = "",
    **encoding: str,
) -> Chart | None:
    """A chart, or None where no row has both of what it draws.

    Args:
        name: unique in a page: letters and hyphens.
        alt: what the picture shows, in a sentence, for those who do not see it.
        columns: one called `source` says of each row whether its joules are measured or estimated; the titles of
            the axes repeat it.
        rows: one value per column; None where nothing was measured.
        log: axes with a logarithmic scale.
        rules: places on the axis of numbers to be marked by a line, with their labels.
        encoding: what shows which column, by name: `x`, `y` and the ends of their whiskers (`x_low`, …); `series` is
            the colour; `choose` is picked from a list, one value at a time; `front` (true or false) joins points by a
            line; `mark` (true or false) is drawn larger; `limit` is a line across one bar or interval.

    Raises:
        ValueError: an encoding that nobody draws, or a column that is not there.
    """
    names = [column.name for column in columns]
    for key, column in encoding.items():
        if key not in _ENCODINGS or column not in names:
            raise ValueError(f"{key}={column!r} of the chart {name} cannot be drawn")
    places = [names.index(encoding[key]) for key in ("x", "y")]
    cells = [[_cell(value) for value in row] for row in rows]
    drawn = [row for row in cells if all(row[place] is not None for place in places)]
    if not drawn:
        return None
    said = _said_source(names, drawn)
    axes = (encoding["x"], encoding["y"])
    titles = [
        f"{item.title} ({said})" if said and item.name in axes and _sourced(item.name) else item.title
        for item in columns
    ]
    return {
        "name": name,
        "kind": kind,
        "title": plain(title),
        "alt": plain(alt),
        "note": plain(note),
        "columns": [
            {"name": item.name, "title": title, "unit": item.unit} for item, title in zip(columns, titles, strict=True)
        ],
        "rows": drawn,
        "log": list(log),
        "rules": [[rounded(place), plain(label)] for place, label in rules],
        **encoding,
    }


def _sourced(name: str) -> bool:
    return name.startswith(_SOURCED)


def _said_source(names: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    """`measured`, `estimated`, or both, as the rows say; empty where they do not."""
    if "source" not in names:
        return ""
    place = names.index("source")
    return " and ".join(dict.fromkeys(str(row[place]) for row in rows if row[place]))


def present(*charts: Chart | None) -> list[Chart]:
    """The charts that have data."""
    return [chart for chart in charts if chart is not None]


def column_values(chart: Mapping[str, Any], name: str) -> list[Value]:
    """One column of a chart."""
    place = [column["name"] for column in chart["columns"]].index(name)
    return [row[place] for row in chart["rows"]]


def packed(chart: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the page: each text stands once, and rows name it by its number."""
    columns = [dict(column) for column in chart["columns"]]
    rows = [list(row) for row in chart["rows"]]
    for place, column in enumerate(columns):
        found = [row[place] for row in rows]
        if not any(isinstance(value, str) for value in found):
            continue
        # What mixes texts with numbers is text to its readers.
        texts = [None if value is None else str(value) for value in found]
        levels = list(dict.fromkeys(text for text in texts if text is not None))
        numbers = {text: number for number, text in enumerate(levels)}
        column["levels"] = levels
        for row, text in zip(rows, texts, strict=True):
            row[place] = None if text is None else numbers[text]
    return {**chart, "columns": columns, "rows": rows}


def chart_csv(chart: Mapping[str, Any]) -> str:
    """The chart's data, units in the column names; an absent value is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column["name"] for column in chart["columns"]])
    writer.writerows(chart["rows"])
    return out.getvalue()
