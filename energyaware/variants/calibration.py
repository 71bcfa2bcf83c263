"""Batches of a dataset's texts: to calibrate prunings, and to probe what a compression does to a model's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from energyaware.compression.calibration import Batch, packed_batches
from energyaware.examples import Dataset, Example

PROBE_TOKENS = 64
PROBE_ROWS = 8


def calibration_batches(dataset: Dataset, tokenizer: Any) -> tuple[Batch, ...]:
    """Batches of the training split, without padding."""
    return packed_batches(_tokens(tokenizer, dataset.train))


def probe_batch(dataset: Dataset, tokenizer: Any) -> Batch:
    """One batch of the test split: [PROBE_ROWS, PROBE_TOKENS]."""
    (batch,) = packed_batches(_tokens(tokenizer, dataset.test), length=PROBE_TOKENS, batch_size=PROBE_ROWS, limit=1)
    return batch


def _tokens(tokenizer: Any, examples: Sequence[Example]) -> Iterator[list[int]]:
    for example in examples:
        parts = (example.text, example.question, example.label)
        yield list(tokenizer(" ".join(part for part in parts if part))["input_ids"])
