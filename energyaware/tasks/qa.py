"""Question answering: a question on a ticket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energyaware.errors import TaskError
from energyaware.tasks.base import Written
from energyaware.tasks.metrics import exact_match, token_f1

if TYPE_CHECKING:
    from energyaware.examples import Example


_DECODING = Written(16)


@dataclass(frozen=True)
class Qa:
    """The task. Its quality is token F1 as in SQuAD; exact match stands beside it."""

    name: str = "qa"
    metric: str = "token_f1"
    decoding: Written = _DECODING

    def prompt(self, example: Example) -> str:
        """The ticket and the question.

        Raises:
            TaskError: the example asks nothing.
        """
        if not example.question:
            raise TaskError(f"the example {example.id} has no question", "map a column to it: question=COLUMN")
        return f"{example.text} question: {example.question} answer:".lstrip()

    def answer(self, example: Example) -> str:
        """The reference."""
        return f" {example.label}"

    def score(self, example: Example, answer: str) -> Mapping[str, float]:
        """`token_f1` and `exact_match`."""
        return {"token_f1": token_f1(example.label, answer), "exact_match": exact_match(example.label, answer)}
