"""Pruned models that were trained again, in the cache: as papers on pruning do before they report an accuracy."""

from __future__ import annotations

from pathlib import Path

from energyaware.examples import Dataset
from energyaware.progress import Progress, silent
from energyaware.records import Variant
from energyaware.variants.embedded import FACTS_FILE
from energyaware.variants.finetuned import FinetuneJob, ensure_setting, finetune_settings
from energyaware.variants.grid import RECOVERED
from energyaware.variants.prepare import PreparedModel

EPOCHS = 2
"""Passes over the training split after a pruning."""


def ensure_recovered(
    prepared: PreparedModel,
    variant: Variant,
    dataset: Dataset,
    cache: Path,
    device: str = "cpu",
    progress: Progress = silent,
) -> PreparedModel:
    """The model pruned in fp32 and trained again in full, its zeros kept: from the cache, else made now, unmetered.

    Args:
        prepared: the dense model.
        variant: names the pruning, with `-recovered` at its end. All precisions share one recovered model.
        dataset: whose training split calibrates and trains.
        cache: where models are kept.

    Raises:
        CompressionError: the pruning does not fit the model.
        ModelError: the training failed.
        CacheError: `cache` cannot be written.
    """
    ours = (Path(prepared.source) / FACTS_FILE).is_file()
    job = FinetuneJob(
        f"{variant.model}-{variant.pruning}",
        prepared,
        "full",
        "fp32",
        dataset,
        finetune_settings("full", ours, EPOCHS),
        pruning=variant.pruning.removesuffix(RECOVERED),
    )
    return ensure_setting(job, cache, device, progress)
