"""Read tables row by row: CSV and JSONL through the standard library, Parquet through pyarrow."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from energyaware.data.splits import content_id
from energyaware.errors import DataError
from energyaware.examples import Example

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

EXTENSIONS = (".csv", ".jsonl", ".parquet")
MAX_TEXT_CHARACTERS = 20_000
_MAX_FIELD_CHARACTERS = 1 << 26
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which column of a file plays which part. `text` is None where it was not named."""

    text: str | None = None
    label: str = "label"
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One row, and where it stood."""

    example: Example
    split: str | None
    truncated: bool


def read_header(path: Path) -> tuple[str, ...]:
    """The columns of a file; for JSONL the keys of its first object.

    Raises:
        DataError: the file cannot be read, is empty, or repeats a column.
    """
    match path.suffix.lower():
        case ".csv":
            columns = _csv_header(path)
        case ".jsonl":
            columns = tuple(next((row for _, row in _jsonl_objects(path)), {}))
        case ".parquet":
            with _open_parquet(path) as file:
                columns = tuple(file.schema_arrow.names)
        case extension:
            raise DataError(
                f"{path} has the extension {extension!r}" if extension else f"{path} has no extension",
                f"convert it to one of {', '.join(EXTENSIONS)}",
            )
    if not columns:
        raise DataError(f"{path} is empty", "give a file with a header and rows")
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise DataError(f"{path} has more than one column {repeated[0]!r}", "rename or remove one of them")
    return columns


def iter_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The values of `columns` as text, row by row, with the line (CSV, JSONL) or row number (Parquet), from 1.

    A missing value is the empty text. Numbers are written as Python writes them.

    Raises:
        DataError: a ragged row, a damaged file, a wrong encoding, or a value that is a list or an object.
    """
    match path.suffix.lower():
        case ".csv":
            return _csv_rows(path, columns)
        case ".jsonl":
            return _jsonl_rows(path, columns)
        case _:
            return _parquet_rows(path, columns)


def where(path: Path, number: int) -> str:
    """A row for an error message: `data.csv line 7`; a Parquet file has rows, not lines."""
    return f"{path} {'row' if path.suffix.lower() == '.parquet' else 'line'} {number}"


def require_columns(path: Path, existing: Sequence[str], named: Sequence[str]) -> None:
    """Raise a DataError that shows the existing columns where a named one is not among them."""
    missing = [column for column in named if column not in existing]
    if not missing:
        return
    shown = ", ".join(existing[:20]) + (f" and {len(existing) - 20} more" if len(existing) > 20 else "")
    raise DataError(
        f"{path} has no column {' and no column '.join(map(repr, missing))}; its columns are {shown}",
        "map them like this: PATH:text=COLUMN,label=COLUMN (then split=COLUMN and group=COLUMN, where wanted)",
    )


def label_and_split(place: str, label: str, split: str | None) -> tuple[str, str | None]:
    """A row's label on one line and its split's full name.

    Raises:
        DataError: an empty label, or a split of another name than train, validation (val, valid, dev) and test.
    """
    label = " ".join(label.split())
    if not label:
        raise DataError(f"{place} has no label", "fill it in or remove the row")
    if split is None:
        return label, None
    try:
        return label, _SPLIT_NAMES[split.strip().lower()]
    except KeyError:
        raise DataError(
            f"{place} belongs to the unknown split {split!r}", "use train, validation and test in the split column"
        ) from None


def text_rows(path: Path, columns: ColumnMap) -> Iterator[LabelledRow]:
    """Labelled texts of a file. A text of more than `MAX_TEXT_CHARACTERS` keeps its beginning.

    Raises:
        DataError: a named column is missing, a text or label is empty, or the file cannot be read.
    """
    text = columns.text or "text"
    named = [text, columns.label, *(column for column in (columns.split, columns.group) if column)]
    require_columns(path, read_header(path), named)
    for number, values in iter_rows(path, named):
        place = where(path, number)
        row = dict(zip(named, values, strict=True))
        content = row[text].strip()
        if not content:
            raise DataError(f"{place} has an empty text in column {text!r}", "fill it in or remove the row")
        label, split = label_and_split(place, row[columns.label], row[columns.split] if columns.split else None)
        group = row[columns.group].strip() if columns.group else ""
        shown = content[:MAX_TEXT_CHARACTERS]
        yield LabelledRow(Example(content_id(content), shown, label, group), split, shown != content)


def _csv_header(path: Path) -> tuple[str, ...]:
    with _text_lines(path) as lines:
        try:
            header = tuple(next(csv.reader(lines, strict=True), ()))
        except csv.Error as error:
            raise DataError(f"{path} line 1 is not CSV ({error})", "save it as comma-separated UTF-8 text") from error
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise DataError(f"{path} does not separate its columns by commas", "save it as comma-separated UTF-8 text")
    return header


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    with _text_lines(path) as lines:
        # The limit is the csv module's own global; the default refuses fields over 128 KiB.
        old_limit = csv.field_size_limit(_MAX_FIELD_CHARACTERS)
        try:
            reader = csv.reader(lines, strict=True)
            header = next(reader, [])
            places = [header.index(column) for column in columns]
            for row in reader:
                if not row:
                    continue  # an empty line
                if len(row) != len(header):
                    raise DataError(
                        f"{path} line {reader.line_num} has {len(row)} values, the header has {len(header)}",
                        'correct the row; a value that holds a comma stands in quotes: "a, b"',
                    )
                yield reader.line_num, [row[place] for place in places]
        except csv.Error as error:
            raise DataError(
                f"{path} line {reader.line_num} is not CSV ({error})", "correct the row, and look for an open quote"
            ) from error
        finally:
            csv.field_size_limit(old_limit)


def _jsonl_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with _text_lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                cause = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise DataError(
                    f"{path} line {number} is not JSON ({cause})", "write one JSON object per line"
                ) from error
            if not isinstance(value, dict):
                raise DataError(f"{path} line {number} is not a JSON object", "write one JSON object per line")
            yield number, value


def _jsonl_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for number, row in _jsonl_objects(path):
        missing = [column for column in columns if column not in row]
        if missing:
            raise DataError(
                f"{path} line {number} has no {missing[0]!r}; it has {', '.join(row) or 'nothing'}",
                "give every object the same keys",
            )
        yield number, [_as_text(row[column], where(path, number), column) for column in columns]


def _open_parquet(path: Path) -> Any:
    try:
        import pyarrow as pa  # here, because only Parquet files need it
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{path} needs the package pyarrow", "run `pip install pyarrow`, or convert the file to CSV or JSONL"
        ) from error
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet ({error})", "write the file anew") from error


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    with _open_parquet(path) as file:
        import pyarrow as pa  # _open_parquet proved that it is there

        number = 0
        try:
            for batch in file.iter_batches(batch_size=1024, columns=list(columns)):
                # By name: the file's own order of columns is another one.
                values = [batch.column(column).to_pylist() for column in columns]
                for row in zip(*values, strict=True):
                    number += 1
                    place = where(path, number)
                    yield number, [_as_text(value, place, name) for value, name in zip(row, columns, strict=True)]
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged after row {number} ({error})", "write the file anew") from error


def _as_text(value: object, place: str, column: str) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool() | int() | float():
            return str(value)
    raise DataError(
        f"{place} holds {'an object' if isinstance(value, dict) else type(value).__name__} in {column!r}, not text",
        "give one text or number per column",
    )


@contextmanager
def _text_lines(path: Path) -> Iterator[TextIO]:
    """Open `path` as UTF-8, with or without a byte order mark; what fails while reading it becomes a DataError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} line {_first_line_of_another_encoding(path)} is not UTF-8 ({error.reason})",
            "save the file as UTF-8 (`iconv -f latin1 -t utf-8 OLD > NEW` converts a Latin-1 file)",
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error})", "check the path and its rights"
        ) from error


def _first_line_of_another_encoding(path: Path) -> int:
    # The decoder reads ahead in blocks and knows no lines: look again, line by line.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
