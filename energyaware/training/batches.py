"""The batch of each step: a function of data, seed and step alone, so a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from energyaware.training.settings import EncodedExample, TrainSettings

_POOL = 8
"""Batches among which sequences are sorted by length."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step, padded on the right.

    Attributes:
        ids: [sequences, tokens].
        mask: [sequences, tokens], 1 for real tokens.
        answers: [sequences], index of the answer's first token.
        answer_tokens: [sequences], how many tokens from there on are learnt as the answer.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    answers: torch.Tensor
    answer_tokens: torch.Tensor


def step_examples(examples: Sequence[EncodedExample], settings: TrainSettings, step: int) -> list[EncodedExample]:
    """The examples of one step."""
    return [examples[index] for index in _indices(examples, settings, step)]


def pad(chosen: Sequence[EncodedExample], device: torch.device) -> Batch:
    """Put examples into one rectangle."""
    width = max(len(example.token_ids) for example in chosen)
    ids = torch.zeros((len(chosen), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, example in enumerate(chosen):
        ids[row, : len(example.token_ids)] = torch.tensor(example.token_ids)
        mask[row, : len(example.token_ids)] = 1
    answers = torch.tensor([example.answer for example in chosen])
    counts = torch.tensor([example.answer_tokens for example in chosen])
    return Batch(ids.to(device), mask.to(device), answers.to(device), counts.to(device))


def _indices(examples: Sequence[EncodedExample], settings: TrainSettings, step: int) -> list[int]:
    """Shuffled, then sorted by length within a few batches, so that little is padding; the batches shuffled again."""
    size = settings.batch_size
    per_epoch = -(-len(examples) // size)
    epoch, place = divmod(step, per_epoch)
    rng = np.random.default_rng([settings.seed, 0, epoch])
    order = rng.permutation(len(examples)).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), size * _POOL):
        pool = sorted(order[start : start + size * _POOL], key=lambda index: len(examples[index].token_ids))
        parts = [pool[begin : begin + size] for begin in range(0, len(pool), size)]
        batches += [parts[index] for index in rng.permutation(len(parts))]
    return batches[place]
