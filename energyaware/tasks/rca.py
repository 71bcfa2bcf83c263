"""Root-cause analysis: name which of the known causes explains a ticket.

The answer is chosen by comparing the labels' log-likelihoods at the last position of one forward pass, so a request is
a prefill without any decoding. Each label stands for itself where the tokenizer gives every label a first token of its
own, else for a letter that the prompt explains.
"""

from __future__ import annotations

import inspect
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from energyaware.errors import TaskError
from energyaware.examples import Dataset, Example
from energyaware.tasks.base import Workload
from energyaware.tasks.metrics import accuracy, macro_f1


@dataclass(frozen=True)
class Rca:
    """The task.

    Attributes:
        labels: all causes, in the order in which log-probabilities are given.
        letters: whether the prompt lists the causes under letters and asks for a letter.
    """

    labels: tuple[str, ...]
    letters: bool = False

    @property
    def name(self) -> str:
        """`rca`."""
        return "rca"

    @property
    def answers(self) -> tuple[str, ...]:
        """What follows the prompt for each label, without the leading space."""
        return tuple(string.ascii_uppercase[: len(self.labels)]) if self.letters else self.labels

    def prompt(self, example: Example) -> str:
        """The ticket and the question; the answer follows after a space."""
        if not self.letters:
            return f"{example.text} cause:"
        options = " ".join(f"{letter}) {label}" for letter, label in zip(self.answers, self.labels, strict=True))
        return f"{example.text}\nPossible causes: {options}\nThe cause is"

    def answer(self, example: Example) -> str:
        """What a perfect model writes after the prompt, with its leading space."""
        return f" {self.answers[self.labels.index(example.label)]}"


@dataclass(frozen=True)
class RcaBatch:
    """Some prompts of about the same length, padded to one rectangle.

    Attributes:
        input_ids: [examples, tokens].
        attention_mask: [examples, tokens], 1 for real tokens.
        positions: [examples], where in the examples given to `encode` each row stood.
        targets: [examples], index of the true label.
        label_tokens: [labels], the token that stands for each label.
        padding_side: `left` or `right`.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    positions: tuple[int, ...]
    targets: torch.Tensor
    label_tokens: torch.Tensor
    padding_side: str

    @property
    def tokens_in(self) -> int:
        """Real tokens, padding not counted."""
        return int(self.attention_mask.sum())

    def to(self, device: torch.device | str) -> RcaBatch:
        """The same batch on another device."""
        return RcaBatch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.positions,
            self.targets.to(device),
            self.label_tokens.to(device),
            self.padding_side,
        )


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
    """

    correct: tuple[int, ...]
    nll: tuple[float, ...]
    predicted: tuple[str, ...]
    accuracy: float
    macro_f1: float
    mean_nll: float


def rca_for(dataset: Dataset, tokenizer: Any) -> Rca:
    """The task as this tokenizer can answer it: with words if their first tokens differ, else with letters.

    Raises:
        TaskError: fewer than two labels, or letters needed for more labels than there are letters.
    """
    if len(dataset.labels) < 2:
        raise TaskError(f"the dataset {dataset.name} has {len(dataset.labels)} label(s)", "give at least two")
    words = Rca(dataset.labels)
    if _distinct_tokens(words, tokenizer) is not None:
        return words
    if len(dataset.labels) > len(string.ascii_uppercase):
        raise TaskError(
            f"{len(dataset.labels)} labels whose first tokens are not distinct, and only "
            f"{len(string.ascii_uppercase)} letters",
            "rename the labels so that they begin differently, or merge some",
        )
    return Rca(dataset.labels, letters=True)


def encode(
    task: Rca, tokenizer: Any, examples: Sequence[Example], batch_size: int, padding_side: str = "left"
) -> list[RcaBatch]:
    """Tokenize and pad; rows are sorted by length, so that padding is small.

    Args:
        padding_side: `left` lets the model compute logits at one position only; see `padding_side_of`.

    Raises:
        TaskError: labels that share a first token, or an example whose label the task does not know.
    """
    label_tokens = _distinct_tokens(task, tokenizer)
    if label_tokens is None:
        raise TaskError("two labels begin with the same token", "let energyaware.tasks.rca.rca_for choose the task")
    unknown = sorted({example.label for example in examples} - set(task.labels))
    if unknown:
        raise TaskError(f"labels that the task does not know: {', '.join(unknown)}", "list them in the dataset")
    rows = [list(tokenizer(task.prompt(example))["input_ids"]) for example in examples]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    batches = []
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, mask = _padded([rows[index] for index in chosen], pad, padding_side)
        targets = torch.tensor([task.labels.index(examples[index].label) for index in chosen])
        batches.append(RcaBatch(ids, mask, tuple(chosen), targets, torch.tensor(label_tokens), padding_side))
    return batches


def padding_side_of(model: Any) -> str:
    """`left` where the architecture takes explicit positions, so that padding in front is harmless, else `right`."""
    return "left" if "position_ids" in inspect.signature(model.forward).parameters else "right"


def predict(model: Any, batch: RcaBatch) -> torch.Tensor:
    """[examples, labels] log-probabilities in fp32, normalized over the labels. One forward pass."""
    return _label_logits(model, batch).float().log_softmax(dim=-1)


def evaluate(model: Any, tokenizer: Any, dataset: Dataset, examples: Sequence[Example], batch_size: int) -> RcaScores:
    """Answer all examples and score the answers.

    Raises:
        TaskError: no examples, or labels that this tokenizer cannot tell apart.
    """
    if not examples:
        raise TaskError(f"no examples of {dataset.name} to score", "give a larger test split")
    task = rca_for(dataset, tokenizer)
    side, device = padding_side_of(model), _device(model)
    correct, nll, predicted = [0] * len(examples), [0.0] * len(examples), [""] * len(examples)
    with torch.inference_mode():
        for batch in encode(task, tokenizer, examples, batch_size, side):
            log_probs = predict(model, batch.to(device)).cpu()
            best = log_probs.argmax(dim=-1)
            losses = -log_probs.gather(1, batch.targets[:, None])[:, 0]
            for row, position in enumerate(batch.positions):
                correct[position] = int(best[row] == batch.targets[row])
                nll[position] = float(losses[row])
                predicted[position] = task.labels[int(best[row])]
    return RcaScores(
        tuple(correct),
        tuple(nll),
        tuple(predicted),
        accuracy(correct),
        macro_f1([example.label for example in examples], predicted),
        sum(nll) / len(nll),
    )


def workload(model: Any, tokenizer: Any, task: Rca, examples: Sequence[Example], batch_size: int) -> Workload:
    """One forward pass over one batch, encoded beforehand: the `batch_size` examples of middle length are taken.

    Raises:
        TaskError: fewer examples than `batch_size`.
    """
    if len(examples) < batch_size or batch_size < 1:
        raise TaskError(f"{len(examples)} examples for a batch of {batch_size}", "ask for a smaller batch")
    start = (len(examples) - batch_size) // 2
    middle = sorted(examples, key=lambda example: len(task.prompt(example)))[start : start + batch_size]
    (batch,) = encode(task, tokenizer, middle, batch_size, padding_side_of(model))
    batch = batch.to(_device(model))

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return predict(model, batch)

    return Workload(run, requests=batch_size, tokens_in=batch.tokens_in)


def _label_logits(model: Any, batch: RcaBatch) -> torch.Tensor:
    parameters = inspect.signature(model.forward).parameters
    options: dict[str, Any] = {}
    if "use_cache" in parameters:
        options["use_cache"] = False
    if batch.padding_side == "left":
        # Padding in front must not shift what the real tokens see.
        options["position_ids"] = (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        if "logits_to_keep" in parameters:
            options["logits_to_keep"] = 1
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options).logits
    if batch.padding_side == "left":
        last = logits[:, -1]
    else:
        rows = torch.arange(len(logits), device=logits.device)
        last = logits[rows, batch.attention_mask.sum(dim=1) - 1]
    of_labels: torch.Tensor = last[:, batch.label_tokens]
    return of_labels


def _distinct_tokens(task: Rca, tokenizer: Any) -> list[int] | None:
    """The first token of every answer after its space, or None where two are equal or one is no more than the space."""
    firsts: list[int] = []
    for answer in task.answers:
        ids = tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]
        if not ids or not tokenizer.decode(ids[:1]).strip():
            return None
        firsts.append(int(ids[0]))
    return firsts if len(set(firsts)) == len(firsts) else None


def _padded(rows: Sequence[list[int]], pad: int, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        span = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[index, span] = torch.tensor(row)
        mask[index, span] = 1
    return ids, mask


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device
