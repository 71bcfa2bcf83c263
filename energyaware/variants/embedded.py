"""Trained embedded models in the cache: trained on first use, found by the hash of everything that shaped them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock, Timeout

from energyaware.errors import ModelError
from energyaware.examples import Dataset, Example
from energyaware.models.catalogue import ModelSpec
from energyaware.models.embedded import SHAPES, build
from energyaware.models.loading import load_causal_lm, load_tokenizer
from energyaware.models.tokenizer import extend_tokenizer, require_single_tokens, train_tokenizer
from energyaware.paths import writable_dir
from energyaware.progress import Progress, silent
from energyaware.tasks.rca import Rca, evaluate, rca_for
from energyaware.training.loop import train
from energyaware.training.settings import EncodedExample, TrainSettings

CODE_VERSION = 1
"""Raise it when a change of code changes what is trained; cached models of other versions are then left alone."""

FACTS_FILE = "energyaware.json"

_POLL_S = 2.0

PRETRAIN = TrainSettings()
"""Settings with which embedded models learn the embedded corpus."""

FINETUNE = TrainSettings(epochs=6, batch_size=64, matrix_lr=0.02, other_lr=5e-3)
"""Settings with which a trained model learns another dataset."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One model to be made: what names it, and how to make and train it."""

    label: str
    identity: dict[str, Any]
    start: Callable[[], tuple[Any, Any]]
    dataset: Dataset
    settings: TrainSettings


def ensure_trained(
    spec: ModelSpec,
    dataset: Dataset,
    cache: Path,
    progress: Progress = silent,
    settings: TrainSettings = PRETRAIN,
    seed: int = 0,
) -> Path:
    """The directory of the embedded model `spec`, trained on `dataset`; trained now if it is not in `cache` yet.

    The directory holds what `save_pretrained` writes (safetensors), the tokenizer, and `energyaware.json`: what shaped
    the model, its last losses and its scores on the validation split.

    Raises:
        ModelError: `spec` is not embedded, or training failed.
        CacheError: `cache` cannot be written.
    """
    if not spec.embedded:
        raise ModelError(f"{spec.name} is not an embedded model", "use it as it is, or fine-tune it")
    identity = {
        "kind": "pretrained",
        "family": spec.family,
        "size": spec.size,
        "shape": asdict(SHAPES[spec.size]) if spec.size in SHAPES else None,
        "seed": seed,
    }

    def start() -> tuple[Any, Any]:
        task = Rca(dataset.labels)
        texts = [task.prompt(example) + task.answer(example) for example in dataset.train]
        tokenizer = train_tokenizer(texts, dataset.labels)
        require_single_tokens(tokenizer, dataset.labels)
        model = build(
            spec,
            len(tokenizer),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            seed=seed,
        )
        return model, tokenizer

    return _ensure(_Job(spec.name, identity, start, dataset, settings), cache, progress)


def ensure_finetuned(
    base: Path,
    dataset: Dataset,
    cache: Path,
    progress: Progress = silent,
    settings: TrainSettings = FINETUNE,
    name: str | None = None,
) -> Path:
    """The directory of the model in `base`, trained further on `dataset`; done now if it is not in `cache` yet.

    Frequent words of the new texts, and its labels, get tokens of their own; other words are spelled in pieces.

    Args:
        base: a directory made by `ensure_trained`.
        name: what progress shows; by default the base's name.

    Raises:
        ModelError: `base` was not made by `ensure_trained`, or training failed.
        CacheError: `cache` cannot be written.
    """
    facts = _read_facts(base)
    if facts is None:
        raise ModelError(f"{base} holds no model trained here ({FACTS_FILE} is missing)", "train it first")
    label = name or str(facts["name"])

    def start() -> tuple[Any, Any]:
        tokenizer, model = load_tokenizer(base), load_causal_lm(base, dtype=torch.float32)
        task = Rca(dataset.labels)
        extend_tokenizer(tokenizer, [task.prompt(example) for example in dataset.train], dataset.labels)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        return model, tokenizer

    identity = {"kind": "finetuned", "base": facts["hash"]}
    return _ensure(_Job(label, identity, start, dataset, settings), cache, progress)


def encode_for_training(task: Rca, tokenizer: Any, examples: Sequence[Example]) -> list[EncodedExample]:
    """Prompt, answer and end of text as one sequence each, with the place of the answer's first token."""
    encoded = []
    for example in examples:
        prompt = list(tokenizer(task.prompt(example))["input_ids"])
        answer = list(tokenizer(task.answer(example), add_special_tokens=False)["input_ids"])
        encoded.append(EncodedExample((*prompt, *answer, tokenizer.eos_token_id), len(prompt)))
    return encoded


def _ensure(job: _Job, cache: Path, progress: Progress) -> Path:
    identity = job.identity | {
        "code_version": CODE_VERSION,
        "dataset": job.dataset.fingerprint,
        "labels": job.dataset.labels,
        "settings": _shaping(job.settings),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    models = writable_dir(cache / "models", "cache")
    place = models / f"{job.label}-{key[:16]}"
    if _read_facts(place) is not None:
        return place
    with _lock(models / f"{place.name}.lock", job.label, progress):
        if _read_facts(place) is None:  # else another run has just made it
            _make(job, place, identity, key, progress)
    return place


def _make(job: _Job, place: Path, identity: dict[str, Any], key: str, progress: Progress) -> None:
    work = place.with_name(f"{place.name}.training")
    work.mkdir(exist_ok=True)
    model, tokenizer = job.start()
    task = rca_for(job.dataset, tokenizer)
    examples = encode_for_training(task, tokenizer, job.dataset.train)
    report = train(model, examples, job.settings, work, progress, f"training {job.label}")
    facts = {
        "name": job.label,
        "hash": key,
        "identity": identity,
        "report": asdict(report),
        "validation": _validation(model, tokenizer, job.dataset),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    finished = place.with_name(f"{place.name}.{os.getpid()}.finished")
    model.save_pretrained(finished)
    tokenizer.save_pretrained(finished)
    (finished / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if place.exists():  # damaged: without its facts file
        shutil.rmtree(place)
    finished.replace(place)
    shutil.rmtree(work)


def _validation(model: Any, tokenizer: Any, dataset: Dataset) -> dict[str, float] | None:
    if not dataset.validation:
        return None
    scores = evaluate(model, tokenizer, dataset, dataset.validation, batch_size=64)
    return {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "nll": scores.mean_nll}


def _shaping(settings: TrainSettings) -> dict[str, Any]:
    """The settings that shape the weights: how often checkpoints are written does not."""
    return {name: value for name, value in asdict(settings).items() if name != "checkpoint_s"}


def _read_facts(place: Path) -> dict[str, Any] | None:
    """What shaped the model in `place`, or None where there is no finished model."""
    try:
        found = json.loads((place / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "hash" in found else None


@contextmanager
def _lock(path: Path, label: str, progress: Progress) -> Iterator[None]:
    """Hold a file lock; whoever waits for it says so."""
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL_S)
        except Timeout:
            progress(f"training {label}", 0, 1, "another run is training it: waiting")
    try:
        yield
    finally:
        lock.release()
