"""Quality of a model on a task: every example answered and scored, then summed up. The same for all tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from energyaware.errors import TaskError
from energyaware.tasks.base import Chosen, CorpusScored, Scores, Task, Written
from energyaware.tasks.encoding import device_of, padding_side_of, room_for
from energyaware.tasks.labels import distinct_tokens, encode_labels, label_log_probs
from energyaware.tasks.likelihood import AnswerLikelihood, likelihoods
from energyaware.tasks.writing import write_all

if TYPE_CHECKING:
    from energyaware.examples import Example


@dataclass(frozen=True)
class Answers:
    """What a model answers to examples, in their order.

    Attributes:
        texts: the answers.
        extra: scores that come from the model's probabilities: metric to one value per example.
        corpus: the same over all examples, where it is no mean.
        truncated: of how many examples the prompt was cut to fit the model.
    """

    texts: list[str]
    extra: Mapping[str, list[float]] = field(default_factory=dict)
    corpus: Mapping[str, float] = field(default_factory=dict)
    truncated: int = 0


def evaluate(model: Any, tokenizer: Any, task: Task, examples: Sequence[Example], batch_size: int = 16) -> Scores:
    """Let the model answer all examples, and score the answers.

    Args:
        model: transformers model in evaluation mode, a decoder or an encoder-decoder.
        task: fitted to the dataset and the tokenizer, see `energyaware.tasks.base.fit_task`.
        batch_size: sequences per forward pass; no answer depends on it.

    Raises:
        TaskError: no examples, an example that does not fit the task, or a score of the task outside [0, 1].
    """
    if not examples:
        raise TaskError(f"no examples of {task.name} to score", "give a larger test split")
    return score_answers(task, examples, answer(model, tokenizer, task, examples, batch_size))


def answer(model: Any, tokenizer: Any, task: Task, examples: Sequence[Example], batch_size: int) -> Answers:
    """Let the model answer; see `evaluate`."""
    decoding = task.decoding
    if isinstance(decoding, Written):
        return _written(model, tokenizer, task, decoding, examples, batch_size)
    if decoding.labels and distinct_tokens(decoding.labels, tokenizer) is not None:
        return _labelled(model, tokenizer, task, decoding.labels, examples, batch_size)
    return _chosen(model, tokenizer, task, examples, batch_size)


def score_answers(task: Task, examples: Sequence[Example], answers: Answers) -> Scores:
    """Score given answers; means over the examples, and what the task scores over all of them.

    Raises:
        TaskError: the task's `metric` is missing, or outside [0, 1].
    """
    columns: dict[str, list[float]] = {}
    for example, text in zip(examples, answers.texts, strict=True):
        for metric, value in task.score(example, text).items():
            columns.setdefault(metric, []).append(float(value))
    columns |= {metric: list(values) for metric, values in answers.extra.items()}
    if any(len(values) < len(examples) for values in columns.values()):
        raise TaskError(f"the task {task.name} does not score all examples alike", "return the same metrics for each")
    if task.metric not in columns:
        raise TaskError(
            f"the task {task.name} has no score {task.metric!r}", f"its scores are: {', '.join(columns) or 'none'}"
        )
    for value in columns[task.metric]:
        if not 0 <= value <= 1:
            raise TaskError(
                f"the score {task.metric} of the task {task.name} is {value:g}", "keep it in [0, 1], more is better"
            )
    corpus = dict(answers.corpus)
    if isinstance(task, CorpusScored):
        corpus |= task.corpus_scores(examples, answers.texts)
    finite = {metric: tuple(values) for metric, values in columns.items() if all(map(math.isfinite, values))}
    quality = {metric: math.fsum(values) / len(values) for metric, values in finite.items()} | corpus
    first = {task.metric: quality[task.metric]}
    return Scores(
        quality=first | {metric: value for metric, value in quality.items() if math.isfinite(value)},
        per_example=finite,
        example_ids=tuple(example.id for example in examples),
        answers=tuple(answers.texts),
        truncated=answers.truncated,
    )


def likelihood_scores(
    found: Sequence[AnswerLikelihood],
) -> tuple[Mapping[str, list[float]], Mapping[str, float]]:
    """Per example and over all: `bpb_score`, `bits_per_byte` (total bits per total bytes) and `perplexity` per token.

    The perplexity depends on the tokenizer, the others do not.
    """
    bits, tokens = sum(item.bits for item in found), sum(item.tokens for item in found)
    per_example = {
        "bpb_score": [item.score for item in found],
        "bits_per_byte": [item.bits_per_byte for item in found],
    }
    corpus = {"bits_per_byte": bits / sum(item.size_bytes for item in found)}
    if bits / tokens < 1000:  # a broken model's perplexity is no number
        corpus["perplexity"] = 2.0 ** (bits / tokens)
    return per_example, corpus


def options_of(task: Task, example: Example) -> tuple[str, ...]:
    """What there is to choose from.

    Raises:
        TaskError: fewer than two options, or the right one is not among them.
    """
    labels = task.decoding.labels if isinstance(task.decoding, Chosen) else ()
    options = labels or example.options
    if len(options) < 2 or task.answer(example).strip() not in options:
        raise TaskError(
            f"the example {example.id} has {len(options)} options, and its answer is "
            f"{'' if task.answer(example).strip() in options else 'not '}among them",
            "give at least two options, one of which is the answer",
        )
    return options


def _written(
    model: Any, tokenizer: Any, task: Task, decoding: Written, examples: Sequence[Example], batch_size: int
) -> Answers:
    prompts = [task.prompt(example) for example in examples]
    texts, truncated = write_all(model, tokenizer, prompts, decoding, batch_size)
    if not decoding.likelihood:
        return Answers(texts, truncated=truncated)
    pairs = [(prompt, task.answer(example)) for prompt, example in zip(prompts, examples, strict=True)]
    found, cut = likelihoods(model, tokenizer, pairs, batch_size)
    per_example, corpus = likelihood_scores(found)
    return Answers(texts, per_example, corpus, max(truncated, cut))


def _labelled(
    model: Any, tokenizer: Any, task: Task, labels: Sequence[str], examples: Sequence[Example], batch_size: int
) -> Answers:
    side, device = padding_side_of(model), device_of(model)
    texts, nll = [""] * len(examples), [0.0] * len(examples)
    truncated = 0
    batches = encode_labels(task, labels, tokenizer, examples, batch_size, padding_side=side, room=room_for(model, 0))
    with torch.inference_mode():
        for batch in batches:
            log_probs = label_log_probs(model, batch.to(device)).cpu()
            best = log_probs.argmax(dim=-1)
            losses = -log_probs.gather(1, batch.targets[:, None])[:, 0]
            truncated += batch.truncated
            for row, position in enumerate(batch.positions):
                texts[position] = labels[int(best[row])]
                nll[position] = float(losses[row])
    return Answers(texts, {"nll": nll}, truncated=truncated)


def _chosen(model: Any, tokenizer: Any, task: Task, examples: Sequence[Example], batch_size: int) -> Answers:
    choices = [options_of(task, example) for example in examples]
    pairs = [
        (task.prompt(example), f" {option}")
        for example, options in zip(examples, choices, strict=True)
        for option in options
    ]
    found, _ = likelihoods(model, tokenizer, pairs, batch_size)
    texts, bits_per_byte, nll = [], [], []
    truncated = 0
    rest = iter(found)
    for example, options in zip(examples, choices, strict=True):
        read = {option: next(rest) for option in options}
        # The prompt is read with each option; longer options leave less room for it.
        truncated += any(item.cut for item in read.values())
        right = task.answer(example).strip()
        texts.append(min(read, key=lambda option: read[option].bits_per_byte))
        bits_per_byte.append(read[right].bits_per_byte)
        least = min(item.bits for item in read.values())
        others = math.log2(sum(2.0 ** (least - item.bits) for item in read.values()))
        nll.append(math.log(2) * (read[right].bits - least + others))
    return Answers(texts, {"bits_per_byte": bits_per_byte, "nll": nll}, truncated=truncated)
