"""Multiple choice: which of an example's own options answers its question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energyaware.tasks.base import Chosen
from energyaware.tasks.trivial import most_frequent

if TYPE_CHECKING:
    from energyaware.examples import Example


_DECODING = Chosen()


@dataclass(frozen=True)
class Choice:
    """The task. Each option is read after the question; the one with the fewest bits per byte is the answer.

    Its quality is accuracy; the right option's bits per byte stand beside it.
    """

    name: str = "choice"
    metric: str = "accuracy"
    decoding: Chosen = _DECODING

    def prompt(self, example: Example) -> str:
        """The text, where there is one, and the question."""
        question = f"question: {example.question}" if example.question else ""
        return " ".join(part for part in (example.text, question, "answer:") if part)

    def answer(self, example: Example) -> str:
        """The right option's text."""
        return f" {example.label}"

    def score(self, example: Example, answer: str) -> Mapping[str, float]:
        """`accuracy`, 0 or 1."""
        return {"accuracy": float(answer == example.label)}

    def trivial_answers(self, train: Sequence[Example], examples: Sequence[Example]) -> Sequence[str]:
        """The option in the place where the right one stands most often (the last one where there are fewer)."""
        place = int(most_frequent(f"{item.options.index(item.label):04d}" for item in train))
        return [item.options[min(place, len(item.options) - 1)] for item in examples]
