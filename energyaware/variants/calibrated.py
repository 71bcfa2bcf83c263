"""Load a variant of a prepared model with what its dataset has to give: calibration, recovery, a probe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from energyaware.examples import Dataset
from energyaware.paths import cache_dir
from energyaware.progress import Progress, silent
from energyaware.records import Variant
from energyaware.variants.calibration import calibration_batches, probe_batch
from energyaware.variants.grid import parse_pruning
from energyaware.variants.load import LoadedVariant, load_variant
from energyaware.variants.offered import Compress
from energyaware.variants.prepare import PreparedModel
from energyaware.variants.recovered import ensure_recovered


def load_prepared(
    prepared: PreparedModel,
    variant: Variant,
    dataset: Dataset,
    device: str = "cpu",
    gpus: Sequence[int] = (),
    cache: Path | None = None,
    progress: Progress = silent,
    offered: Mapping[str, Compress] = MappingProxyType({}),
) -> LoadedVariant:
    """Load one variant, calibrated on the training split and compared with the fp32 dense model on the test split.

    A variant whose name ends in `-recovered` is pruned and trained again on the training split first, once per model,
    pruning and dataset; its other precisions are made of the same weights.

    Args:
        gpus: see `energyaware.variants.load.load_variant`.
        cache: where recovered models are kept; by default `cache_dir()`.
        progress: called after each step of a recovery.
        offered: compressions of other plugins, by name.

    Raises:
        CompressionError, ModelError: as `energyaware.variants.load.load_variant`.
        CacheError: the cache cannot be written.
    """
    recovered = None
    if parse_pruning(variant.pruning, offered).recovered:
        recovered = ensure_recovered(prepared, variant, dataset, cache or cache_dir(), device, progress)
    loaded = load_variant(
        prepared.source,
        variant,
        device,
        revision=prepared.revision,
        calibration=partial(calibration_batches, dataset),
        probe=partial(probe_batch, dataset),
        recovered=recovered.source if recovered else None,
        offered=offered,
        gpus=gpus,
    )
    return dataclasses.replace(loaded, notes=(*loaded.notes, *recovered.notes)) if recovered else loaded
