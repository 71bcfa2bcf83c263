"""What a reader scores who understands nothing: the floor that every model has to clear."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from energyaware.errors import TaskError
from energyaware.tasks.base import Task, TriviallyAnswered, Written
from energyaware.tasks.evaluation import Answers, likelihood_scores, score_answers
from energyaware.tasks.likelihood import AnswerLikelihood

if TYPE_CHECKING:
    from energyaware.examples import Dataset, Example


def trivial_quality(task: Task, dataset: Dataset, tokenizer: Any) -> Mapping[str, float]:
    """Quality on the test split, same metrics as `energyaware.tasks.evaluation.evaluate`, the task's own first.

    Everything is answered with the most frequent answer of the training split, unless the task knows better
    (`TriviallyAnswered`). Where likelihoods are measured, they are those of a unigram model: each token by its
    frequency in the training split's prompts and answers, with one added to every token of the vocabulary.

    Raises:
        TaskError: no training or no test examples.
    """
    if not dataset.train or not dataset.test:
        raise TaskError(
            f"{dataset.name} has {len(dataset.train)} training and {len(dataset.test)} test examples",
            "a trivial baseline needs both",
        )
    if isinstance(task, TriviallyAnswered):
        texts = list(task.trivial_answers(dataset.train, dataset.test))
    else:
        frequent = most_frequent(task.answer(example).strip() for example in dataset.train)
        texts = [frequent] * len(dataset.test)
    answers = Answers(texts)
    if isinstance(task.decoding, Written) and task.decoding.likelihood:
        answers = Answers(texts, *likelihood_scores(_unigram_likelihoods(task, dataset, tokenizer)))
    return score_answers(task, dataset.test, answers).quality


def trivial_accuracy(dataset: Dataset, examples: Sequence[Example]) -> dict[str, float]:
    """Accuracy on some examples of the reader who always names the training split's most frequent label."""
    label = most_frequent(example.label for example in dataset.train)
    return {"accuracy": sum(example.label == label for example in examples) / len(examples)}


def most_frequent(answers: Iterable[str]) -> str:
    """The answer given most often; among equals the first by alphabet."""
    counts = Counter(answers)
    return min(counts, key=lambda text: (-counts[text], text))


def _unigram_likelihoods(task: Task, dataset: Dataset, tokenizer: Any) -> list[AnswerLikelihood]:
    counts: Counter[int] = Counter()
    for example in dataset.train:
        counts.update(_pieces(tokenizer, task.prompt(example)))
        counts.update(_pieces(tokenizer, task.answer(example)))
    total = counts.total() + len(tokenizer)
    return [_likelihood(tokenizer, task.answer(example), counts, total) for example in dataset.test]


def _likelihood(tokenizer: Any, text: str, counts: Counter[int], total: int) -> AnswerLikelihood:
    ids = _pieces(tokenizer, text)
    bits = math.fsum(math.log2(total) - math.log2(counts[token] + 1) for token in ids)
    return AnswerLikelihood(bits, len(ids), len(text.encode()))


def _pieces(tokenizer: Any, text: str) -> Sequence[int]:
    ids: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
