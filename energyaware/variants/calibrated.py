"""Load a variant of a prepared model with what its dataset has to give: calibration, and a probe of its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from energyaware.compression.calibration import Batch, packed_batches
from energyaware.examples import Dataset, Example
from energyaware.records import Variant
from energyaware.variants.load import LoadedVariant, load_variant
from energyaware.variants.prepare import PreparedModel

PROBE_TOKENS = 64
PROBE_ROWS = 8


def load_prepared(
    prepared: PreparedModel, variant: Variant, dataset: Dataset, device: str = "cpu", gpus: Sequence[int] = ()
) -> LoadedVariant:
    """Load one variant, calibrated on the training split and compared with the fp32 dense model on the test split.

    Raises:
        CompressionError, ModelError: as `energyaware.variants.load.load_variant`.
    """

    def calibration(tokenizer: Any) -> tuple[Batch, ...]:
        return packed_batches(_tokens(tokenizer, dataset.train))

    def probe(tokenizer: Any) -> Batch:
        (batch,) = packed_batches(_tokens(tokenizer, dataset.test), length=PROBE_TOKENS, batch_size=PROBE_ROWS, limit=1)
        return batch

    return load_variant(
        prepared.source, variant, device, revision=prepared.revision, calibration=calibration, probe=probe, gpus=gpus
    )


def _tokens(tokenizer: Any, examples: Sequence[Example]) -> Iterator[list[int]]:
    for example in examples:
        parts = (example.text, example.question, example.label)
        yield list(tokenizer(" ".join(part for part in parts if part))["input_ids"])
