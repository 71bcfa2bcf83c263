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

from energyaware.data.splits import content_id
from energyaware.data.tabular import ColumnMap, LabelledRow, iter_rows, label_and_split, read_header, where
from energyaware.errors import DataError
from energyaware.examples import Example

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

WINDOW_S = 900.0
SHORT_S = 60.0
_ALARM_COLUMN = re.compile(r"alarm_(\w+)")


def is_alarm_table(columns: Sequence[str], mapped: ColumnMap) -> bool:
    """Whether these are `alarm_*` columns and the mapped label, split and group columns, and nothing else."""
    others = {mapped.label, mapped.split, mapped.group}
    alarms = [column for column in columns if column not in others]
    return (
        mapped.text is None
        and mapped.label in columns
        and bool(alarms)
        and all(_ALARM_COLUMN.fullmatch(column) for column in alarms)
    )


def alarm_rows(path: Path, columns: Sequence[str], mapped: ColumnMap) -> Iterator[LabelledRow]:
    """The rows of an alarm table as labelled tickets.

    An example's id names the numbers of its row, so that only exact duplicates count as such; rows that merely read the
    same keep their own ids and end in one group (see `splits.merge_duplicates`).

    Raises:
        DataError: a value that is no finite number of at least 0, no label, or what `iter_rows` raises.
    """
    parts = [column for column in (mapped.label, mapped.split, mapped.group) if column]
    alarms = [column for column in columns if column not in parts]
    for number, values in iter_rows(path, [*alarms, *parts]):
        place = where(path, number)
        part = dict(zip(parts, values[len(alarms) :], strict=True))
        active_s = _active(alarms, _durations(place, alarms, values))
        label, split = label_and_split(place, part[mapped.label], part[mapped.split] if mapped.split else None)
        group = part[mapped.group].strip() if mapped.group else ""
        yield LabelledRow(Example(row_id(active_s), ticket_text(active_s), label, group), split, truncated=False)


def alarm_values(path: Path) -> dict[str, tuple[float, ...]]:
    """The numbers behind the tickets, for models that read numbers: each row's seconds per alarm, by example id.

    Raises:
        DataError: no `alarm_*` columns, or what `alarm_rows` raises on values.
    """
    alarms = [column for column in read_header(path) if _ALARM_COLUMN.fullmatch(column)]
    if not alarms:
        raise DataError(f"{path} has no alarm_* columns", "give an alarm table")
    by_id = {}
    for number, values in iter_rows(path, alarms):
        seconds = _durations(where(path, number), alarms, values)
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


def _durations(place: str, alarms: Sequence[str], values: Sequence[str]) -> tuple[float, ...]:
    # `values` may hold further columns behind those of the alarms.
    return tuple(_seconds(value, place, column) for column, value in zip(alarms, values, strict=False))


def _seconds(value: str, place: str, column: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise DataError(
            f"{place} holds {value!r} in column {column!r}", "an alarm column holds seconds: a finite number, 0 or more"
        )
    return seconds
