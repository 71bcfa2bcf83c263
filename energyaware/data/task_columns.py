"""Which parts a task needs of a row, and in which columns of a table they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energyaware.data.columns import ColumnMap, Place, find_place, find_places, missing_column
from energyaware.errors import DataError

if TYPE_CHECKING:
    from energyaware.data.table import Table

_REFERENCES = ("reference", "answer", "label")


@dataclass(frozen=True, slots=True)
class TaskColumns:
    """The names under which a task's parts are looked for where the map names none; nothing is looked for under ().

    Attributes:
        text, question, options, answer: usual names of columns, the first that exists counts; for `text` and `options`
            several at once as in a map.
        needs_text, needs_answer: whether a row must have a text, an answer.
        closed: whether answers are labels out of one small set.
        example: a map for messages.
    """

    text: tuple[str, ...]
    answer: tuple[str, ...] = ()
    question: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    needs_text: bool = True
    needs_answer: bool = True
    closed: bool = False
    example: str = "text=COLUMN"


_Places = tuple[Place, ...]
_Find = Callable[[Sequence[str], str], _Places]
_CONTEXTS = ("context", "text", "passage", "article")
TASK_COLUMNS: Mapping[str, TaskColumns] = {
    "rca": TaskColumns(("text",), ("label",), closed=True, example="text=COLUMN,label=COLUMN"),
    "response": TaskColumns(
        # Alpaca's and Dolly's instructions say little without what they are about.
        ("text", "ticket", "instruction|input", "instruction|context", "instruction", "prompt"),
        ("response", "output", *_REFERENCES),
        example="text=COLUMN,reference=COLUMN",
    ),
    "summarization": TaskColumns(
        ("text", "document", "article", "dialogue"),
        ("summary", "highlights", *_REFERENCES),
        example="text=COLUMN,reference=COLUMN",
    ),
    "qa": TaskColumns(
        _CONTEXTS,
        ("answer", "answers", "reference", "label"),
        ("question",),
        needs_text=False,
        example="context=COLUMN,question=COLUMN,answer=COLUMN",
    ),
    "generation": TaskColumns(("text", "content", "log"), needs_answer=False),
    "choice": TaskColumns(
        _CONTEXTS,
        ("answer", "answerKey", "label"),
        ("question",),
        ("options", "choices", "option *", "option_*", "option?"),
        needs_text=False,
        example="question=COLUMN,options=COLUMN|COLUMN|…,answer=COLUMN",
    ),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of a row stand; None or () where a task has no such part. Several texts are joined."""

    text: tuple[Place, ...]
    answer: Place | None
    question: Place | None
    options: tuple[Place, ...]
    split: Place | None
    group: Place | None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns to read, each once."""
        single = (self.answer, self.question, self.split, self.group)
        return tuple(dict.fromkeys(place.column for place in (*self.text, *single, *self.options) if place is not None))


def task_columns(task: str) -> TaskColumns:
    """What a task needs.

    Raises:
        DataError: an unknown task.
    """
    try:
        return TASK_COLUMNS[task]
    except KeyError:
        raise DataError(f"no data can be read for the task {task!r}", f"use one of {', '.join(TASK_COLUMNS)}") from None


def find_parts(table: Table, mapped: ColumnMap, task: str) -> Parts:
    """Where the parts that `task` needs stand in `table`.

    Raises:
        DataError: a named or needed column is missing, or the map names a part that the task has not.
    """
    shape = task_columns(task)
    for key, named, names in (
        ("question", mapped.question, shape.question),
        ("options", mapped.options, shape.options),
    ):
        if named is not None and not names:
            others = " or ".join(f"task={name}" for name, other in TASK_COLUMNS.items() if getattr(other, key))
            raise DataError(f"the task {task} has no {key}", f"add {others} to the map, or leave {key}=… out of it")
    missing: list[str] = []
    # One column is not taken for two parts, unless both are named: question=text is not a context as well.
    named_parts = (mapped.text, mapped.label, mapped.question, mapped.options)
    taken = {place for name in named_parts if name is not None for place in find_places(table.columns, name)}

    def several(named: str | None, usual: Sequence[str], *, needed: bool, find: _Find = find_places) -> _Places:
        candidates = (named,) if named is not None else usual
        for name in candidates:
            places = find(table.columns, name)
            if places and (named is not None or not taken & set(places)):
                return places
        if needed or named is not None:
            missing.append(candidates[0])
        return ()

    def single(named: str | None, usual: Sequence[str], *, needed: bool) -> Place | None:
        return next(iter(several(named, usual, needed=needed, find=_find_alone)), None)

    text = several(mapped.text, shape.text, needed=shape.needs_text)
    question = single(mapped.question, shape.question, needed=bool(shape.question))
    options = several(mapped.options, shape.options, needed=bool(shape.options))
    answer = single(mapped.label, shape.answer, needed=shape.needs_answer)
    split = single(mapped.split, table.split_column, needed=False)
    group = single(mapped.group, (), needed=False)
    if missing:
        raise missing_column(table, missing, shape.example)
    return Parts(text, answer, question, options, split, group)


def _find_alone(columns: Sequence[str], name: str) -> _Places:
    place = find_place(columns, name)
    return () if place is None else (place,)


def guesses(parts: Parts, mapped: ColumnMap, task: str) -> str:
    """A note on columns that neither the map nor the task's first usual name told; empty where there are none."""
    shape = task_columns(task)
    found = (
        ("text", mapped.text, shape.text, parts.text),
        ("question", mapped.question, shape.question, (parts.question,)),
        ("answers", mapped.label, shape.answer, (parts.answer,)),
    )
    said = []
    for what, named, usual, places in found:
        columns = [place.column for place in places if place is not None]
        if named is None and columns and columns != [usual[0]]:
            said.append(f"{what} from column{'s' * (len(columns) > 1)} {', '.join(map(repr, columns))}")
    if mapped.options is None and parts.options and parts.options[0].column != shape.options[0]:
        said.append("options from " + " | ".join(place.column for place in parts.options))
    return ", ".join(said)
