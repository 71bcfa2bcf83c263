"""Records to JSON and back, strictly: a stored run is untrusted input."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from energyaware.errors import StoredRunError

T = TypeVar("T")


def to_json(record: object) -> dict[str, Any]:
    """The record as plain JSON types (dict, list, tuple, str, int, float, bool, None)."""
    data: dict[str, Any] = msgspec.to_builtins(record)
    return data


def from_json(data: object, kind: type[T], where: str) -> T:
    """Read one record out of parsed JSON; members we do not know are left out.

    Args:
        where: file and field, for the message.

    Raises:
        StoredRunError: a member is missing, of the wrong type, or impossible (a reading of 0 J).
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise StoredRunError(
            f"{where} is damaged: {error}",
            "The file was cut off or edited: choose another baseline, or measure it again",
        ) from error
