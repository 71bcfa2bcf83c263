"""Trained embedded models in the cache: trained on first use, found by the hash of everything that shaped them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers

from energyaware.errors import ModelError
from energyaware.examples import RCA, Dataset, Example
from energyaware.models.catalogue import ModelSpec
from energyaware.models.embedded import EMBEDDING_DEVIATION, MAX_TOKENS, SHAPES, build
from energyaware.models.loading import load_model, load_tokenizer
from energyaware.models.tokenizer import extend_tokenizer, grow_tokenizer, require_single_tokens, train_tokenizer
from energyaware.paths import model_place
from energyaware.progress import Progress, silent
from energyaware.tasks.base import Chosen, Task, fit_task
from energyaware.tasks.labels import distinct_tokens
from energyaware.tasks.rca import Rca, evaluate
from energyaware.tasks.registry import find_task
from energyaware.training.loop import train
from energyaware.training.losses import mean_answer_loss
from energyaware.training.settings import EncodedExample, TrainSettings
from energyaware.variants.locking import only_one_trains

CODE_VERSION = 1
"""Raise it when a change of code changes what is trained; cached models of other versions are then left alone."""

FACTS_FILE = "energyaware.json"

PRETRAIN = TrainSettings()
"""Settings with which embedded models learn the embedded corpus."""

FINETUNE = TrainSettings(batch_size=32, matrix_lr=0.02, other_lr=5e-3, early_until=0.0)
"""Settings with which a trained model learns another dataset, apart from the passes over it."""

FINETUNE_EXAMPLES, MOST_FINETUNE_EPOCHS = 11_000, 12
"""A model meets about that many examples while it learns another dataset, each at most so many times."""

MIX = TrainSettings(epochs=1, batch_size=64, matrix_lr=0.02, other_lr=4e-3, early_until=0.0)
"""Settings with which a model that knows the embedded corpus learns all tasks."""

MIX_EXAMPLES = 3000
"""Most training examples of each task in the mix."""

_PRETRAIN: MappingProxyType[str, TrainSettings] = MappingProxyType(
    # GPT-2 learns its positions too, and comes nearer to the Bayes-optimal reader in more and smaller steps.
    {"gpt2": TrainSettings(batch_size=64, matrix_lr=0.04)}
)
"""Families that learn the embedded corpus with settings of their own."""

_UNSCALED = ("t5", "gpt-neo")
"""Families whose attention does not scale: their queries learn at smaller rates, see `training.loop.unscaled_queries`,
and they learn the mix in two passes."""

_VALIDATED = 200


@dataclass(frozen=True, slots=True)
class _Job:
    """One model to be made: what names it, and how to make and train it.

    Attributes:
        label: begins the directory's name.
        identity: everything that shapes the model, settings and code version excepted.
        start: makes the untrained model and its tokenizer.
        datasets: what it learns, by name.
        examples: most training examples of each dataset; None takes all.
        settings: of the training.
    """

    label: str
    identity: dict[str, Any]
    start: Callable[[], tuple[Any, Any]]
    datasets: Mapping[str, Dataset]
    examples: int | None
    settings: TrainSettings


def ensure_trained(
    spec: ModelSpec,
    dataset: Dataset,
    cache: Path,
    progress: Progress = silent,
    settings: TrainSettings | None = None,
    seed: int = 0,
) -> Path:
    """The directory of the embedded model `spec`, trained on `dataset`; trained now if it is not in `cache` yet.

    The directory holds what `save_pretrained` writes (safetensors), the tokenizer, and `energyaware.json`: what shaped
    the model, its last losses and its scores on the validation split.

    Args:
        spec: an embedded model.
        dataset: of the task `rca`.
        cache: where trained models are kept.
        progress: called after each step.
        settings: by default `pretrain_settings(spec)`.
        seed: of the untrained weights.

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
    if spec.family in _UNSCALED:  # left out else, so that what was cached before is still found
        identity["queries"] = "slow"

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

    identity |= _single(dataset)
    job = _Job(spec.name, identity, start, {dataset.task: dataset}, None, settings or pretrain_settings(spec))
    return _ensure(job, cache, progress)


def ensure_multitask(
    base: Path,
    datasets: Mapping[str, Dataset],
    cache: Path,
    progress: Progress = silent,
    settings: TrainSettings = MIX,
    examples: int = MIX_EXAMPLES,
) -> Path:
    """The directory of the model in `base`, trained further on a mix of tasks; done now if it is not in `cache` yet.

    Its tokenizer learns the frequent words of the new texts; those of `rca` are split as before.

    Args:
        base: a directory made by `ensure_trained`.
        datasets: by task; with `rca` among them, what the base knows is repeated.
        cache: where trained models are kept.
        progress: called after each step.
        settings: of the training, see `mix_settings`.
        examples: most training examples of each task.

    Raises:
        ModelError: `base` was not made by `ensure_trained`, or training failed.
        TaskError: a dataset of an unknown task.
        CacheError: `cache` cannot be written.
    """
    facts = _facts_of_base(base)
    parts = dict(sorted(datasets.items()))
    identity = {
        "kind": "multitask",
        "base": facts["hash"],
        "datasets": {name: _single(dataset) | {"task": dataset.task} for name, dataset in parts.items()},
        "examples": examples,
    }

    def start() -> tuple[Any, Any]:
        tokenizer, model = load_tokenizer(base), load_model(base, dtype=torch.float32)
        texts: dict[bool, list[str]] = {True: [], False: []}
        for dataset in parts.values():
            task = _task(dataset, tokenizer)
            texts[dataset.task == RCA] += [task.prompt(one) + task.answer(one) for one in dataset.train]
        grown = grow_tokenizer(tokenizer, texts[False], known=texts[True])
        _resize(model, grown)
        return model, grown

    return _ensure(_Job(str(facts["name"]), identity, start, parts, examples, settings), cache, progress)


def ensure_finetuned(
    base: Path,
    dataset: Dataset,
    cache: Path,
    progress: Progress = silent,
    settings: TrainSettings | None = None,
    name: str | None = None,
) -> Path:
    """The directory of the model in `base`, trained further on `dataset`; done now if it is not in `cache` yet.

    Frequent words of the new texts, and its labels, get tokens of their own; other words are spelled in pieces.

    Args:
        base: a directory made by `ensure_trained` or `ensure_multitask`.
        dataset: of any task.
        cache: where trained models are kept.
        progress: called after each step.
        settings: of the training; by default `finetune_settings` of its size.
        name: what progress shows; by default the base's name.

    Raises:
        ModelError: `base` was not made by `ensure_trained`, or training failed.
        CacheError: `cache` cannot be written.
    """
    facts = _facts_of_base(base)

    def start() -> tuple[Any, Any]:
        tokenizer, model = load_tokenizer(base), load_model(base, dtype=torch.float32)
        if dataset.task == RCA:
            texts = [Rca(dataset.labels).prompt(example) for example in dataset.train]
            extend_tokenizer(tokenizer, texts, dataset.labels)
        else:
            task = _task(dataset, tokenizer)
            texts = [task.prompt(example) + task.answer(example) for example in dataset.train]
            tokenizer = grow_tokenizer(tokenizer, texts)
        _resize(model, tokenizer)
        return model, tokenizer

    identity = {"kind": "finetuned", "base": facts["hash"]} | _single(dataset)
    if dataset.task != RCA:  # left out for rca, whose models were cached before there were other tasks
        identity["task"] = dataset.task
    chosen = settings or finetune_settings(len(dataset.train))
    job = _Job(name or str(facts["name"]), identity, start, {dataset.task: dataset}, None, chosen)
    return _ensure(job, cache, progress)


def pretrain_settings(spec: ModelSpec) -> TrainSettings:
    """How an embedded model of this family learns the embedded corpus."""
    return _PRETRAIN.get(spec.family, PRETRAIN)


def mix_settings(spec: ModelSpec) -> TrainSettings:
    """How an embedded model of this family learns all tasks."""
    # T5's decoder meets nothing but answers, so its encoder goes on to read causally.
    settings = replace(MIX, early_until=PRETRAIN.early_until) if spec.family == "t5" else MIX
    return replace(settings, epochs=2 * MIX.epochs) if spec.family in _UNSCALED else settings


def finetune_settings(examples: int) -> TrainSettings:
    """How a trained model learns a dataset of that many training examples: small ones in more passes."""
    epochs = round(FINETUNE_EXAMPLES / max(1, examples))
    return replace(FINETUNE, epochs=min(max(1, epochs), MOST_FINETUNE_EPOCHS))


def encode_for_training(
    task: Task, tokenizer: Any, examples: Sequence[Example], limit: int = MAX_TOKENS
) -> list[EncodedExample]:
    """Prompt, answer and end of text as one sequence each, with the place of the answer.

    Where a label is chosen by its first token, that token alone is learnt as the answer. What is longer than
    `limit` is cut: the answer at its end, to no less than half of that; the prompt in front, since questions stand at
    its end.

    Args:
        task: fitted to the dataset and the tokenizer.
        limit: most tokens of one sequence.
    """
    labels = task.decoding.labels if isinstance(task.decoding, Chosen) else ()
    by_first_token = bool(labels) and distinct_tokens(labels, tokenizer) is not None
    encoded = []
    for example in examples:
        prompt = list(tokenizer(task.prompt(example))["input_ids"])
        answer = [*tokenizer(task.answer(example), add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        cut = len(prompt) + len(answer) > limit
        answer = answer[: max(limit // 2, limit - len(prompt))]
        surplus = max(0, len(prompt) + len(answer) - limit)
        if surplus:
            prompt = [prompt[0], *prompt[1 + surplus :]]
        encoded.append(EncodedExample((*prompt, *answer), len(prompt), 1 if by_first_token else len(answer), cut))
    return encoded


def training_cut_notes(examples: Sequence[EncodedExample], limit: int = MAX_TOKENS) -> tuple[str, ...]:
    """What a reader must know if some training examples were cut to `limit` tokens; else nothing."""
    cut = sum(example.cut for example in examples)
    if not cut:
        return ()
    ends = "prompts at their beginning, answers at their end"
    return (f"{cut} of {len(examples)} training examples cut to {limit} tokens: {ends}",)


def training_notes(place: Path) -> tuple[str, ...]:
    """What was noted when the model in `place` was trained; nothing where that is not known."""
    return tuple((_read_facts(place) or {}).get("notes", ()))


def _task(dataset: Dataset, tokenizer: Any) -> Task:
    """The task of a dataset, as this tokenizer can answer it."""
    return fit_task(find_task(dataset.task), dataset, tokenizer)


def _single(dataset: Dataset) -> dict[str, Any]:
    """What of a dataset shapes a model."""
    return {"dataset": dataset.fingerprint, "labels": dataset.labels}


def _resize(model: Any, tokenizer: Any) -> None:
    """Give the model an embedding for every token; new ones are drawn with a fixed seed."""
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            known = model.get_input_embeddings().num_embeddings
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        # T5 draws embeddings of standard deviation 1, and has no such setting; see `energyaware.models.embedded`.
        drawn = getattr(model.config, "initializer_range", 1.0)
        with torch.no_grad():
            model.get_input_embeddings().weight[known:].mul_(EMBEDDING_DEVIATION / drawn)


def _ensure(job: _Job, cache: Path, progress: Progress) -> Path:
    identity = job.identity | {"code_version": CODE_VERSION, "settings": _shaping(job.settings)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    place = model_place(cache, job.label, key)
    if _read_facts(place) is not None:
        return place
    with only_one_trains(place, f"training {job.label}", progress):
        if _read_facts(place) is None:  # else another run has just made it
            _make(job, place, identity, key, progress)
    return place


def _make(job: _Job, place: Path, identity: dict[str, Any], key: str, progress: Progress) -> None:
    work = place.with_name(f"{place.name}.training")
    work.mkdir(exist_ok=True)
    model, tokenizer = job.start()
    examples: list[EncodedExample] = []
    for dataset in job.datasets.values():
        examples += encode_for_training(_task(dataset, tokenizer), tokenizer, dataset.train[: job.examples])
    report = train(model, examples, job.settings, work, progress, f"training {job.label}")
    scores = {name: _validation(model, tokenizer, dataset) for name, dataset in job.datasets.items()}
    facts = {
        "name": job.label,
        "hash": key,
        "identity": identity,
        "report": asdict(report),
        "validation": scores if len(scores) > 1 else next(iter(scores.values())),
        "notes": training_cut_notes(examples),
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
    """Scores on (the beginning of) the validation split: of `rca` as it is scored later, else nats per answer token."""
    if not dataset.validation:
        return None
    if dataset.task == RCA:
        scores = evaluate(model, tokenizer, dataset, dataset.validation, batch_size=64)
        return {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "nll": scores.mean_nll}
    held_out = encode_for_training(_task(dataset, tokenizer), tokenizer, dataset.validation[:_VALIDATED])
    return {"answer_nll": mean_answer_loss(model, held_out)}


def _facts_of_base(base: Path) -> dict[str, Any]:
    facts = _read_facts(base)
    if facts is None:
        raise ModelError(f"{base} holds no model trained here ({FACTS_FILE} is missing)", "train it first")
    return facts


def _shaping(settings: TrainSettings) -> dict[str, Any]:
    """The settings that shape the weights: how often checkpoints are written does not."""
    return {name: value for name, value in asdict(settings).items() if name != "checkpoint_s"}


def _read_facts(place: Path) -> dict[str, Any] | None:
    """What shaped the model in `place`, or None where there is no finished model."""
    try:
        found = json.loads((place / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "hash" in found else None
