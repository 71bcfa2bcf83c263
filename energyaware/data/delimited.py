"""Read CSV, TSV and their kin through the standard library, and plain text line by line."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from energyaware.data.display import one_line
from energyaware.data.table import Table
from energyaware.data.text_lines import text_lines
from energyaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from energyaware.data.columns import ReadOptions
    from energyaware.data.packed import ByteSource

DELIMITERS = (",", ";", "\t", "|")
LINE_COLUMN = "text"
_MAX_FIELD_CHARACTERS = 1 << 26
_SAMPLE_ROWS = 20
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def delimited_table(source: ByteSource, reading: ReadOptions, delimiter: str) -> Table:
    """A table of rows whose values stand between delimiters.

    Args:
        source: the file.
        reading: `header`, `quotes` and `encoding` are heeded.
        delimiter: one character.

    Raises:
        DataError: empty, undecodable, a column named twice, or, while rows are read, a row of another length.
    """
    with _records(source, reading, delimiter) as reader:
        first = tuple(next(reader, ()))
    columns = _column_names(first, header=reading.header)
    if not columns:
        raise DataError(f"{source.name} is empty", "give a file with a header and rows")
    repeated = sorted(column for column, count in Counter(columns).items() if count > 1)
    if repeated:
        raise DataError(
            f"{source.name} has more than one column {one_line(repeated[0], 60)!r}", "rename or remove one of them"
        )

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        places = [columns.index(column) for column in wanted]
        with _records(source, reading, delimiter) as reader:
            if reading.header:
                next(reader, None)
            for row in reader:
                if not row:
                    continue  # an empty line
                if len(row) != len(columns):
                    what = "the header has" if reading.header else "the first row has"
                    raise DataError(
                        f"{source.name} line {reader.line_num} has {len(row)} values, {what} {len(columns)}",
                        f"correct the row; a value that holds {delimiter!r} stands in quotes, or the delimiter is "
                        "another one (delimiter=…); a file where quotes mean nothing needs quotes=no",
                    )
                yield reader.line_num, [row[place] for place in places]

    return Table(source.name, columns, rows)


def lines_table(source: ByteSource, reading: ReadOptions) -> Table:
    """A table with the one column `text`: every line that is not blank."""

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        with text_lines(source, reading.encoding) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, [line.strip()] * len(wanted)

    return Table(source.name, (LINE_COLUMN,), rows)


def find_delimiter(source: ByteSource, reading: ReadOptions) -> tuple[str | None, bool]:
    """The delimiter by which most of the first 20 rows have as many values as the first one, which has several.

    Among equals, the one that makes most columns, then the first of `DELIMITERS`.

    Returns:
        The delimiter, None where no one splits the first row; and whether all of these rows agree.
    """
    best: tuple[float, int] = (0.0, 1)
    found = None
    for delimiter in DELIMITERS:
        try:
            with _records(source, reading, delimiter) as reader:
                lengths = [len(row) for row in itertools.islice(reader, _SAMPLE_ROWS) if row]
        except DataError:
            # Not this one; what is wrong with the file itself is told when it is read.
            continue
        if len(lengths) == 0 or lengths[0] < 2:
            continue
        score = (lengths.count(lengths[0]) / len(lengths), lengths[0])
        if score > best:
            best, found = score, delimiter
    return found, best[0] == 1.0


def delimiter_name(delimiter: str) -> str:
    """For messages: `semicolons`."""
    return _NAMES.get(delimiter, repr(delimiter))


@contextmanager
def _records(source: ByteSource, reading: ReadOptions, delimiter: str) -> Iterator[Any]:
    """A csv reader (its type has no public name)."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if reading.quotes == "no" else csv.QUOTE_MINIMAL
    escape = "\\" if reading.quotes == "backslash" else None
    with text_lines(source, reading.encoding) as lines:
        # The limit is the csv module's own global; the default refuses fields over 128 KiB.
        old_limit = csv.field_size_limit(_MAX_FIELD_CHARACTERS)
        reader = csv.reader(
            lines, delimiter=delimiter, quoting=quoting, escapechar=escape, doublequote=escape is None, strict=True
        )
        try:
            yield reader
        except csv.Error as error:
            raise DataError(
                f"{source.name} line {reader.line_num} is not CSV ({one_line(error)})",
                "correct the row, and look for an open quote; if quotes mean nothing add quotes=no to the map, if they "
                'are written \\" within values quotes=backslash',
            ) from error
        finally:
            csv.field_size_limit(old_limit)


def _column_names(first: Sequence[str], *, header: bool) -> tuple[str, ...]:
    """A column without a name is called by its number, from 1."""
    return tuple(name if header and name.strip() else str(number) for number, name in enumerate(first, start=1))
