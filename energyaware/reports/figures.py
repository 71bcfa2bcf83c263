"""Static figures of a report's charts, for papers: SVG and PNG, drawn by matplotlib from the same plain data."""

from __future__ import annotations

import importlib.util
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from energyaware.baselines.durable import replace_file
from energyaware.errors import CacheError, OptionError
from energyaware.reports.charts import Value, column_values
from energyaware.units import percent, si

FORMATS = ("svg", "png")
WIDTH_IN = 6.5
MOST = 40
"""Categories of one figure; a page cannot hold more."""
MOST_SERIES, MOST_RULES = 16, 4
"""Series that a legend names, and rules that have room for their labels."""

# Okabe and Ito's colours, which colour-blind people can tell apart; shapes tell them in black and white too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#6a51a3")
_SHAPES = ("o", "^", "s", "D", "v", "P", "X", "*")

# One colour and shape for each verdict in every figure, as in the page.
_VERDICTS = {"pass": 0, "regressed": 1, "improved": 2, "inconclusive": 4, "incomparable": 6, "missing": 7}

Row = Mapping[str, Value]


def available() -> bool:
    """Whether figures can be drawn: matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def write_figures(folder: Path, charts: Sequence[Mapping[str, Any]]) -> tuple[Path, ...]:
    """One file per chart, choice (a work, a metric) and format, `NAME-NUMBER.svg`.

    Args:
        folder: that can be written.

    Raises:
        OptionError: matplotlib is not installed.
        CacheError: a file cannot be written.
    """
    if not available():
        raise OptionError("static figures need matplotlib, which is not installed", "pip install 'energyaware[report]'")
    written = []
    for chart in charts:
        for name, title, rows in _choices(chart):
            for suffix, data in _drawn(chart, title, rows).items():
                path = folder / f"{name}.{suffix}"
                try:
                    replace_file(path, data)
                except OSError as error:
                    raise CacheError(
                        f"the figure {path} cannot be written ({error.strerror or error})", "choose another --output"
                    ) from error
                written.append(path)
    return tuple(written)


def _choices(chart: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Row]]]:
    """File name, title and rows of each value that the page lets one choose."""
    names = [column["name"] for column in chart["columns"]]
    rows: list[Row] = [dict(zip(names, row, strict=True)) for row in chart["rows"]]
    if "choose" not in chart:
        yield chart["name"], chart["title"], rows
        return
    key = chart["choose"]
    for number, value in enumerate(dict.fromkeys(column_values(chart, key)), 1):
        chosen = [row for row in rows if row[key] == value]
        # Numbers, as names out of tests are no file names.
        yield f"{chart['name']}-{number}", f"{chart['title']}: {value}", chosen


def _drawn(chart: Mapping[str, Any], title: str, rows: Sequence[Row]) -> dict[str, bytes]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = chart["kind"]
    labels = list(dict.fromkeys(str(row[chart["y"]]) for row in rows)) if kind in ("bars", "intervals") else []
    if len(labels) > MOST:
        title = f"{title} (first {MOST} of {len(labels)})"
        labels = labels[:MOST]
    height = max(3.6, 0.26 * len(labels) + 1.8)
    # Text stays text in SVG, and `$` in a name is a dollar.
    with rc_context({"svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "svg.hashsalt": "energyaware"}):
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axes = figure.add_subplot()
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(str(row[chart["series"]]) if "series" in chart else "", []).append(row)
        draw = {"bars": _bars, "intervals": _intervals}.get(kind)
        if draw is not None:
            draw(axes, chart, groups, labels)
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
        else:
            _points(axes, chart, groups)
            axes.set_ylabel(_axis_title(chart, "y"))
            if "y" in chart["log"]:
                axes.set_yscale("log")
            _ticks(axes.yaxis, chart, "y")
        if "x" in chart["log"]:
            axes.set_xscale("log")
        for place, label in chart["rules"]:
            axes.axvline(place, color="0.4", linestyle="--", linewidth=0.8)
            if len(chart["rules"]) <= MOST_RULES:
                axes.annotate(
                    label, (place, 1), xycoords=axes.get_xaxis_transform(), xytext=(2, 2), textcoords="offset points",
                    fontsize=6, color="0.3", annotation_clip=False,
                )  # fmt: skip
        axes.set_xlabel(_axis_title(chart, "x"))
        _ticks(axes.xaxis, chart, "x")
        axes.set_title(title, fontsize=9, pad=14 if chart["rules"] else 6)
        axes.grid(True, color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        if 1 < len(groups) <= MOST_SERIES:
            # Below the axes: no place inside is free in every chart.
            figure.legend(loc="outside lower center", ncols=min(len(groups), 3), fontsize=7, frameon=False)
        return {suffix: _bytes(figure, suffix) for suffix in FORMATS}


def _bytes(figure: Any, suffix: str) -> bytes:
    out = io.BytesIO()
    # No date, so that the same data give the same file.
    figure.savefig(out, format=suffix, dpi=200, metadata={"Date": None} if suffix == "svg" else None)
    return out.getvalue()


def _bars(axes: Any, chart: Mapping[str, Any], groups: Mapping[str, Sequence[Row]], labels: Sequence[str]) -> None:
    left = [0.0] * len(labels)
    for index, (name, rows) in enumerate(groups.items()):
        widths = [
            sum(float(row[chart["x"]] or 0.0) for row in rows if str(row[chart["y"]]) == label) for label in labels
        ]
        axes.barh(range(len(labels)), widths, left=left, label=name, color=_COLOURS[index % len(_COLOURS)])
        left = [start + width for start, width in zip(left, widths, strict=True)]


def _intervals(axes: Any, chart: Mapping[str, Any], groups: Mapping[str, Sequence[Row]], labels: Sequence[str]) -> None:
    places = {label: place for place, label in enumerate(labels)}
    of_line = Counter(label for rows in groups.values() for label in {str(row[chart["y"]]) for row in rows})
    # Where a line holds several series, they are drawn one below the other.
    step = min(0.2, 0.7 / len(groups)) if max(of_line.values(), default=1) > 1 else 0.0
    for index, (name, rows) in enumerate(groups.items()):
        kept = [row for row in rows if str(row[chart["y"]]) in places]
        shift = (index - (len(groups) - 1) / 2) * step
        at = [places[str(row[chart["y"]])] + shift for row in kept]
        _with_whiskers(axes, chart, kept, at, index, name, "none")
        for row, place in zip(kept, at, strict=True):
            limit = row[chart["limit"]] if "limit" in chart else None
            if limit is not None:
                axes.plot([limit, limit], [place - 0.35, place + 0.35], color="0.2", linewidth=2)


def _points(axes: Any, chart: Mapping[str, Any], groups: Mapping[str, Sequence[Row]]) -> None:
    line = "-" if chart["kind"] == "lines" else "none"
    for index, (name, rows) in enumerate(groups.items()):
        if chart["kind"] == "histogram":
            _steps(axes, chart, rows, index, name)
            continue
        _with_whiskers(axes, chart, rows, [row[chart["y"]] for row in rows], index, name, line)
    if "mark" in chart:
        marked = [row for rows in groups.values() for row in rows if row[chart["mark"]]]
        axes.plot(
            [row[chart["x"]] for row in marked], [row[chart["y"]] for row in marked], "o", markersize=11,
            fillstyle="none", color="0.2", label=_column(chart, "mark")["title"],
        )  # fmt: skip
    if "front" in chart:
        everything = [row for rows in groups.values() for row in rows if row[chart["front"]]]
        front = sorted(everything, key=lambda row: float(row[chart["x"]] or 0.0))
        axes.plot(
            [row[chart["x"]] for row in front],
            [row[chart["y"]] for row in front],
            "--",
            color="0.4",
            label="Pareto front",
        )


def _steps(axes: Any, chart: Mapping[str, Any], rows: Sequence[Row], index: int, name: str) -> None:
    """Bins, the last one up to its upper edge."""
    edges = [*(row[chart["x"]] for row in rows), rows[-1].get("to_tokens", rows[-1][chart["x"]])]
    axes.stairs([row[chart["y"]] for row in rows], edges, label=name, color=_COLOURS[index % len(_COLOURS)])


def _with_whiskers(
    axes: Any, chart: Mapping[str, Any], rows: Sequence[Row], y: Sequence[Any], index: int, name: str, line: str
) -> None:
    index = _VERDICTS.get(name, index) if chart.get("series") == "verdict" else index
    x = [row[chart["x"]] for row in rows]
    vertical = [] if chart["kind"] == "intervals" else _ends(chart, rows, "y")
    axes.errorbar(
        x, y, xerr=_ends(chart, rows, "x") or None, yerr=vertical or None, label=name, linestyle=line,
        marker=_SHAPES[index % len(_SHAPES)], markersize=5, color=_COLOURS[index % len(_COLOURS)], capsize=2,
    )  # fmt: skip


def _ends(chart: Mapping[str, Any], rows: Sequence[Row], axis: str) -> list[list[float]]:
    """Lengths of whiskers below and above, 0 where a row has none; empty where the chart has none."""
    if f"{axis}_low" not in chart:
        return []
    below, above = [], []
    for row in rows:
        value, low, high = (row[chart[key]] for key in (axis, f"{axis}_low", f"{axis}_high"))
        known = isinstance(value, int | float) and isinstance(low, int | float) and isinstance(high, int | float)
        below.append(max(float(value or 0) - float(low or 0), 0.0) if known else 0.0)
        above.append(max(float(high or 0) - float(value or 0), 0.0) if known else 0.0)
    return [below, above]


def _column(chart: Mapping[str, Any], axis: str) -> Mapping[str, str]:
    found: Mapping[str, str] = next(item for item in chart["columns"] if item["name"] == chart[axis])
    return found


def _axis_title(chart: Mapping[str, Any], axis: str) -> str:
    return _column(chart, axis)["title"]


def _ticks(axis: Any, chart: Mapping[str, Any], name: str) -> None:
    """Numbers with SI prefixes, or as percent; on a logarithmic axis those that begin with 1, 2 or 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    unit = _column(chart, name)["unit"]
    logarithmic = name in chart["log"]
    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    if unit or logarithmic:
        axis.set_major_formatter(lambda value, _: _tick(value, unit))


def _tick(value: float, unit: str) -> str:
    if not unit:
        return f"{value:g}"
    number, _, rest = (percent(value) if unit == "%" else si(value, unit)).partition(" ")
    return f"{float(number):g} {rest}"
