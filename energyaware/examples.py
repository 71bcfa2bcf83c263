"""What a task works on: examples and the dataset that holds them, whatever file or simulator they came from."""

from __future__ import annotations

from dataclasses import dataclass

RCA = "rca"
"""Root-cause analysis: the task of data that name none."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text with the right answer.

    Attributes:
        id: names it within its dataset.
        text: what is read: a ticket, a thread, a log.
        label: the right answer: one of the dataset's labels, one of `options`, or a reference text.
        group: what must never stand on both sides of a split (a ticket, a set of duplicate rows).
        question: what is asked about `text`, where a task asks.
        options: answers to choose from, where each example has its own.
    """

    id: str
    text: str
    label: str
    group: str = ""
    question: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of texts with their answers.

    Attributes:
        name: catalogue name or file name.
        fingerprint: SHA-256 (hex) over all that every split holds; part of comparability.
        labels: all labels, in a fixed order; empty where answers are free text or each example has its own options.
        ceiling: accuracy of the Bayes-optimal reader of the test split, where the generator is known.
        notes: what was dropped, merged or truncated, with counts; shown to the user.
        task: name of the task that it is for.
    """

    name: str
    fingerprint: str
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    ceiling: float | None = None
    notes: tuple[str, ...] = ()
    task: str = RCA
