"""Turn a table of numeric alarm columns into tickets: one short text per row that a language model can read.

A row of an alarm table holds, per alarm type, for how many seconds the alarm was active in an observation window of 15
minutes (the window of ITU-T G.826 performance counters). Only active alarms enter the text, by number or name, behind a
word that tells how long they were active: `steady 27 56 133 long 66 short 110`. The word stands once per kind, because
every token of a ticket costs training time and exact seconds did not help to name the cause.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from energyaware.data.cells import cell_text, one_line_label, split_name
from energyaware.data.display import one_line
from energyaware.data.rows import LabelledRow
from energyaware.data.splits import content_id
from energyaware.data.tabular import open_table
from energyaware.errors import DataError
from energyaware.examples import Example

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from energyaware.data.columns import ColumnMap, ReadOptions
    from energyaware.data.table import Table

WINDOW_S = 900.0
SHORT_S = 60.0
_LABEL = "label"
_ALARM_COLUMN = re.compile(r"alarm_(\w+)")


def is_alarm_table(columns: Sequence[str], mapped: ColumnMap) -> bool:
    """Whether these are `alarm_*` columns and the mapped label, split and group columns, and nothing else."""
    label = mapped.label or _LABEL
    others = {label, mapped.split, mapped.group}
    alarms = [column for column in columns if column not in others]
    return (
        mapped.text is None
        and label in columns
        and bool(alarms)
        and all(_ALARM_COLUMN.fullmatch(column) for column in alarms)
    )


def alarm_rows(table: Table, mapped: ColumnMap) -> Iterator[LabelledRow]:
    """The rows of an alarm table as labelled tickets.

    An example's id names the numbers of its row, so that only exact duplicates count as such; rows that merely read the
    same keep their own ids and end in one group (see `splits.merge_duplicates`).

    Raises:
        DataError: a value that is no finite number of at least 0, no label, or what reading the table raises.
    """
    label_column = mapped.label or _LABEL
    parts = [column for column in (label_column, mapped.split, mapped.group) if column]
    alarms = [column for column in table.columns if column not in parts]
    for number, values in table.rows([*alarms, *parts]):
        place = table.place(number)
        part = {
            column: cell_text(value, place, column) for column, value in zip(parts, values[len(alarms) :], strict=True)
        }
        active_s = _active(alarms, _durations(place, alarms, values))
        label = one_line_label(place, part[label_column])
        split = split_name(place, part[mapped.split]) if mapped.split else table.split
        group = part[mapped.group] if mapped.group else ""
        yield LabelledRow(Example(row_id(active_s), ticket_text(active_s), label, group), split)


def alarm_values(path: Path, reading: ReadOptions | None = None) -> dict[str, tuple[float, ...]]:
    """The numbers behind the tickets, for models that read numbers: each row's seconds per alarm, by example id.

    Raises:
        DataError: no `alarm_*` columns, or what `alarm_rows` raises on values.
    """
    table = open_table(path, reading)
    alarms = [column for column in table.columns if _ALARM_COLUMN.fullmatch(column)]
    if not alarms:
        raise DataError(f"{path} has no alarm_* columns", "give an alarm table")
    by_id = {}
    for number, values in table.rows(alarms):
        seconds = _durations(table.place(number), alarms, values)
        by_id[row_id(_active(alarms, seconds))] = seconds
    return by_id


def row_id(active_s: Mapping[str, float]) -> str:
    """The example id of a row: equal for rows of the same numbers, whatever their text."""
    return content_id(*(f"{name}={seconds!r}" for name, seconds in active_s.items()))


def ticket_text(active_s: Mapping[str, float]) -> str:
    """The active alarms in the order given, `steady` ones (the whole window) first, then `long` and `short` ones.

    Args:
        active_s: seconds that each alarm was active, by its name; all above 0. `short` is at most `SHORT_S`.
    """
    kinds: dict[str, list[str]] = {"steady": [], "long": [], "short": []}
    for name, seconds in active_s.items():
        kinds["steady" if seconds >= WINDOW_S else "long" if seconds > SHORT_S else "short"].append(name)
    return " ".join(word for kind, names in kinds.items() if names for word in (kind, *names)) or "no alarm"


def _active(alarms: Sequence[str], seconds: Sequence[float]) -> dict[str, float]:
    """The alarms that were active, by name: `alarm_17` is `17`."""
    return {column.removeprefix("alarm_"): s for column, s in zip(alarms, seconds, strict=True) if s > 0}


def _durations(place: str, alarms: Sequence[str], values: Sequence[object]) -> tuple[float, ...]:
    # `values` may hold further columns behind those of the alarms.
    return tuple(_seconds(value, place, column) for column, value in zip(alarms, values, strict=False))


def _seconds(value: object, place: str, column: str) -> float:
    try:
        seconds = float(cell_text(value, place, column))
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise DataError(
            f"{place} holds {one_line(value, 60)!r} in column {column!r}",
            "an alarm column holds seconds: a finite number with a decimal point, 0 or more",
        )
    return seconds
