"""Turn the rows of tables into examples of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from energyaware.data.cells import cell_text, joined_text, one_line_label, reference_text, split_name
from energyaware.data.choices import Choice, Meant, find_answers, read_options
from energyaware.data.columns import ColumnMap, Place
from energyaware.data.splits import content_id
from energyaware.data.table import Table
from energyaware.data.task_columns import Parts, TaskColumns, find_parts, guesses, task_columns
from energyaware.errors import DataError
from energyaware.examples import Example

MAX_TEXT_CHARACTERS = 20_000


class Remark(StrEnum):
    """What happened to some rows, as a note tells it behind their number."""

    TRUNCATED = f"texts cut to their first {MAX_TEXT_CHARACTERS} characters"
    LEFT_OUT = "rows without text, question or answer left out"
    SEVERAL_REFERENCES = "rows have several reference answers; the first is used"
    JOINED = "texts were lists, joined line by line"
    REPEATED_OPTION = "rows name an option twice; it is offered once"
    OTHER_WORDS = "answers repeat the option that they number with other words; the number counts"


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One row as an example, and the split that its author put it in."""

    example: Example
    split: str | None


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    text: str
    question: str
    group: str
    split: str | None


@dataclass(frozen=True, slots=True)
class _Open:
    """A row whose options are known and whose answer is not yet told from them."""

    row: _Row
    choice: Choice


def task_rows(
    tables: Sequence[Table], mapped: ColumnMap, task: str, *, drop_missing: bool = False
) -> tuple[list[LabelledRow], list[str]]:
    """The examples that some tables, which together are one dataset, hold for a task.

    Args:
        tables: of which each must hold the task's columns.
        mapped: the columns that the user named.
        task: one of `task_columns.TASK_COLUMNS`.
        drop_missing: leave out rows without a text, question or answer that the task needs.

    Returns:
        The rows in their order, and notes on columns that were guessed and rows that were cut or left out.

    Raises:
        DataError: a missing column, text, question or answer; an answer that is none of the options; a cell that is no
            text; an unknown split; or what reading the tables raises.
    """
    shape = task_columns(task)
    tally: Counter[Remark] = Counter()
    rows: list[LabelledRow] = []
    pending: list[_Open] = []
    notes: dict[str, None] = {}
    for table in tables:
        parts = find_parts(table, mapped, task)
        notes.update(dict.fromkeys((*table.notes, guesses(parts, mapped, task))))
        for row, cells in _rows(table, parts, tally):
            lack = _lack(row, parts, shape)
            answer = ""
            if not lack and parts.answer is not None:
                answer = _answer(row.place, cells, parts.answer, shape, tally)
                lack = "" if answer or not shape.needs_answer else f"no {'label' if shape.closed else 'answer'}"
            if lack:
                if not drop_missing:
                    raise DataError(
                        f"{row.place} has {lack}",
                        "fill it in, remove the row, or leave such rows out (add missing=drop to the map)",
                    )
                tally[Remark.LEFT_OUT] += 1
            elif shape.options:
                named = [(place.column, place.value(cells[place.column])) for place in parts.options]
                pending.append(_Open(row, Choice(row.place, *read_options(named, row.place), answer)))
            else:
                rows.append(_example(row, answer, (), tally))
    found = find_answers([item.choice for item in pending])
    rows += [_choice_example(item, meant, tally) for item, meant in zip(pending, found, strict=True)]
    notes.pop("", None)
    return rows, [*notes, *(f"{count} {remark}" for remark, count in tally.items() if count)]


def _rows(table: Table, parts: Parts, tally: Counter[Remark]) -> Iterator[tuple[_Row, dict[str, object]]]:
    columns = parts.columns
    for number, values in table.rows(columns):
        place = table.place(number)
        cells = dict(zip(columns, values, strict=True))

        def text(part: Place | None, place: str = place, cells: dict[str, object] = cells) -> str:
            return cell_text(part.value(cells[part.column]), place, part.column) if part is not None else ""

        split = split_name(place, text(parts.split)) if parts.split is not None else table.split
        found = [joined_text(part.value(cells[part.column]), place, part.column) for part in parts.text]
        tally[Remark.JOINED] += any(joined for _, joined in found)
        whole = "\n".join(content for content, _ in found if content)
        yield _Row(place, whole, text(parts.question), text(parts.group), split), cells


def _lack(row: _Row, parts: Parts, shape: TaskColumns) -> str:
    """What the row needs and has not, in words; empty where it has all."""
    if shape.needs_text and parts.text and not row.text:
        return f"an empty text in column {' | '.join(place.column for place in parts.text)!r}"
    if parts.question is not None and not row.question:
        return f"an empty question in column {parts.question.column!r}"
    return ""


def _answer(place: str, cells: dict[str, object], part: Place, shape: TaskColumns, tally: Counter[Remark]) -> str:
    value = part.value(cells[part.column])
    if shape.closed:
        label = cell_text(value, place, part.column)
        return one_line_label(place, label) if label else ""
    if shape.options:
        return cell_text(value, place, part.column)
    reference, several = reference_text(value, place, part.column)
    tally[Remark.SEVERAL_REFERENCES] += several
    return reference


def _choice_example(item: _Open, meant: Meant, tally: Counter[Remark]) -> LabelledRow:
    options = [option for option in item.choice.options if option]
    distinct = tuple(dict.fromkeys(options))
    tally[Remark.REPEATED_OPTION] += len(distinct) < len(options)
    tally[Remark.OTHER_WORDS] += meant.differs
    if len(distinct) < 2:
        raise DataError(
            f"{item.row.place} offers {len(distinct)} option(s)", "give every question at least two different ones"
        )
    return _example(item.row, item.choice.options[meant.index], distinct, tally)


def _example(row: _Row, answer: str, options: tuple[str, ...], tally: Counter[Remark]) -> LabelledRow:
    whole = (row.text, row.question, answer, *options)
    text, question, label, *shown = (part[:MAX_TEXT_CHARACTERS] for part in whole)
    tally[Remark.TRUNCATED] += any(len(part) > MAX_TEXT_CHARACTERS for part in whole)
    # Rows that ask the same are copies of one another, whatever they answer. The id of a mere text is older than
    # questions and options, and stored runs rest on it.
    asked = (row.text, row.question, *sorted(options)) if row.question or options else (row.text,)
    return LabelledRow(Example(content_id(*asked), text, label, row.group, question, tuple(shown)), row.split)
