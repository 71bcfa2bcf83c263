"""Response: write the feedback to a fault ticket that says what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energyaware.tasks.base import Written
from energyaware.tasks.metrics import rouge, token_f1

if TYPE_CHECKING:
    from energyaware.examples import Example


_DECODING = Written(32)


@dataclass(frozen=True)
class Response:
    """The task. Its quality is ROUGE-L against the reference; token F1 stands beside it."""

    name: str = "response"
    metric: str = "rouge_l"
    decoding: Written = _DECODING

    def prompt(self, example: Example) -> str:
        """The ticket, then the word that asks for feedback."""
        return f"{example.text} response:"

    def answer(self, example: Example) -> str:
        """The feedback that was given."""
        return f" {example.label}"

    def score(self, example: Example, answer: str) -> Mapping[str, float]:
        """`rouge_l` and `token_f1`."""
        return {"rouge_l": rouge(example.label, answer)["rouge_l"], "token_f1": token_f1(example.label, answer)}
