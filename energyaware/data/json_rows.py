"""Read JSON Lines object by object, and whole JSON documents in the shapes in which people keep rows."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energyaware.data.cells import SPLIT_NAMES
from energyaware.data.display import one_line
from energyaware.data.table import Table
from energyaware.data.text_lines import text_lines
from energyaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from energyaware.data.columns import ReadOptions
    from energyaware.data.packed import ByteSource

MAX_DOCUMENT_CHARACTERS = 1 << 28
SPLIT_COLUMN = "split"
_MOST_LEVELS = 3


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a document.

    Attributes:
        objects: one per row.
        note: how they were found, where that is not plain.
        split: whether `SPLIT_COLUMN` tells to which split each belongs.
    """

    objects: list[dict[str, Any]]
    note: str = ""
    split: bool = False


def json_lines_table(source: ByteSource, reading: ReadOptions) -> Table:
    """One object per line. The columns are all keys of all objects; an object that lacks one holds None there.

    Raises:
        DataError: empty, undecodable, or a line that is no JSON object or repeats a key.
    """
    # A dict, because it keeps the order.
    columns = dict.fromkeys(key for _, row in _objects(source, reading) for key in row)
    if not columns:
        raise DataError(f"{source.name} is empty", "give a file with one JSON object per line")

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        for number, row in _objects(source, reading):
            yield number, [row.get(column) for column in wanted]

    return Table(source.name, tuple(columns), rows)


def json_table(source: ByteSource, reading: ReadOptions) -> Table:
    """A JSON document: a list of objects; an object of objects, of columns or of splits; an object around one such
    list; pandas' `split`; or SQuAD's articles.

    A document of one object per line is read as JSON Lines.

    Raises:
        DataError: empty, undecodable, damaged, of more than `MAX_DOCUMENT_CHARACTERS`, or of another shape.
    """
    document = _document(source, reading)
    if document is None:
        return json_lines_table(source, reading)
    found = _row_objects(document[0])
    if found is None:
        raise DataError(
            f"{source.name} holds no list of JSON objects, or several",
            'write [{"text": …, "label": …}, …], or one object per line into a .jsonl file',
        )
    columns = dict.fromkeys(key for row in found.objects for key in row)
    if not columns:
        raise DataError(f"{source.name} is empty", "give a list with at least one object")

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        for number, row in enumerate(found.objects, start=1):
            yield number, [row.get(column) for column in wanted]

    return Table(
        source.name,
        tuple(columns),
        rows,
        row_word="object",
        split_column=(SPLIT_COLUMN,) if found.split else (),
        notes=(found.note,) if found.note else (),
    )


def _objects(source: ByteSource, reading: ReadOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    with text_lines(source, reading.encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{source.name} line {number}"
            value = _parsed(line, place, "write one JSON object per line")
            if not isinstance(value, dict):
                raise DataError(f"{place} is not a JSON object", "write one JSON object per line")
            yield number, value


def _document(source: ByteSource, reading: ReadOptions) -> tuple[Any] | None:
    """The document in a tuple of one, since a document may be null; None where more than one stands in the file."""
    with text_lines(source, reading.encoding) as lines:
        parts: list[str] = []
        size = 0
        for line in lines:
            size += len(line)
            if size > MAX_DOCUMENT_CHARACTERS:
                raise DataError(
                    f"{source.name} is one JSON document of more than {MAX_DOCUMENT_CHARACTERS >> 20} Mi characters",
                    "save it as JSON Lines (.jsonl), which is read row by row",
                )
            parts.append(line)
    content = "".join(parts)
    if not content.strip():
        raise DataError(f"{source.name} is empty", "give a list with at least one object")
    try:
        return (_parsed(content, source.name, "write a list of JSON objects"),)
    except DataError as error:
        cause = error.__cause__
        # More than one document: every line is one, or the message for its first bad line tells what is wrong.
        if isinstance(cause, json.JSONDecodeError) and cause.msg == "Extra data":
            return None
        raise


def _row_objects(document: object) -> _Rows | None:
    """The rows of a document in one of the shapes in use, None where it has none of them."""
    if isinstance(document, list):
        return _Rows(document) if _is_rows(document) else None
    if not isinstance(document, dict) or not document:
        return None
    return _squad(document) or _columns(document) or _objects_by_name(document) or _splits(document) or _inner(document)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _squad(document: dict[str, Any]) -> _Rows | None:
    """SQuAD: articles hold paragraphs, these hold a context and the questions on it."""
    articles = document.get("data")
    if not _is_rows(articles) or not all(_is_rows(article.get("paragraphs")) for article in articles or ()):
        return None
    rows = [
        {"title": article.get("title"), "context": paragraph.get("context")} | question
        for article in articles or ()
        for paragraph in article["paragraphs"]
        if isinstance(paragraph.get("qas"), list)
        for question in paragraph["qas"]
        if isinstance(question, dict)
    ]
    return _Rows(rows, "each question of the document's paragraphs is a row") if rows else None


def _columns(document: dict[str, Any]) -> _Rows | None:
    """Columns of equal length as lists, or as objects under row numbers as pandas writes them; or pandas' `split`."""
    names, data = document.get("columns"), document.get("data")
    if document.keys() <= {"columns", "index", "data"} and isinstance(names, list) and isinstance(data, list):
        keys = [str(name) for name in names]
        fits = len(set(keys)) == len(keys) and all(isinstance(row, list) and len(row) == len(keys) for row in data)
        return _Rows([dict(zip(keys, row, strict=True)) for row in data]) if fits else None
    values = list(document.values())
    if all(isinstance(value, dict) for value in values):
        numbers = values[0].keys()
        if not numbers or any(value.keys() != numbers for value in values) or not all(map(str.isdecimal, numbers)):
            return None
        values = [[value[number] for number in numbers] for value in values]
    if not all(isinstance(value, list) for value in values) or len({len(value) for value in values}) > 1:
        return None
    if all(map(_is_rows, values)):
        return None  # lists of rows rather than columns of objects
    rows = [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]
    return _Rows(rows, "the document holds columns, not rows")


def _objects_by_name(document: dict[str, Any]) -> _Rows | None:
    values = list(document.values())
    # One object alone is rather what the rows stand in.
    wrapped = len(values) == 1 and _inner(document) is not None
    return _Rows(values) if not wrapped and all(isinstance(value, dict) for value in values) else None


def _splits(document: dict[str, Any]) -> _Rows | None:
    """Lists of rows that are called train, test and so on."""
    lists = {key: value for key, value in document.items() if _is_rows(value)}
    if len(lists) < 2 or not all(key.lower() in SPLIT_NAMES for key in lists):
        return None
    if any(SPLIT_COLUMN in row for rows in lists.values() for row in rows):
        return None
    rows = [row | {SPLIT_COLUMN: key} for key, rows in lists.items() for row in rows]
    return _Rows(rows, f"the lists {', '.join(lists)} of the document are its splits", split=True)


def _inner(document: dict[str, Any]) -> _Rows | None:
    """The only list of objects in the document, or in the objects of which it consists."""
    level = {repr(key): value for key, value in document.items()}
    for _ in range(_MOST_LEVELS):
        lists = {place: value for place, value in level.items() if _is_rows(value)}
        if lists:
            ((place, rows), *others) = lists.items()
            return None if others else _Rows(rows, f"the rows are the list {place} of the document")
        level = {
            f"{place}.{key!r}": value
            for place, inner in level.items()
            if isinstance(inner, dict)
            for key, value in inner.items()
        }
    return None


class _RepeatedKeyError(ValueError):
    """An object that names one key twice, of which the standard library would silently keep the last."""


def _parsed(content: str, place: str, remedy: str) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        cause = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else one_line(error)
        if isinstance(error, json.JSONDecodeError) and error.lineno > 1:
            cause = f"{error.msg}, line {error.lineno} column {error.colno}"
        if isinstance(error, RecursionError):
            cause = "it is nested too deeply"
        raise DataError(f"{place} is not JSON ({cause})", remedy) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key in counts if counts[key] > 1)
        raise _RepeatedKeyError(f"the key {one_line(twice, 60)!r} stands twice")
    return row
