"""Answers that a model writes: greedy generation of batches through the model's own `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from energyaware.tasks.encoding import (
    batches_by_length,
    device_of,
    encode_prompt,
    pad_rows,
    padding_token,
    room_for,
)

if TYPE_CHECKING:
    from energyaware.tasks.base import Written


@dataclass(frozen=True)
class PromptBatch:
    """Some prompts of about the same length on the model's device, ready to be answered.

    Attributes:
        input_ids: [prompts, tokens], padded on the left for decoders and on the right for encoder-decoders.
        attention_mask: [prompts, tokens], 1 for real tokens.
        positions: where in the prompts given to `encode_prompts` each row stood.
        ends: tokens that end an answer.
        padding: token that fills up answers which end before others.
        max_new_tokens: most tokens of an answer.
        truncated: how many prompts were cut.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    positions: tuple[int, ...]
    ends: tuple[int, ...]
    padding: int
    max_new_tokens: int
    truncated: int

    @property
    def tokens_in(self) -> int:
        """Real prompt tokens, padding not counted."""
        return int(self.attention_mask.sum())


def encode_prompts(
    model: Any, tokenizer: Any, prompts: Sequence[str], decoding: Written, batch_size: int
) -> list[PromptBatch]:
    """Tokenize and pad, shortest first.

    Args:
        prompts: at least one.

    Raises:
        TaskError: the answers leave no room for prompts.
    """
    room = room_for(model, decoding.max_new_tokens)
    rows, cuts = zip(*(encode_prompt(tokenizer, prompt, room) for prompt in prompts), strict=True)
    ends, padding = end_tokens(model, tokenizer, decoding.stop), padding_token(tokenizer)
    side = "right" if model.config.is_encoder_decoder else "left"
    device = device_of(model)
    batches = []
    for chosen in batches_by_length([len(row) for row in rows], batch_size):
        ids, mask = pad_rows([rows[index] for index in chosen], padding, side)
        cut = sum(cuts[index] for index in chosen)
        batches.append(
            PromptBatch(ids.to(device), mask.to(device), tuple(chosen), ends, padding, decoding.max_new_tokens, cut)
        )
    return batches


def end_tokens(model: Any, tokenizer: Any, stop: str) -> tuple[int, ...]:
    """Tokens that end an answer: the model's end of text, the tokenizer's, and `stop` where that is one token."""
    listed = model.generation_config.eos_token_id
    ends = {} if listed is None else dict.fromkeys([listed] if isinstance(listed, int) else listed)
    if tokenizer.eos_token_id is not None:
        ends[tokenizer.eos_token_id] = None
    if stop:
        # Some tokenizers put a token for the space before it.
        last = tokenizer(stop, add_special_tokens=False)["input_ids"][-1:]
        if last and tokenizer.decode(last) == stop:
            ends[last[0]] = None
    return tuple(ends)


def write(model: Any, batch: PromptBatch) -> torch.Tensor:
    """[prompts, tokens] of the answers, filled up with padding tokens after their end."""
    with torch.inference_mode():
        tokens: torch.Tensor = model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=batch.max_new_tokens,
            eos_token_id=list(batch.ends) or None,
            pad_token_id=batch.padding,
        )
    # A decoder repeats the prompt, an encoder-decoder its start token.
    skipped = 1 if model.config.is_encoder_decoder else batch.input_ids.shape[1]
    return tokens[:, skipped:]


def written_lengths(tokens: torch.Tensor, ends: Sequence[int]) -> list[int]:
    """How many tokens each answer took, its end included, padding not."""
    lengths = []
    for row in tokens.tolist():
        end = next((place for place, token in enumerate(row) if token in ends), len(row) - 1)
        lengths.append(end + 1)
    return lengths


def answer_texts(tokenizer: Any, tokens: torch.Tensor, ends: Sequence[int], stop: str) -> list[str]:
    """The answers as text: without special tokens, cut before `stop`, no white space around."""
    texts = []
    for row, length in zip(tokens.tolist(), written_lengths(tokens, ends), strict=True):
        text = tokenizer.decode(row[:length], skip_special_tokens=True).lstrip()
        texts.append((text.split(stop)[0] if stop else text).strip())
    return texts


def write_all(
    model: Any, tokenizer: Any, prompts: Sequence[str], decoding: Written, batch_size: int
) -> tuple[list[str], int]:
    """The answers in the order of the prompts, and how many prompts were cut to fit the model.

    Raises:
        TaskError: the answers leave no room for prompts.
    """
    found = [""] * len(prompts)
    truncated = 0
    for batch in encode_prompts(model, tokenizer, prompts, decoding, batch_size):
        texts = answer_texts(tokenizer, write(model, batch), batch.ends, decoding.stop)
        truncated += batch.truncated
        for index, text in zip(batch.positions, texts, strict=True):
            found[index] = text
    return found, truncated
