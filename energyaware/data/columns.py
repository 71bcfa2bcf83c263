"""Which column of a file plays which part, and how a file is to be read: the map behind the path."""

from __future__ import annotations

import difflib
import fnmatch
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from energyaware.data.display import one_line
from energyaware.errors import DataError

if TYPE_CHECKING:
    from energyaware.data.table import Table


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which column plays which part; None where it was not named.

    `text` may hold several columns as `a|b` or `comment *`, which are joined line by line; so may `options`, or one
    that holds a list. Every name may lead into objects and lists by dots: `answers.text`, `messages.0.content`,
    `messages.*.content`.
    """

    text: str | None = None
    label: str | None = None
    question: str | None = None
    options: str | None = None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    r"""How to read a source where it does not tell by itself.

    Attributes:
        delimiter: one character, or "" where each line is one text; None finds it out.
        header: whether the first row holds the names of the columns; without, they are called 1, 2, 3, …
        quotes: what stands for a double quote within a value in double quotes: `double` ("") or `backslash` (\");
            `no` where double quotes mean nothing.
        encoding: of a text file; None stands for UTF-8, or UTF-16 where a byte order mark says so.
        password: of an encrypted archive. Never shown.
        member: file within an archive.
        subset: configuration of a Hugging Face dataset.
        drop_missing: leave out rows without text or answer instead of refusing the file.
        task: what the rows are for; None where the map does not say.
    """

    delimiter: str | None = None
    header: bool = True
    quotes: str = "double"
    encoding: str | None = None
    password: str | None = field(default=None, repr=False)
    member: str | None = None
    subset: str | None = None
    drop_missing: bool = False
    task: str | None = None


COLUMN_KEYS: Mapping[str, str] = {
    "text": "text",
    "context": "text",
    "label": "label",
    "answer": "label",
    "reference": "label",
    "question": "question",
    "options": "options",
    "split": "split",
    "group": "group",
}
READ_KEYS = ("delimiter", "header", "quotes", "encoding", "password", "member", "subset", "missing", "task")
KEYS = (*COLUMN_KEYS, *READ_KEYS)

_DELIMITER_WORDS: Mapping[str, str] = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "none": ""}


def read_map(entries: Sequence[tuple[str, str]]) -> tuple[ColumnMap, ReadOptions]:
    """Sort the entries of a map, each a key of `KEYS` and its value, into columns and reading options.

    Raises:
        DataError: a key twice (synonyms are the same key), without a value, or with one that it does not know.
    """
    columns: dict[str, str] = {}
    reading: dict[str, str] = {}
    for key, value in entries:
        place, name = (columns, COLUMN_KEYS[key]) if key in COLUMN_KEYS else (reading, key)
        if not value:
            what = "no column" if key in COLUMN_KEYS else "no value"
            raise DataError(f"the column map names {what} for {key}", f"write {key}=…")
        if name in place:
            both = f" ({key} is another word for it)" if key != name else ""
            raise DataError(f"the column map names {name} more than once{both}", "name it once")
        place[name] = value
    return ColumnMap(**columns), _read_options(reading)


def _read_options(values: Mapping[str, str]) -> ReadOptions:
    delimiter = values.get("delimiter")
    if delimiter is not None:
        delimiter = _DELIMITER_WORDS.get(delimiter.lower(), delimiter)
        if len(delimiter) > 1 or delimiter in ("\n", "\r", '"'):
            raise DataError(f"{delimiter!r} is no delimiter", "use one character, tab, or none for one text per line")
    encoding = values.get("encoding")
    if encoding is not None:
        try:
            b" ".decode(encoding)
        except (LookupError, ValueError) as error:
            raise DataError(f"Python knows no text encoding {encoding!r}", "use one like latin-1 or cp1252") from error
    return ReadOptions(
        delimiter=delimiter,
        header=_one_of(values, "header", ("yes", "no")) == "yes",
        quotes=_one_of(values, "quotes", ("double", "backslash", "no")),
        encoding=encoding,
        password=values.get("password"),
        member=values.get("member"),
        subset=values.get("subset"),
        drop_missing=_one_of(values, "missing", ("error", "drop")) == "drop",
        task=values.get("task"),
    )


def _one_of(values: Mapping[str, str], key: str, allowed: Sequence[str]) -> str:
    """The value of a key, the first allowed one where it is not given."""
    value = values.get(key, allowed[0]).lower()
    if value not in allowed:
        raise DataError(
            f"{key}={values[key]} says nothing we know", f"use {' or '.join(f'{key}={word}' for word in allowed)}"
        )
    return value


@dataclass(frozen=True, slots=True)
class Place:
    """A column, and the way from its value to what is meant.

    Attributes:
        column: as the table writes it.
        inside: keys of objects and numbers of list items (from 0; from -1 backwards; `*` for all), from outside to
            inside; usually none.
    """

    column: str
    inside: tuple[str, ...] = ()

    def value(self, cell: object) -> object:
        """What is meant in this cell of the column; None where the way ends early."""
        for depth, key in enumerate(self.inside, start=1):
            if isinstance(cell, list) and cell and all(isinstance(item, tuple) for item in cell):
                cell = dict(cell)  # a map of Parquet
            if isinstance(cell, Mapping):
                cell = cell.get(key)
            elif isinstance(cell, list) and key == "*":
                rest = Place(self.column, self.inside[depth:])
                return [rest.value(item) for item in cell]
            elif isinstance(cell, list) and key.removeprefix("-").isdecimal() and -len(cell) <= int(key) < len(cell):
                cell = cell[int(key)]
            else:
                return None
        return cell


def find_place(columns: Sequence[str], name: str) -> Place | None:
    """Where `name` is: the very column, else the only one that differs in case, outer spaces or in how accents are
    encoded, else inside one.

    `a.b.c` is looked for as a column, then as `c` in the objects of a column `a.b`, then of a column `a`.
    """
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        wanted = ".".join(parts[:end])
        column = wanted if wanted in columns else _alike(columns, wanted)
        if column is not None:
            return Place(column, tuple(parts[end:]))
    return None


def find_places(columns: Sequence[str], names: str) -> tuple[Place, ...]:
    """The places that an entry for `text` or `options` names.

    These are a column, `a|b|c`, or a pattern with `*` or `?`, in the table's order.

    Returns:
        Nothing where one of them is missing.
    """
    single = find_place(columns, names)
    if single is not None:
        return (single,)
    if "|" in names:
        places = [find_place(columns, name) for name in names.split("|")]
        return tuple(place for place in places if place is not None) if all(places) else ()
    if "*" in names or "?" in names:
        pattern = names.casefold()
        return tuple(Place(column) for column in columns if fnmatch.fnmatchcase(column.strip().casefold(), pattern))
    return ()


def missing_column(table: Table, wanted: Sequence[str], needs: str) -> DataError:
    """The error for columns that a table lacks; it shows those that it has.

    Args:
        table: what was read.
        wanted: names that were looked for and not found.
        needs: an example of a map that would do.
    """
    columns = [one_line(column, 60) for column in table.columns]
    shown = ", ".join(columns[:20]) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
    alike = [found for name in wanted for found in difflib.get_close_matches(name, table.columns, n=1)]
    hint = f"did you mean {one_line(alike[0], 60)!r}? " if alike else ""
    unknown = [match[1] for name in wanted for match in re.finditer(r",(\w+)=", name)]
    if unknown:
        hint = f"{unknown[0]} is no key of a map (they are {', '.join(KEYS)}); "
    read = f" ({'; '.join(table.notes)})" if table.notes else ""
    return DataError(
        f"{table.name} has no column {' and no column '.join(map(repr, wanted))}; its columns are {shown}{read}",
        f"{hint}map them like this: PATH:{needs} (without a header row: header=no; for another task: task=NAME)",
    )


def _alike(columns: Sequence[str], name: str) -> str | None:
    found = [column for column in columns if _folded(column) == _folded(name)]
    return found[0] if len(found) == 1 else None


def _folded(name: str) -> str:
    """Some programs write ö as one character, others as an o with two dots to be put on it."""
    return unicodedata.normalize("NFC", name.strip()).casefold()
