"""Root-cause analysis: name which of the known causes explains a ticket.

The answer is chosen by comparing the labels' log-likelihoods at the last position of one forward pass, so a request is
a prefill without any decoding. Each label stands for itself where the tokenizer gives every label a first token of its
own, else for a letter that the prompt explains.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from energyaware.errors import TaskError
from energyaware.examples import Dataset, Example
from energyaware.tasks import evaluation
from energyaware.tasks.base import Chosen, Workload
from energyaware.tasks.labels import distinct_tokens
from energyaware.tasks.metrics import macro_f1
from energyaware.tasks.workload import make_workload


@dataclass(frozen=True)
class Rca:
    """The task. Its quality is accuracy; macro-F1 and the labels' negative log-likelihood stand beside it.

    Attributes:
        labels: all causes, in the order in which log-probabilities are given; empty until fitted to a dataset.
        letters: whether the prompt lists the causes under letters and asks for a letter.
    """

    labels: tuple[str, ...] = ()
    letters: bool = False

    @property
    def name(self) -> str:
        """`rca`."""
        return "rca"

    @property
    def metric(self) -> str:
        """`accuracy`."""
        return "accuracy"

    @property
    def decoding(self) -> Chosen:
        """One of the causes."""
        return Chosen(self.answers)

    @property
    def answers(self) -> tuple[str, ...]:
        """What follows the prompt for each label, without the leading space."""
        return tuple(string.ascii_uppercase[: len(self.labels)]) if self.letters else self.labels

    def fitted(self, dataset: Dataset, tokenizer: Any) -> Rca:
        """See `rca_for`."""
        return rca_for(dataset, tokenizer)

    def prompt(self, example: Example) -> str:
        """The ticket and the question; the answer follows after a space."""
        if not self.letters:
            return f"{example.text} cause:"
        options = " ".join(f"{letter}) {label}" for letter, label in zip(self.answers, self.labels, strict=True))
        return f"{example.text}\nPossible causes: {options}\nThe cause is"

    def answer(self, example: Example) -> str:
        """What a perfect model writes after the prompt, with its leading space.

        Raises:
            TaskError: the task does not know this label.
        """
        if example.label not in self.labels:
            raise TaskError(f"labels that the task does not know: {example.label}", "list them in the dataset")
        return f" {self.answers[self.labels.index(example.label)]}"

    def score(self, example: Example, answer: str) -> Mapping[str, float]:
        """`accuracy`, 0 or 1."""
        return {"accuracy": float(answer == self.answer(example).strip())}

    def corpus_scores(self, examples: Sequence[Example], answers: Sequence[str]) -> Mapping[str, float]:
        """`macro_f1`."""
        return {"macro_f1": macro_f1([self.answer(example).strip() for example in examples], answers)}


@dataclass(frozen=True)
class RcaScores:
    """How well a model names causes; the tuples follow the order of the examples.

    Attributes:
        correct: 1 where the best label is the true one, else 0.
        nll: negative log-likelihood of the true label in nats, among the labels only.
        predicted: the best label.
        accuracy: in [0, 1].
        macro_f1: in [0, 1].
        mean_nll: nats.
        truncated: tickets whose prompt lost its beginning, because the model has too few positions.
    """

    correct: tuple[int, ...]
    nll: tuple[float, ...]
    predicted: tuple[str, ...]
    accuracy: float
    macro_f1: float
    mean_nll: float
    truncated: int = 0


def rca_for(dataset: Dataset, tokenizer: Any) -> Rca:
    """The task as this tokenizer answers it: with words if their first tokens differ, else with letters if theirs do.

    Where neither differ, with words that are read to their ends.

    Raises:
        TaskError: fewer than two labels.
    """
    if len(dataset.labels) < 2:
        raise TaskError(f"the dataset {dataset.name} has {len(dataset.labels)} label(s)", "give at least two")
    words = Rca(dataset.labels)
    if distinct_tokens(words.answers, tokenizer) is not None:
        return words
    if len(dataset.labels) <= len(string.ascii_uppercase):
        letters = Rca(dataset.labels, letters=True)
        if distinct_tokens(letters.answers, tokenizer) is not None:
            return letters
    return words


def evaluate(model: Any, tokenizer: Any, dataset: Dataset, examples: Sequence[Example], batch_size: int) -> RcaScores:
    """Answer all examples and score the answers.

    Raises:
        TaskError: no examples, or labels that this tokenizer cannot tell apart.
    """
    if not examples:
        raise TaskError(f"no examples of {dataset.name} to score", "give a larger test split")
    task = rca_for(dataset, tokenizer)
    answers = evaluation.answer(model, tokenizer, task, examples, batch_size)
    predicted = tuple(task.labels[task.answers.index(text)] for text in answers.texts)
    truth = [example.label for example in examples]
    correct = tuple(int(one == other) for one, other in zip(predicted, truth, strict=True))
    nll = tuple(answers.extra["nll"])
    return RcaScores(
        correct,
        nll,
        predicted,
        sum(correct) / len(correct),
        macro_f1(truth, predicted),
        sum(nll) / len(nll),
        answers.truncated,
    )


def workload(model: Any, tokenizer: Any, task: Rca, examples: Sequence[Example], batch_size: int) -> Workload:
    """One forward pass over one batch, encoded beforehand; see `energyaware.tasks.workload.make_workload`.

    Raises:
        TaskError: fewer examples than `batch_size`.
    """
    return make_workload(model, tokenizer, task, examples, batch_size)
