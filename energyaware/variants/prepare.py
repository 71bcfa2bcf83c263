"""From a model's name to weights on disk: local as they are, embedded ones trained, on other data fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from energyaware.data.simulator import network_corpus
from energyaware.examples import Dataset
from energyaware.models.catalogue import ModelSpec
from energyaware.models.fingerprint import weights_fingerprint
from energyaware.models.hub import cached_snapshot
from energyaware.progress import Progress, silent
from energyaware.variants.embedded import (
    ensure_finetuned,
    ensure_multitask,
    ensure_trained,
    mix_settings,
    training_notes,
)


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model that is ready to be loaded.

    Attributes:
        source: directory or Hugging Face id.
        fingerprint: SHA-256 of its weights, of a cached hub model its commit; None where they are not local yet.
        revision: git revision, where `source` is a Hugging Face id with one.
        notes: what a reader must know of its training.
    """

    source: str
    fingerprint: str | None
    revision: str | None = None
    notes: tuple[str, ...] = ()


def prepare(spec: ModelSpec, dataset: Dataset, cache: Path, progress: Progress = silent) -> PreparedModel:
    """Make `spec` ready for `dataset`: an embedded model learns the simulator first, and other data on top of it.

    Raises:
        ModelError: training failed.
        TaskError: the dataset is of an unknown task.
        CacheError: the cache cannot be written.
    """
    if not spec.embedded:
        return _as_it_is(spec)
    corpus = network_corpus()
    folder = ensure_trained(spec, corpus, cache, progress)
    if dataset.fingerprint != corpus.fingerprint:
        folder = ensure_finetuned(folder, dataset, cache, progress)
    return _trained(folder)


def prepare_multitask(
    spec: ModelSpec, datasets: Mapping[str, Dataset], cache: Path, progress: Progress = silent
) -> PreparedModel:
    """Make `spec` ready for all of `datasets` at once: an embedded model learns causes first, then the mix of tasks.

    Args:
        datasets: by task; the embedded corpus stands in where `rca` is not among them.

    Raises:
        ModelError: training failed.
        TaskError: a dataset is of an unknown task.
        CacheError: the cache cannot be written.
    """
    if not spec.embedded:
        return _as_it_is(spec)
    corpus = network_corpus()
    base = ensure_trained(spec, corpus, cache, progress)
    tasks = {corpus.task: corpus} | dict(datasets)
    return _trained(ensure_multitask(base, tasks, cache, progress, mix_settings(spec)))


def _as_it_is(spec: ModelSpec) -> PreparedModel:
    if spec.path is not None:
        return PreparedModel(str(spec.path), weights_fingerprint(spec.path))
    hub_id = str(spec.hub_id)
    snapshot = cached_snapshot(hub_id, spec.revision)
    # The hub names a snapshot's folder after its commit.
    return PreparedModel(hub_id, f"commit {snapshot.name}" if snapshot else None, spec.revision)


def _trained(folder: Path) -> PreparedModel:
    return PreparedModel(str(folder), weights_fingerprint(folder), notes=training_notes(folder))
