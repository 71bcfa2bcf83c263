"""Choose among fixed labels by the first token of each, in one forward pass: a prefill without any decoding."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from energyaware.errors import TaskError
from energyaware.tasks.encoding import (
    batches_by_length,
    encode_prompt,
    pad_rows,
    padding_token,
    start_token_of,
)

if TYPE_CHECKING:
    from energyaware.examples import Example
    from energyaware.tasks.base import Task


@dataclass(frozen=True)
class LabelBatch:
    """Some prompts of about the same length, padded to one rectangle.

    Attributes:
        input_ids: [examples, tokens].
        attention_mask: [examples, tokens], 1 for real tokens.
        positions: [examples], where in the examples given to `encode_labels` each row stood.
        targets: [examples], index of the true label.
        label_tokens: [labels], the token that stands for each label.
        padding_side: `left` or `right`.
        truncated: how many prompts were cut.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    positions: tuple[int, ...]
    targets: torch.Tensor
    label_tokens: torch.Tensor
    padding_side: str
    truncated: int = 0

    @property
    def tokens_in(self) -> int:
        """Real tokens, padding not counted."""
        return int(self.attention_mask.sum())

    def to(self, device: torch.device | str) -> LabelBatch:
        """The same batch on another device."""
        return LabelBatch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.positions,
            self.targets.to(device),
            self.label_tokens.to(device),
            self.padding_side,
            self.truncated,
        )


def distinct_tokens(labels: Sequence[str], tokenizer: Any) -> list[int] | None:
    """The first token of every label after its space, or None where two are equal or one is no more than the space."""
    firsts: list[int] = []
    for label in labels:
        ids = tokenizer(f" {label}", add_special_tokens=False)["input_ids"]
        if not ids or not tokenizer.decode(ids[:1]).strip():
            return None
        firsts.append(int(ids[0]))
    return firsts if len(set(firsts)) == len(firsts) else None


def encode_labels(
    task: Task,
    labels: Sequence[str],
    tokenizer: Any,
    examples: Sequence[Example],
    batch_size: int,
    *,
    padding_side: str = "left",
    room: int | None = None,
) -> list[LabelBatch]:
    """Tokenize and pad; rows are sorted by length, so that padding is small.

    Args:
        labels: all answers, in the order in which log-probabilities are given.
        padding_side: `left` lets the model compute logits at one position only; see `padding_side_of`.
        room: most tokens of a prompt.

    Raises:
        TaskError: labels that share a first token, or an example whose answer is none of them.
    """
    tokens = distinct_tokens(labels, tokenizer)
    if tokens is None:
        raise TaskError("two labels begin with the same token", "rename them, or list them under letters")
    answers = [task.answer(example).strip() for example in examples]
    unknown = sorted(set(answers) - set(labels))
    if unknown:
        raise TaskError(f"labels that the task does not know: {', '.join(unknown)}", "list them in the dataset")
    rows, cuts = zip(*(encode_prompt(tokenizer, task.prompt(example), room) for example in examples), strict=True)
    batches = []
    for chosen in batches_by_length([len(row) for row in rows], batch_size):
        ids, mask = pad_rows([rows[index] for index in chosen], padding_token(tokenizer), padding_side)
        targets = torch.tensor([labels.index(answers[index]) for index in chosen])
        cut = sum(cuts[index] for index in chosen)
        batches.append(LabelBatch(ids, mask, tuple(chosen), targets, torch.tensor(tokens), padding_side, cut))
    return batches


def label_log_probs(model: Any, batch: LabelBatch) -> torch.Tensor:
    """[examples, labels] log-probabilities in fp32, normalised over the labels. One forward pass.

    An encoder-decoder reads the prompt in its encoder; the decoder's first step gives the logits.
    """
    return _label_logits(model, batch).float().log_softmax(dim=-1)


def _label_logits(model: Any, batch: LabelBatch) -> torch.Tensor:
    parameters = inspect.signature(model.forward).parameters
    options: dict[str, Any] = {}
    if "use_cache" in parameters:
        options["use_cache"] = False
    encoder_decoder = model.config.is_encoder_decoder
    if encoder_decoder:
        options["decoder_input_ids"] = batch.input_ids.new_full((len(batch.input_ids), 1), start_token_of(model))
    elif batch.padding_side == "left":
        # Padding in front must not shift what the real tokens see.
        options["position_ids"] = (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        if "logits_to_keep" in parameters:
            options["logits_to_keep"] = 1
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options).logits
    if encoder_decoder or batch.padding_side == "left":
        last = logits[:, -1]
    else:
        rows = torch.arange(len(logits), device=logits.device)
        last = logits[rows, batch.attention_mask.sum(dim=1) - 1]
    of_labels: torch.Tensor = last[:, batch.label_tokens]
    return of_labels
