"""Prompts as tokens: cut to what the model can hold, padded to rectangles of about the same length."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from energyaware.errors import TaskError

if TYPE_CHECKING:
    from energyaware.examples import Example
    from energyaware.tasks.base import Task


def encode_prompt(tokenizer: Any, prompt: str, room: int | None = None) -> tuple[list[int], bool]:
    """Token ids of a prompt with the tokenizer's special tokens, at most `room` of them, and whether it was cut.

    The question stands at the end of a prompt, so what is cut off is its beginning, but for a start token.
    """
    ids = list(tokenizer(prompt)["input_ids"])
    if room is None or len(ids) <= room:
        return ids, False
    start = ids[:1] if ids[0] == tokenizer.bos_token_id else []
    return start + ids[len(ids) - room + len(start) :], True


def prompt_lengths(tokenizer: Any, task: Task, examples: Sequence[Example]) -> list[int]:
    """Tokens of each example's prompt, whole: what a model would have to read if it had room."""
    return [len(encode_prompt(tokenizer, task.prompt(example))[0]) for example in examples]


def position_limit(model: Any) -> int | None:
    """Most tokens that a decoder can hold, prompt and answer together; None where positions have no end (T5)."""
    limit = None if model.config.is_encoder_decoder else getattr(model.config, "max_position_embeddings", None)
    return None if limit is None else int(limit)


def cut_notes(model: Any, cut: int, prompts: int) -> tuple[str, ...]:
    """What a reader of the scores must know if some of the prompts were cut; else nothing."""
    if not cut:
        return ()
    return (f"{cut} of {prompts} prompts cut at their beginning to fit the model's {position_limit(model)} positions",)


def room_for(model: Any, new_tokens: int) -> int | None:
    """Most prompt tokens that leave room for `new_tokens`; None where positions have no end (T5).

    Raises:
        TaskError: there is no room for a prompt.
    """
    limit = position_limit(model)
    if limit is None:
        return None
    if limit - new_tokens < 2:
        raise TaskError(
            f"{new_tokens} tokens to answer with leave no room for a prompt in a model with {limit} positions",
            "ask for shorter answers, or take a model with more positions",
        )
    return limit - new_tokens


def padding_side_of(model: Any) -> str:
    """`left` where the architecture takes explicit positions, so that padding in front is harmless, else `right`."""
    return "left" if "position_ids" in inspect.signature(model.forward).parameters else "right"


def padding_token(tokenizer: Any) -> int:
    """What fills the rectangle; masked, so any token would do."""
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)


def pad_rows(rows: Sequence[Sequence[int]], padding: int, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (1 for real tokens), both [rows, longest row], padded on the `left` or `right`."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), padding)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        span = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[index, span] = torch.tensor(row)
        mask[index, span] = 1
    return ids, mask


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches, shortest first, so that padding is small."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def middle_examples(task: Task, examples: Sequence[Example], batch_size: int) -> list[Example]:
    """The `batch_size` examples with prompts of middle length.

    Raises:
        TaskError: fewer examples than `batch_size`.
    """
    if len(examples) < batch_size or batch_size < 1:
        raise TaskError(f"{len(examples)} examples for a batch of {batch_size}", "ask for a smaller batch")
    start = (len(examples) - batch_size) // 2
    return sorted(examples, key=lambda example: len(task.prompt(example)))[start : start + batch_size]


def device_of(model: Any) -> torch.device:
    """Where the model's first parameter lies."""
    device: torch.device = next(model.parameters()).device
    return device


def start_token_of(model: Any) -> int:
    """The token with which an encoder-decoder's decoder begins, as `generate` finds it.

    Raises:
        TaskError: the model names none.
    """
    start = model.generation_config.decoder_start_token_id
    if start is None:
        start = model.generation_config.bos_token_id
    if start is None:
        raise TaskError(
            f"{type(model).__name__} does not say which token its decoder starts with",
            "set decoder_start_token_id in the model's generation_config.json",
        )
    return int(start)
