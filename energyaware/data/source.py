"""Resolve `--energy-data`: a catalogue name, or a file with an optional column map."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from energyaware.data.alarm_table import alarm_rows, is_alarm_table
from energyaware.data.splits import split_dataset
from energyaware.data.tabular import EXTENSIONS, MAX_TEXT_CHARACTERS, ColumnMap, read_header, text_rows
from energyaware.errors import DataError

if TYPE_CHECKING:
    from energyaware.examples import Dataset

CATALOGUE = ("network",)
_KEYS = ("text", "label", "split", "group")
_KEY = "|".join(_KEYS)
_MAP_START = re.compile(rf":(?=(?:{_KEY})=)")
_NEXT_ENTRY = re.compile(rf",(?=(?:{_KEY})=)")
_UNKNOWN_MAP = re.compile(r"(?P<path>.+?):(?P<key>\w+)=.*", re.DOTALL)


def load_dataset(source: str, *, seed: int = 0) -> Dataset:
    """Read and split the dataset that `source` names.

    Args:
        source: a name of `CATALOGUE`, or `PATH[:KEY=COLUMN,…]` (see `parse_source`) of a `.csv`, `.jsonl` or `.parquet`
            file. A file whose columns are `alarm_*` and `label` is read as an alarm table, any other one as labelled
            texts in the columns `text` and `label`, unless the map names others.
        seed: of the split. The catalogue's own datasets have fixed splits.

    Raises:
        DataError: an unknown name or extension, a file that is missing, damaged, empty or lacks a named column, a row
            without text or label, or too few rows to split.
    """
    if source in CATALOGUE:
        from energyaware.data.simulator import (
            network_corpus,
        )  # here, so that reading a file does not load the simulator

        return network_corpus()
    path, columns = parse_source(source)
    _require_file(path, source)
    header = read_header(path)
    rows = alarm_rows(path, header, columns) if is_alarm_table(header, columns) else text_rows(path, columns)
    examples = []
    assigned: dict[str, str] | None = {} if columns.split else None
    truncated = 0
    for row in rows:
        examples.append(row.example)
        truncated += row.truncated
        if assigned is not None and row.split is not None:
            assigned[row.example.id] = _later(assigned.get(row.example.id), row.split)
    notes = [f"{truncated} texts cut to their first {MAX_TEXT_CHARACTERS} characters"] if truncated else []
    return split_dataset(path.name, examples, seed=seed, assigned=assigned, notes=notes)


def parse_source(source: str) -> tuple[Path, ColumnMap]:
    r"""Take `PATH[:KEY=COLUMN,KEY=COLUMN…]` apart; the keys are text, label, split and group.

    A map starts at a colon that is followed by a key and `=`; a further entry starts at a comma that is followed by
    one. All other colons, commas and equals signs belong to the path or the column (`C:\data\x.csv`, `a=b.csv`,
    `text=title, body`). Where several colons could start the map, the first one behind an existing file does; a source
    that is an existing file as a whole has no map.

    Raises:
        DataError: a key twice, or a key without a column.
    """
    starts = [match.start() for match in _MAP_START.finditer(source)]
    if not starts or Path(source).is_file():
        return Path(source).expanduser(), ColumnMap()
    start = next((start for start in starts if Path(source[:start]).expanduser().is_file()), starts[0])
    entries = [entry.partition("=") for entry in _NEXT_ENTRY.split(source[start + 1 :])]
    keys = [key for key, _, _ in entries]
    for key, _, column in entries:
        if not column:
            raise DataError(f"the column map of {source!r} names no column for {key}", f"write {key}=COLUMN")
        if keys.count(key) > 1:
            raise DataError(f"the column map of {source!r} names {key} more than once", "name it once")
    return Path(source[:start]).expanduser(), ColumnMap(**{key: column for key, _, column in entries})


def _require_file(path: Path, source: str) -> None:
    if path.is_file():
        return
    if path.is_dir():
        raise DataError(f"{path} is a folder", f"name a file in it ({', '.join(EXTENSIONS)})")
    unknown = _UNKNOWN_MAP.fullmatch(source)
    if unknown and Path(unknown["path"]).expanduser().is_file():
        raise DataError(
            f"the column map of {source!r} has the unknown key {unknown['key']!r}", f"the keys are {', '.join(_KEYS)}"
        )
    if path.suffix.lower() in EXTENSIONS:
        raise DataError(f"the data file {path} does not exist", "check the path; it is relative to the current folder")
    raise DataError(
        f"unknown dataset {source!r}",
        f"use {' or '.join(CATALOGUE)}, or a file ({', '.join(EXTENSIONS)}), as in ./tickets.csv:text=body,label=kind",
    )


def _later(one: str | None, other: str) -> str:
    """The split that keeps the row where copies of it stand in several: test before validation before train."""
    return min((split for split in (one, other) if split), key=("test", "validation", "train").index)
