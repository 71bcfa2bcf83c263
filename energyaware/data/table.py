"""What every reader gives: named columns, and rows that are read again each time they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Table:
    """A file, a member of an archive, or one split of a Hugging Face dataset.

    Attributes:
        name: for messages.
        columns: names, each once.
        rows: gives the cells of the named columns, row by row, with the row's number from 1 (see `row_word`). A cell is
            what the format knows: text, number, list, object, or None where nothing stands.
        row_word: what the number counts: a `line` of a text file, a `row` or an `object`.
        split: `train`, `validation` or `test` where all rows belong to one, as the author says.
        split_column: the column that tells the author's split where the map names none, or nothing.
        notes: what the reader decided by itself.
        held_bytes: what an archive was unpacked to, which the table keeps in memory.
    """

    name: str
    columns: tuple[str, ...]
    rows: Callable[[Sequence[str]], Iterator[tuple[int, list[object]]]]
    row_word: str = "line"
    split: str | None = None
    split_column: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    held_bytes: int = 0

    def place(self, number: int) -> str:
        """A row for a message: `data.csv line 7`."""
        return f"{self.name} {self.row_word} {number}"
