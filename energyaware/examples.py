"""What a task works on: examples and the dataset that holds them, whatever file or simulator they came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text.

    `group` names what must never stand on both sides of a split (a ticket, a set of duplicate rows).
    """

    id: str
    text: str
    label: str
    group: str = ""


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of labelled texts.

    Attributes:
        name: catalogue name or file name.
        fingerprint: SHA-256 (hex) over every split's ids, texts and labels; part of comparability.
        labels: all labels, in a fixed order.
        ceiling: accuracy of the Bayes-optimal reader of the test split, where the generator is known.
        notes: what was dropped, merged or truncated, with counts; shown to the user.
    """

    name: str
    fingerprint: str
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    ceiling: float | None = None
    notes: tuple[str, ...] = ()
