"""Resolve `--energy-data`: a catalogue name, a file, a folder or a dataset of the hub, with an optional column map."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from energyaware.data.alarm_table import alarm_rows, is_alarm_table
from energyaware.data.cells import SPLIT_NAMES
from energyaware.data.columns import KEYS, ColumnMap, ReadOptions, read_map
from energyaware.data.display import one_line
from energyaware.data.hub import HubId, hub_tables, is_saved, parse_hub_id, saved_tables
from energyaware.data.packed import MAX_UNPACKED_BYTES, member_names
from energyaware.data.rows import LabelledRow, task_rows
from energyaware.data.splits import split_dataset
from energyaware.data.tabular import EXTENSIONS, PACKED_EXTENSIONS, open_table
from energyaware.data.task_columns import task_columns
from energyaware.errors import DataError
from energyaware.examples import RCA
from energyaware.paths import exists, expanded, is_dir, is_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energyaware.data.table import Table
    from energyaware.examples import Dataset

CATALOGUE = ("network",)
HUB_PREFIX = "hf:"
_KEY = "|".join(KEYS)
_MAP_START = re.compile(rf":(?=(?:{_KEY})=)")
_NEXT_ENTRY = re.compile(rf",(?=(?:{_KEY})=)")
_UNKNOWN_MAP = re.compile(r"(?P<path>.+?):(?P<key>\w+)=.*", re.DOTALL)
_PASSWORD = re.compile(rf"(?<=password=).*?(?=,(?:{_KEY})=|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Source:
    """What `--energy-data` names.

    Attributes:
        location: path or id, without the map.
        hub: whether it says by its prefix `hf:`, taken off here, that it is an id of the hub.
        columns: the columns that the map names.
        reading: what else the map says.
    """

    location: str
    hub: bool = False
    columns: ColumnMap = dataclasses.field(default_factory=ColumnMap)
    reading: ReadOptions = dataclasses.field(default_factory=ReadOptions)

    @property
    def path(self) -> Path:
        """The location as a path, `~` expanded."""
        return expanded(self.location)


def load_dataset(source: str, task: str | None = None, seed: int = 0) -> Dataset:
    """Read and split the dataset that `source` names.

    Args:
        source: a name of `CATALOGUE`, or `LOCATION[:KEY=VALUE,…]` (see `parse_source`), where the location is a file
            (see `tabular.open_table`), a folder or zip archive with one file per split (`train.csv`, `test.csv`), a
            folder that `datasets` saved, or an id of the hub, `hf:owner/name[@revision]` or `owner/name`.
        task: what the examples are for: `rca` (text, label), `response` and `summarization` (text, reference), `qa`
            (context if any, question, answer), `generation` (text), `choice` (context if any, question, options,
            answer). None: as the map says by `task=NAME`, else `rca`. For `rca`, a table of `alarm_*` columns and
            `label` is read as an alarm table.
        seed: of the split. The catalogue's own datasets have fixed splits.

    Raises:
        DataError: an unknown name or task, or a map that names another one than `task`; a source that is missing,
            unreachable, damaged, empty or lacks a column that the task needs; a row without what it needs; or too few
            rows to split.
    """
    if source in CATALOGUE:
        return _embedded(task or RCA)
    parsed = parse_source(source)
    task = _task(parsed, task)
    shape = task_columns(task)
    tables = _tables(parsed, source)
    if shape.closed and all(is_alarm_table(table.columns, parsed.columns) for table in tables):
        rows = [row for table in tables for row in alarm_rows(table, parsed.columns)]
        notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    else:
        rows, notes = task_rows(tables, parsed.columns, task, drop_missing=parsed.reading.drop_missing)
    return split_dataset(
        parsed.location if parsed.hub else parsed.path.name,
        [row.example for row in rows],
        seed=seed,
        assigned=_assigned(rows),
        notes=notes,
        task=task,
        closed=shape.closed,
    )


def parse_source(source: str) -> Source:
    r"""Take `LOCATION[:KEY=VALUE,KEY=VALUE…]` apart; the keys are those of `columns.KEYS`.

    A map starts at a colon that is followed by a key and `=`; a further entry starts at a comma that is followed by
    one. All other colons, commas and equals signs belong to the location or the value (`C:\data\x.csv`, `a=b.csv`,
    `text=title, body`). Where several colons could start the map, the first one behind an existing path does; a source
    that is an existing path as a whole has no map.

    Raises:
        DataError: a key twice, without a value, or with one that says nothing.
    """
    starts = [match.start() for match in _MAP_START.finditer(source)]
    if not starts or exists(Path(source)):
        location, columns, reading = source, ColumnMap(), ReadOptions()
    else:
        start = next((start for start in starts if exists(expanded(source[:start]))), starts[0])
        location = source[:start]
        entries = [entry.partition("=") for entry in _NEXT_ENTRY.split(source[start + 1 :])]
        try:
            columns, reading = read_map([(key, value) for key, _, value in entries])
        except DataError as error:
            raise DataError(f"{error.cause}, in {shown(source)!r}", error.remedy) from error
    hub = location.startswith(HUB_PREFIX) and not exists(Path(location))
    return Source(location.removeprefix(HUB_PREFIX) if hub else location, hub, columns, reading)


def shown(source: str) -> str:
    """The source as it may be printed and stored: without its password."""
    return _PASSWORD.sub("…", source)


def _task(parsed: Source, asked: str | None) -> str:
    named = parsed.reading.task
    if asked and named and asked != named:
        raise DataError(f"the column map says task={named}, but {asked} is asked for", "leave task=… out of the map")
    return asked or named or RCA


def _embedded(task: str) -> Dataset:
    # Here, so that reading a file does not load the simulator.
    from energyaware.data import network_tasks, simulator

    if task == RCA:
        return simulator.network_corpus()
    datasets = network_tasks.network_tasks()
    if task not in datasets:
        raise DataError(f"the embedded data has no task {task!r}", "give a file: --energy-data=PATH")
    return datasets[task]


def _tables(parsed: Source, source: str) -> list[Table]:
    hub_id = parse_hub_id(parsed.location)
    if parsed.hub:
        if hub_id is None:
            raise DataError(f"{parsed.location!r} is no id of the hub", "write hf:owner/name or hf:owner/name@revision")
        return hub_tables(hub_id, parsed.reading.subset)
    path = parsed.path
    if is_file(path):
        return _archive_tables(path, parsed.reading) or [open_table(path, parsed.reading)]
    if is_dir(path):
        return saved_tables(path) if is_saved(path) else _folder_tables(path, parsed.reading)
    if hub_id is not None and _looks_like_hub_id(hub_id):
        return hub_tables(hub_id, parsed.reading.subset)
    raise _no_such_source(path, source)


def _looks_like_hub_id(hub_id: HubId) -> bool:
    """`owner/name`, where no folder `owner` is and `name` does not end as files do."""
    owner, slash, name = hub_id.name.partition("/")
    return bool(slash) and not exists(Path(owner)) and not name.lower().endswith((*EXTENSIONS, *PACKED_EXTENSIONS))


def _no_such_source(path: Path, source: str) -> DataError:
    unknown = _UNKNOWN_MAP.fullmatch(source)
    if unknown and exists(expanded(unknown["path"])):
        return DataError(
            f"the column map of {shown(source)!r} has the unknown key {unknown['key']!r}",
            f"the keys are {', '.join(KEYS)}",
        )
    if len(path.parts) > 1 or path.suffix.lower() in (*EXTENSIONS, *PACKED_EXTENSIONS):
        return DataError(f"the data file {path} does not exist", "check the path; it is relative to the current folder")
    return DataError(
        f"unknown dataset {shown(source)!r}",
        f"use {' or '.join(CATALOGUE)}, a file ({', '.join(EXTENSIONS)}) as in ./tickets.csv:text=body,label=kind, "
        "or a dataset of the hub as in hf:owner/name",
    )


def _folder_tables(folder: Path, reading: ReadOptions) -> list[Table]:
    """One table per file of a split."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    named = _split_files([path.name for path in entries if path.is_file()])
    if not named:
        names = ", ".join(one_line(path.name, 60) for path in entries[:10]) or "nothing"
        raise DataError(
            f"{folder} is a folder without a file per split; it holds {names}",
            f"name a file in it ({', '.join(EXTENSIONS)}), or call the files train, validation and test",
        )
    return _split_tables({name: (folder / name, reading) for name in named}, named)


def _archive_tables(path: Path, reading: ReadOptions) -> list[Table]:
    """One table per file of a split in a zip archive; none where there are no such files, or a member is named."""
    if path.suffix.lower() != ".zip" or reading.member is not None:
        return []
    named = _split_files(member_names(path))
    return _split_tables({name: (path, dataclasses.replace(reading, member=name)) for name in named}, named)


def _split_tables(places: Mapping[str, tuple[Path, ReadOptions]], splits: Mapping[str, str]) -> list[Table]:
    """The files as tables of their splits, unpacked to `MAX_UNPACKED_BYTES` at most, all together.

    Shards of one split alone are split anew.
    """
    several = len(set(splits.values())) > 1
    left = MAX_UNPACKED_BYTES
    tables = []
    for name, (path, reading) in places.items():
        table = open_table(path, reading, left)
        left -= table.held_bytes
        tables.append(dataclasses.replace(table, split=splits[name] if several else None))
    return tables


def _split_files(names: Sequence[str]) -> dict[str, str]:
    """The split of each file whose name begins with that of one, as `train.csv` and `dev-v2.json`, if two do."""
    words = {name: re.split(r"[^a-z]", PurePosixPath(name).name.lower(), maxsplit=1)[0] for name in names}
    found = {name: SPLIT_NAMES[word] for name, word in words.items() if word in SPLIT_NAMES}
    return found if len(found) > 1 else {}


def _assigned(rows: list[LabelledRow]) -> dict[str, str] | None:
    """The author's split by example id, None where there is none.

    Copies of a row may stand in several splits: test keeps it before validation before train.
    """
    if all(row.split is None for row in rows):
        return None
    order = ("train", "validation", "test")
    assigned: dict[str, str] = {}
    for row in rows:
        if row.split is not None:
            assigned[row.example.id] = max(assigned.get(row.example.id, "train"), row.split, key=order.index)
    return assigned
