"""From a model's name to weights on disk: local as they are, embedded ones trained, on other data fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from energyaware.data.simulator import network_corpus
from energyaware.examples import Dataset
from energyaware.models.catalogue import ModelSpec
from energyaware.models.fingerprint import weights_fingerprint
from energyaware.progress import Progress, silent
from energyaware.variants.embedded import ensure_finetuned, ensure_trained


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model that is ready to be loaded.

    Attributes:
        source: directory or Hugging Face id.
        fingerprint: SHA-256 of its weights, None where they are not local yet.
    """

    source: str
    fingerprint: str | None


def prepare(spec: ModelSpec, dataset: Dataset, cache: Path, progress: Progress = silent) -> PreparedModel:
    """Make `spec` ready for `dataset`: an embedded model learns the simulator first, and other data on top of it.

    Raises:
        ModelError: training failed.
        CacheError: the cache cannot be written.
    """
    if not spec.embedded:
        return PreparedModel(str(spec.path or spec.hub_id), weights_fingerprint(spec.path) if spec.path else None)
    corpus = network_corpus()
    folder = ensure_trained(spec, corpus, cache, progress)
    if dataset.fingerprint != corpus.fingerprint:
        folder = ensure_finetuned(folder, dataset, cache, progress)
    return PreparedModel(str(folder), weights_fingerprint(folder))
