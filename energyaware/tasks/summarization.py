"""Summarization: a thread of messages about a fault, told in one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energyaware.tasks.base import Written
from energyaware.tasks.metrics import rouge

if TYPE_CHECKING:
    from energyaware.examples import Example

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")


_DECODING = Written(40)


@dataclass(frozen=True)
class Summarization:
    """The task. Its quality is ROUGE-L; ROUGE-1 and ROUGE-2 stand beside it."""

    name: str = "summarization"
    metric: str = "rouge_l"
    decoding: Written = _DECODING

    def prompt(self, example: Example) -> str:
        """The thread, then the word that asks for a summary."""
        return f"{example.text} summary:"

    def answer(self, example: Example) -> str:
        """The reference."""
        return f" {example.label}"

    def score(self, example: Example, answer: str) -> Mapping[str, float]:
        """`rouge_l`, `rouge_1` and `rouge_2`."""
        found = rouge(example.label, answer)
        return {name: found[name] for name in ("rouge_l", "rouge_1", "rouge_2")}

    def trivial_answers(self, train: Sequence[Example], examples: Sequence[Example]) -> Sequence[str]:  # noqa: ARG002
        """The first sentence of each text."""
        return [_SENTENCE_END.split(example.text.strip(), maxsplit=1)[0] for example in examples]
