"""Generation: go on with a network log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energyaware.errors import TaskError
from energyaware.tasks.base import Written
from energyaware.tasks.metrics import distinct

if TYPE_CHECKING:
    from energyaware.examples import Example


_DECODING = Written(40, likelihood=True)


@dataclass(frozen=True)
class Generation:
    """The task. Its quality is `bpb_score`, 2^−(bits per byte) of the real continuation given the beginning.

    Bits per byte and perplexity stand beside it, and how diverse the model writes (distinct-1 and distinct-2).
    """

    name: str = "generation"
    metric: str = "bpb_score"
    decoding: Written = _DECODING

    def prompt(self, example: Example) -> str:
        """The beginning: the text, or the first half of its words where no continuation is given."""
        return _parts(example)[0]

    def answer(self, example: Example) -> str:
        """How it went on."""
        return f" {_parts(example)[1]}"

    def score(self, example: Example, answer: str) -> Mapping[str, float]:  # noqa: ARG002
        """Nothing: what is written may differ from what happened; likelihoods are scored for every task alike."""
        return {}

    def corpus_scores(self, examples: Sequence[Example], answers: Sequence[str]) -> Mapping[str, float]:  # noqa: ARG002
        """`distinct_1` and `distinct_2` of all continuations that the model wrote."""
        return {"distinct_1": distinct(answers, 1), "distinct_2": distinct(answers, 2)}


def _parts(example: Example) -> tuple[str, str]:
    if example.label:
        return example.text, example.label
    words = example.text.split(" ")
    if len(words) < 2:
        raise TaskError(f"the text of example {example.id} is a single word", "give longer texts to continue")
    middle = len(words) // 2
    return " ".join(words[:middle]), " ".join(words[middle:])
