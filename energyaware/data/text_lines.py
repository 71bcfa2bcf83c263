"""Decode a text file line by line; what fails while reading it names the line."""

from __future__ import annotations

import codecs
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

from energyaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from energyaware.data.packed import ByteSource

MAX_LINE_CHARACTERS = 1 << 26
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_BLOCK_BYTES = 1 << 20


@contextmanager
def text_lines(source: ByteSource, encoding: str | None = None) -> Iterator[Iterator[str]]:
    """The lines of a text file with their ends as they stand; a byte order mark is taken off.

    Args:
        source: the file.
        encoding: None stands for UTF-8, or for UTF-16 where the file begins with its byte order mark.

    Raises:
        DataError: another encoding, a NUL character, a line of more than `MAX_LINE_CHARACTERS`, or an unreadable file.
    """
    chosen = encoding or _marked_encoding(source)
    try:
        with source.open() as binary, io.TextIOWrapper(binary, encoding=chosen, newline="") as file:
            yield _checked(file, source.name)
    except UnicodeError as error:
        line = f" line {_first_undecodable_line(source)}" if chosen == "utf-8-sig" else ""
        reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        raise DataError(
            f"{source.name}{line} is not {'UTF-8' if chosen == 'utf-8-sig' else chosen} ({reason})",
            "name its encoding in the map (encoding=latin-1, encoding=cp1252), or save the file as UTF-8",
        ) from error
    except OSError as error:
        raise DataError(
            f"{source.name} cannot be read ({error.strerror or error})", "check the path and its rights"
        ) from error


def _marked_encoding(source: ByteSource) -> str:
    # UTF-32's little-endian mark begins with UTF-16's; nobody writes UTF-32, and its NULs are refused.
    return "utf-16" if source.head(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _checked(file: io.TextIOWrapper, name: str) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_MARK)  # an encoding that was named, like utf-8, may leave it there
        if len(line) > MAX_LINE_CHARACTERS:
            raise DataError(
                f"{name} line {number} has more than {MAX_LINE_CHARACTERS >> 20} Mi characters",
                "give a file with one row per line",
            )
        if "\0" in line:
            raise DataError(
                f"{name} line {number} holds a NUL character",
                "give a text file, without NUL characters (UTF-16 without a byte order mark: encoding=utf-16-le)",
            )
        yield line


def _first_undecodable_line(source: ByteSource) -> int:
    # The decoder reads ahead and knows no lines: look again, in blocks, since a line may be as long as the file.
    decoder, number, block = codecs.getincrementaldecoder("utf-8")(), 1, b"\n"
    with source.open() as stream:
        while block:
            block = stream.read(_BLOCK_BYTES)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return number + error.object[: error.start].count(b"\n")
            number += block.count(b"\n")
    return 1
