"""Open a data file as a table, whatever its format: by its extension, else by how it begins."""

from __future__ import annotations

import codecs
import dataclasses
import re
from typing import TYPE_CHECKING

from energyaware.data.columns import ReadOptions
from energyaware.data.delimited import delimited_table, delimiter_name, find_delimiter, lines_table
from energyaware.data.json_rows import json_lines_table, json_table
from energyaware.data.packed import MAX_UNPACKED_BYTES, STREAMS, open_source
from energyaware.data.parquet import arrow_table, parquet_table
from energyaware.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from energyaware.data.packed import ByteSource
    from energyaware.data.table import Table

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".feather", ".arrow", ".txt")
PACKED_EXTENSIONS = (*STREAMS, ".zip")
_USUAL_DELIMITER = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".jsonlines")
_PARQUET = (".parquet", ".pq")
_ARROW = (".feather", ".arrow", ".ipc")
_LINES = (".log",)
_REFUSED = {
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".ods": "save the sheet as CSV",
    ".pkl": "a pickle can run code when it is read; write CSV, JSONL or Parquet",
    ".pickle": "a pickle can run code when it is read; write CSV, JSONL or Parquet",
    ".tar": "unpack it and name a file",
    ".tgz": "unpack it and name a file",
    ".7z": "unpack it and name a file",
}
# How files begin that are often called .csv, .txt or .json although they are not.
_DISGUISED = {
    b"PK\x03\x04": ("an Excel workbook or another zip archive", "save the sheet as CSV, or call the archive .zip"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV"),
    b"\x1f\x8b": ("packed by gzip", "call it .gz"),
    b"%PDF-": ("a PDF document", "convert it to CSV, JSONL or Parquet"),
}
_HEAD_BYTES = 4096
_JSON_BEGINNING = re.compile(rb"\s*(\{|\[\s*[{\]])")
_LIST_BEGINNING = re.compile(rb"(\xef\xbb\xbf)?\s*\[")


def open_table(path: Path, reading: ReadOptions | None = None, most: int = MAX_UNPACKED_BYTES) -> Table:
    """A data file as a table.

    `.csv`, `.tsv`, `.jsonl`, `.json`, `.parquet` and `.feather` are read as such, each also as `.gz`, `.bz2`, `.xz` or
    in a zip archive. Anything else is read as Parquet or JSON if it begins so, as a delimited table if its first 20
    rows agree on a delimiter, and else, as a `.log` file, as one text per line. A table's notes tell what was decided.

    Args:
        most: bytes to which a packed file may unpack.

    Raises:
        DataError: a format that is not read, or a damaged, empty, too large or undecodable file.
    """
    reading = reading or ReadOptions()
    source = open_source(path, member=reading.member, password=reading.password, most=most)
    return dataclasses.replace(_table(source, reading), held_bytes=source.held_bytes)


def _table(source: ByteSource, reading: ReadOptions) -> Table:
    if source.suffix in _REFUSED:
        raise DataError(f"{source.name} is a {source.suffix} file, which is not read", _REFUSED[source.suffix])
    if source.suffix in _PARQUET:
        return parquet_table(source)
    if source.suffix in _ARROW:
        return arrow_table(source)
    head = source.head(_HEAD_BYTES)
    for beginning, (what, remedy) in _DISGUISED.items():
        if head.startswith(beginning):
            raise DataError(f"{source.name} is {what}, whatever its name says", remedy)
    if source.suffix in _JSON_LINES and not _LIST_BEGINNING.match(head):
        return json_lines_table(source, reading)
    if source.suffix == ".json" or source.suffix in _JSON_LINES:
        return json_table(source, reading)
    if reading.delimiter == "":
        return lines_table(source, reading)
    if reading.delimiter is not None:
        return delimited_table(source, reading, reading.delimiter)
    if source.suffix in _LINES and not _JSON_BEGINNING.match(head):
        return _noted(lines_table(source, reading), "each line is one text")
    if source.suffix in _USUAL_DELIMITER:
        return _delimited(source, reading)
    return _by_content(source, reading, head)


def _delimited(source: ByteSource, reading: ReadOptions) -> Table:
    usual = _USUAL_DELIMITER[source.suffix]
    found, _ = find_delimiter(source, reading)
    # Tabs are rare within values, so that a .tsv file whose first row has one means it.
    chosen = usual if found is None or (usual == "\t" and _splits_first_row(source, reading, usual)) else found
    table = delimited_table(source, reading, chosen)
    return table if chosen == usual else _noted(table, f"values are separated by {delimiter_name(chosen)}")


def _by_content(source: ByteSource, reading: ReadOptions, head: bytes) -> Table:
    if head.startswith(b"PAR1"):
        return parquet_table(source)
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in head and not marked and reading.encoding is None:
        raise DataError(
            f"{source.name} is not a text file",
            f"convert it to one of {', '.join(EXTENSIONS)} (also packed: {', '.join(PACKED_EXTENSIONS)})",
        )
    if _JSON_BEGINNING.match(head.removeprefix(codecs.BOM_UTF8)):
        return json_table(source, reading)
    found, all_agree = find_delimiter(source, reading)
    if found is not None and all_agree:
        return _noted(
            delimited_table(source, reading, found),
            f"read as a table whose values are separated by {delimiter_name(found)} (delimiter=none reads lines)",
        )
    return _noted(lines_table(source, reading), "each line is one text")


def _splits_first_row(source: ByteSource, reading: ReadOptions, delimiter: str) -> bool:
    return len(delimited_table(source, reading, delimiter).columns) > 1


def _noted(table: Table, note: str) -> Table:
    return dataclasses.replace(table, notes=(*table.notes, note))
