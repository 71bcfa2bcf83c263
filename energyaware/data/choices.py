"""Multiple choice: read the options of a row in the forms in use, and find which of them its answer means."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energyaware.data.cells import cell_text
from energyaware.data.display import one_line
from energyaware.errors import DataError

_BEHIND_NAME = ".:) \t\n"
_MOST_SHOWN_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of one row and its answer as written.

    Attributes:
        place: of the row, for messages.
        options: texts; an empty one is no option, but it counts in numbering.
        keys: what each option is called, or nothing: names of columns, keys of an object.
        answer: as the file writes it.
    """

    place: str
    options: tuple[str, ...]
    keys: tuple[str, ...]
    answer: str


def read_options(cells: Sequence[tuple[str, object]], place: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Options and their keys of one row.

    Args:
        cells: column names and values. Several columns hold one option each. A single one holds a list, an object
            {key: option}, an object of two lists `text` and `label` (ARC on the hub), a list of objects with `text` and
            `label` (ARC), each of them also as JSON text or as Python shows it, or a text whose options stand between
            `|` or line ends.
        place: of the row, for messages.

    Raises:
        DataError: another form.
    """
    if len(cells) > 1:
        # Numbers of columns without a name name no option: an answer 2 means the second one.
        columns = [column for column, _ in cells]
        keys = () if all(column.isdecimal() for column in columns) else tuple(columns)
        return tuple(cell_text(value, place, column) for column, value in cells), keys
    ((column, value),) = cells
    if isinstance(value, str) and value.strip().startswith(("[", "{")):
        value = _shown_value(value, place, column)
    if isinstance(value, str):
        value = value.split("|") if "|" in value else value.splitlines()
    names: Sequence[object] = ()
    if isinstance(value, Mapping):
        if isinstance(value.get("text"), list):
            labels = value.get("label")
            texts: Sequence[object] = value["text"]
            names = labels if isinstance(labels, list) and len(labels) == len(texts) else ()
        else:
            names, texts = list(value), list(value.values())
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "text" in item for item in value):
        texts = [item["text"] for item in value]
        names = [item["label"] for item in value] if all("label" in item for item in value) else ()
    elif isinstance(value, list):
        texts = value
    else:
        raise DataError(
            f"{place} holds no options in {column!r}",
            "give a list, or one column per option (options=a|b|c, options=option *)",
        )
    return (
        tuple(cell_text(text, place, column) for text in texts),
        tuple(cell_text(key, place, column) for key in names),
    )


def _shown_value(text: str, place: str, column: str) -> object:
    """A list or an object written as JSON, or as Python shows it (what pandas writes for lists in a CSV file)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            # Python's parser takes hundreds of bytes for each character.
            return ast.literal_eval(text.strip()[:_MOST_SHOWN_CHARACTERS])
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise DataError(
                f"{place} holds options in {column!r} that are not JSON", 'write ["a", "b"], or a | b'
            ) from error


@dataclass(frozen=True, slots=True)
class Meant:
    """Which option an answer means.

    Attributes:
        index: from 0.
        differs: whether the answer names the option by key or number and then repeats it with other words.
    """

    index: int
    differs: bool = False


def find_answers(choices: Sequence[Choice]) -> list[Meant]:
    """Which option each answer means.

    One way of writing answers must fit every row. In this order: the text of an option; its key, alone or before its
    text (`option 2: text`); `option 2`; a letter (`B`, `(b)`, `B) text`); a number that counts from 0 or from 1. Where
    the words behind a key or number are not the option's, the key or number counts.

    Raises:
        DataError: no way fits every row, or the numbers could count from 0 as well as from 1.
    """
    if not choices:
        return []
    named = [[way(choice) for choice in choices] for way in (_by_text, _by_key, _by_word, _by_letter)]
    numbered = [[_by_number(choice, first) for choice in choices] for first in (0, 1)]
    for found in named:
        if None not in found:
            return [meant for meant in found if meant is not None]
    if all(None not in found for found in numbered):
        raise DataError(
            f"{choices[0].place} and all other rows number their answers so that 0 or 1 could be the first option",
            "write the answer as the option's text or as a letter",
        )
    for found in numbered:
        if None not in found:
            return [meant for meant in found if meant is not None]
    best = max((*named, *numbered), key=lambda found: sum(meant is not None for meant in found))
    wrong = choices[best.index(None)]
    raise DataError(
        f"{wrong.place} has the answer {one_line(wrong.answer, 60)!r}, none of its {len(wrong.options)} options",
        "write every answer the same way: the option's text, its key or column, a letter, or a number from 0 or 1",
    )


def _by_text(choice: Choice) -> Meant | None:
    matches = (index for index, option in enumerate(choice.options) if option and _same(option, choice.answer))
    return next((Meant(index) for index in matches), None)


def _by_key(choice: Choice) -> Meant | None:
    answer = choice.answer.casefold()
    for index, key in enumerate(choice.keys):
        name = key.strip().casefold()
        rest = answer.removeprefix(name)
        # "option 1" is also the beginning of "option 10".
        if name and answer.startswith(name) and (not rest or rest[0] in _BEHIND_NAME):
            return _meant(choice, index, rest)
    return None


def _by_word(choice: Choice) -> Meant | None:
    match = re.fullmatch(
        r"(?:option|choice|answer)\s*(\d{1,3})(?:[.:)](.*))?", choice.answer, re.IGNORECASE | re.DOTALL
    )
    return _meant(choice, int(match[1]) - 1, match[2] or "") if match else None


def _by_letter(choice: Choice) -> Meant | None:
    match = re.fullmatch(r"\(?([A-Za-z])\)?(?:[.:)](.*))?", choice.answer, re.DOTALL)
    return _meant(choice, string.ascii_lowercase.index(match[1].lower()), match[2] or "") if match else None


def _by_number(choice: Choice, first: int) -> Meant | None:
    match = re.fullmatch(r"(\d{1,3})(?:\.0)?", choice.answer)
    return _meant(choice, int(match[1]) - first, "") if match else None


def _meant(choice: Choice, index: int, rest: str) -> Meant | None:
    """The index where an option has it; `rest` is what stands behind the option's name."""
    if not (0 <= index < len(choice.options) and choice.options[index]):
        return None
    rest = rest.strip(_BEHIND_NAME)
    return Meant(index, differs=bool(rest) and not _same(rest, choice.options[index].strip(_BEHIND_NAME)))


def _same(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
