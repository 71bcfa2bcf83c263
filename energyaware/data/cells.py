"""Turn the cells of a table into the texts, labels and split names of examples."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from decimal import Decimal

from energyaware.data.display import one_line
from energyaware.errors import DataError

MAX_LABEL_CHARACTERS = 200
SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def cell_text(value: object, place: str, column: str) -> str:
    """A cell as text without outer spaces; a missing value and NaN are the empty text, numbers as Python writes them.

    Raises:
        DataError: a list, an object or bytes, or a text with a NUL character or half of a surrogate pair.
    """
    match value:
        case None:
            return ""
        case str():
            _check_characters(value, place, column)
            return value.strip()
        case float() if math.isnan(value):
            return ""
        case bool() | int() | float() | Decimal() | datetime.date() | datetime.time():
            return str(value)
    kind = "an object" if isinstance(value, Mapping) else type(value).__name__
    inner = {"an object": f" (a part of an object is {column}.KEY)", "list": f" (an item of a list is {column}.0)"}
    raise DataError(
        f"{place} holds {kind} in {column!r}, not text",
        f"give one text or number per column, or map another{inner.get(kind, '')}",
    )


def one_line_label(place: str, label: str) -> str:
    """A label on one line.

    Raises:
        DataError: no label, or one so long that the column must be another one.
    """
    label = " ".join(label.split())
    if not label:
        raise DataError(f"{place} has no label", "fill it in, remove the row, or leave such rows out (missing=drop)")
    if len(label) > MAX_LABEL_CHARACTERS:
        raise DataError(
            f"{place} has a label of {len(label)} characters",
            "map the column that holds the class (label=COLUMN); free-text answers belong to other tasks than rca",
        )
    return label


def split_name(place: str, split: str) -> str:
    """A split's full name.

    Raises:
        DataError: another name than train, validation (val, valid, dev) and test.
    """
    try:
        return SPLIT_NAMES[split.strip().lower()]
    except KeyError:
        raise DataError(
            f"{place} belongs to the unknown split {one_line(split, 60)!r}",
            "use train, validation and test in the split column",
        ) from None


def reference_text(value: object, place: str, column: str) -> tuple[str, bool]:
    """A reference answer, and whether there were several, of which the first that is not empty was taken.

    A list of texts or of objects with a `text`, and an object with a list `text`, hold several (SQuAD's `answers`,
    nested and as the hub has them).

    Raises:
        DataError: as `cell_text`.
    """
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    if not isinstance(value, list):
        return cell_text(value, place, column), False
    items = [item["text"] if isinstance(item, Mapping) and "text" in item else item for item in value]
    texts = [text for text in (cell_text(item, place, column) for item in items) if text]
    return (texts[0] if texts else ""), len(set(texts)) > 1


def joined_text(value: object, place: str, column: str) -> tuple[str, bool]:
    """A text, and whether it was a list of texts (the turns of a thread), which are joined line by line.

    Raises:
        DataError: as `cell_text`.
    """
    if not isinstance(value, list):
        return cell_text(value, place, column), False
    return "\n".join(cell_text(item, place, column) for item in value).strip(), True


def _check_characters(text: str, place: str, column: str) -> None:
    if "\0" in text:
        raise DataError(f"{place} holds a NUL character in {column!r}", "remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} holds half of a surrogate pair in {column!r} ({text[error.start]!a})",
            "write the whole character, or remove it",
        ) from error
