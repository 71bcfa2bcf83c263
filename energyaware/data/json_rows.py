"""Read JSON Lines object by object, and whole JSON documents in the shapes in which people keep rows."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from energyaware.data.display import one_line
from energyaware.data.table import Table
from energyaware.data.text_lines import text_lines
from energyaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from energyaware.data.columns import ReadOptions
    from energyaware.data.packed import ByteSource

MAX_DOCUMENT_CHARACTERS = 1 << 28


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
    """A JSON document: a list of objects; an object of objects or of columns; an object around one such list.

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
            f"{source.name} holds no list of JSON objects",
            'write [{"text": …, "label": …}, …], or one object per line into a .jsonl file',
        )
    objects, note = found
    columns = dict.fromkeys(key for row in objects for key in row)
    if not columns:
        raise DataError(f"{source.name} is empty", "give a list with at least one object")

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        for number, row in enumerate(objects, start=1):
            yield number, [row.get(column) for column in wanted]

    return Table(source.name, tuple(columns), rows, row_word="object", notes=(note,) if note else ())


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


def _row_objects(document: object) -> tuple[list[dict[str, Any]], str] | None:
    """The rows of a document and a note on how they were found, None where there are none."""
    if isinstance(document, list):
        return (document, "") if document and all(isinstance(row, dict) for row in document) else None
    if not isinstance(document, dict) or not document:
        return None
    values = list(document.values())
    if all(isinstance(value, dict) for value in values):
        numbers = [str(number) for number in range(len(values[0]))]
        if numbers and all(list(value) == numbers for value in values):
            # What pandas writes: {"text": {"0": …, "1": …}, "label": {"0": …, "1": …}}.
            return _from_columns({column: list(value.values()) for column, value in document.items()})
        return values, ""
    wrapped = len(values) == 1 and isinstance(values[0], list) and all(isinstance(row, dict) for row in values[0])
    if not wrapped and all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return _from_columns(document)
    lists = {
        key: value
        for key, value in document.items()
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    }
    if len(lists) != 1:
        return None
    ((key, rows),) = lists.items()
    return rows, f"the rows are the list {key!r} of the document"


def _from_columns(columns: dict[str, list[Any]]) -> tuple[list[dict[str, Any]], str]:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return rows, "the document holds columns, not rows"


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
