"""Fine-tuned models in the cache: what is trained, how it is put together, and how it becomes a plain checkpoint.

Whatever the setting, what is saved is a dense fp32 checkpoint of the base's own class, so that every precision and
pruning can be made of it as of any other model. Adapters are merged into the base's fp32 weights, those trained over
quantized weights too: inference then rounds the sum anew and runs without the adapters' own cost. The adapter lies
beside it, in `adapter`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from energyaware.compression.linear import linear_maps
from energyaware.compression.quantization import QUANTIZED, SCHEMES, silence_cast_warning
from energyaware.compression.quantize import quantize
from energyaware.compression.recovery import keep_masks
from energyaware.data.simulator import network_corpus
from energyaware.errors import ModelError
from energyaware.examples import RCA, Dataset
from energyaware.models.catalogue import ModelSpec
from energyaware.models.embedded import MAX_TOKENS
from energyaware.models.fingerprint import weights_fingerprint
from energyaware.models.loading import load_model, load_tokenizer
from energyaware.paths import model_place
from energyaware.progress import Progress, silent
from energyaware.tasks.base import fit_task
from energyaware.tasks.encoding import position_limit
from energyaware.tasks.registry import find_task
from energyaware.training.finetune import (
    FinetuneSettings,
    Finetuning,
    LoraSettings,
    add_lora,
    keep_unpacked,
    lora_deltas,
    save_adapter,
)
from energyaware.variants.calibration import calibration_batches
from energyaware.variants.embedded import (
    FACTS_FILE,
    encode_for_training,
    ensure_trained,
    training_cut_notes,
    training_notes,
)
from energyaware.variants.grid import parse_pruning
from energyaware.variants.load import prune
from energyaware.variants.locking import only_one_trains
from energyaware.variants.prepare import PreparedModel, prepare
from energyaware.variants.tuned import METHODS, SETTINGS

CODE_VERSION = 1
"""Raise it when a change of code changes what is trained; cached models of other versions are then left alone."""

ADAPTER = "adapter"

SISTER_SEED = 1
"""Of the network that an embedded model knows before it is fine-tuned on the embedded corpus."""

PRUNED_SHARE = 0.05
"""A linear map with at least this share of exact zeros was pruned: trained weights are hardly ever exactly zero."""


@dataclass(frozen=True)
class FinetuneJob:
    """Everything that shapes a fine-tuned model.

    Attributes:
        name: begins the directory's name, as `mini-gpt2-lora-nf4`.
        base: what it begins with.
        method: `full` or `lora`.
        precision: of the weights that are multiplied while training.
        dataset: what it learns.
        settings: of the training.
        lora: of the adapters; not used by `full`.
        examples: most training examples; None takes all.
        validated: most validation examples.
        pruning: what the base is pruned by before `full` trains it; its zeros are kept. See `parse_pruning`.
    """

    name: str
    base: PreparedModel
    method: str
    precision: str
    dataset: Dataset
    settings: FinetuneSettings
    lora: LoraSettings = field(default_factory=LoraSettings)
    examples: int | None = None
    validated: int = 400
    pruning: str = "dense"

    @property
    def key(self) -> str:
        """SHA-256 of all that shapes the result."""
        identity = {
            "code_version": CODE_VERSION,
            "base": self.base.fingerprint or [self.base.source, self.base.revision],
            "method": self.method,
            "precision": self.precision,
            "dataset": self.dataset.fingerprint,
            "labels": self.dataset.labels,
            "settings": asdict(self.settings),
            "lora": asdict(self.lora) if self.method == "lora" else None,
            "examples": self.examples,
        }
        # Left out else, so that what was cached before is still found.
        if self.pruning != "dense":
            identity["pruning"] = self.pruning
        if self.dataset.task != RCA:
            identity["task"] = self.dataset.task
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class OpenFinetuning:
    """A fine-tuning that is ready to run.

    Attributes:
        finetuning: trains and validates.
        tokenizer: of the base.
        targets: names of the linear maps with an adapter; empty for `full`.
        parameters: how many the base has, tied ones once; adapters are not among them.
        weight_dtype: what the trained or frozen weights are stored in.
        compute_dtype: what products are computed in while training.
        notes: what a reader must know.
        cut_notes: those of them on examples that were cut, which hold for the trained model too.
        wrapper: peft's, None for `full`.
    """

    finetuning: Finetuning
    tokenizer: Any
    targets: tuple[str, ...]
    parameters: int
    weight_dtype: str
    compute_dtype: str
    notes: tuple[str, ...]
    cut_notes: tuple[str, ...] = ()
    wrapper: Any = None


def tunable(spec: ModelSpec, dataset: Dataset, cache: Path, progress: Progress = silent) -> PreparedModel:
    """What `spec` is before it is fine-tuned on `dataset`.

    A hub or local model is taken as it is. An embedded one knows the embedded corpus; where that is what it is to
    learn, it knows a sister of it instead: tickets of the same language about another network, whose facts differ.
    Its tokenizer is left alone, because adapters cannot learn embeddings of new tokens: all settings read the same.

    Raises:
        ModelError: training failed.
        CacheError: the cache cannot be written.
    """
    if not spec.embedded:
        return prepare(spec, dataset, cache, progress)
    corpus = network_corpus()
    known = network_corpus(SISTER_SEED) if dataset.fingerprint == corpus.fingerprint else corpus
    return _prepared(ensure_trained(spec, known, cache, progress))


def open_finetuning(job: FinetuneJob, device: str = "cpu", progress: Progress = silent) -> OpenFinetuning:
    """Load the base and make it trainable in the job's setting.

    A base that was pruned keeps its zeros: after every step where all weights are trained, at the merge with adapters.

    Raises:
        ModelError: an unknown setting, adapters over a base that is to be pruned first, a base that cannot be loaded, a
            dataset without a validation split.
        CompressionError: the base cannot be pruned or quantized.
        TaskError: the dataset does not fit the tokenizer.
    """
    if (job.method, job.precision) not in SETTINGS:
        known = ", ".join(f"{method} {precision}" for method, precision in SETTINGS)
        raise ModelError(f"{job.method} {job.precision} is no setting of fine-tuning", f"known: {known}")
    if job.pruning != "dense" and job.method != "full":
        raise ModelError(f"{job.method} does not prune its base first", "prune and train in full, or prune the result")
    model = load_model(job.base.source, dtype=torch.float32, revision=job.base.revision)
    tokenizer = load_tokenizer(job.base.source, revision=job.base.revision)
    notes = []
    if job.pruning != "dense":
        pruning = parse_pruning(job.pruning)
        batches = None if pruning.method == "magnitude" else calibration_batches(job.dataset, tokenizer)
        notes += prune(model, pruning, batches)
    task = fit_task(find_task(job.dataset.task), job.dataset, tokenizer)
    limit = min(MAX_TOKENS, position_limit(model) or MAX_TOKENS)
    train = encode_for_training(task, tokenizer, job.dataset.train[: job.examples], limit)
    validation = encode_for_training(task, tokenizer, job.dataset.validation[: job.validated], limit)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    masks = pruned_masks(model)
    cuts = training_cut_notes(train, limit)
    notes += [f"fine-tuned on {len(train)} examples for {job.settings.epochs} epochs", *cuts]
    if masks:
        notes.append("zeros of the pruned base kept" + (" by the merge" if job.method == "lora" else ""))
    after_step: Callable[[], None] | None = None
    wrapper: Any = None
    targets: tuple[str, ...] = ()
    if job.method == "full":
        model.to(device)
        after_step = keep_masks(model, {name: mask.to(device) for name, mask in masks.items()}) if masks else None
        weight_dtype, compute_dtype = "fp32", job.precision
        if job.precision == "bf16":
            notes.append("mixed precision: products in bf16 over fp32 weights")
    else:
        targets = tuple(linear_map.name for linear_map in linear_maps(model))
        weight_dtype, compute_dtype = _lower(model, job.precision, device)
        wrapper = add_lora(model, targets, job.lora, job.settings.seed)
        notes.append(f"LoRA of rank {job.lora.rank} beside {len(targets)} linear maps, in fp32")
    finetuning = Finetuning(
        model,
        train,
        validation,
        job.settings,
        autocast=job.method == "full" and job.precision == "bf16",
        after_step=after_step,
        progress=progress,
        label=f"fine-tuning {job.name}",
    )
    return OpenFinetuning(
        finetuning, tokenizer, targets, parameters, weight_dtype, compute_dtype, tuple(notes), cuts, wrapper
    )


def save_finetuned(job: FinetuneJob, opened: OpenFinetuning, cache: Path) -> PreparedModel:
    """Write the trained model to the cache, in the place of an older one of the same job.

    Another run that trains the same is waited for.

    Raises:
        CacheError: `cache` cannot be written.
    """
    place = _place(job, cache)
    with only_one_trains(place, f"saving {job.name}", silent):
        _save(job, opened, place)
    return _prepared(place)


def _save(job: FinetuneJob, opened: OpenFinetuning, place: Path) -> None:
    """Write the trained model to `place`, whose lock is held."""
    work = place.with_name(f"{place.name}.{os.getpid()}.finished")
    model = opened.finetuning.model
    if opened.wrapper is not None:
        deltas = lora_deltas(model, opened.targets)
        model = load_model(job.base.source, dtype=torch.float32, revision=job.base.revision)
        merge(model, deltas)
    model.save_pretrained(work)
    opened.tokenizer.save_pretrained(work)
    if opened.wrapper is not None:
        save_adapter(opened.wrapper, work / ADAPTER)
    facts = {
        "name": job.name,
        "hash": job.key,
        "base": job.base.source,
        "settings": asdict(job.settings),
        "curve": [asdict(item) for item in opened.finetuning.curve],
        "notes": opened.cut_notes,
    }
    (work / FACTS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if place.exists():
        # Moved away first: a run that reads it meets a moment without it, not a half-deleted one.
        old = place.with_name(f"{place.name}.{os.getpid()}.old")
        place.replace(old)
        work.replace(place)
        shutil.rmtree(old)
    else:
        work.replace(place)


def ensure_setting(job: FinetuneJob, cache: Path, device: str = "cpu", progress: Progress = silent) -> PreparedModel:
    """The fine-tuned model of `job`: from the cache, else trained now, unmetered, by one run at a time.

    Raises:
        ModelError, CompressionError, TaskError: see `open_finetuning`.
        CacheError: `cache` cannot be written.
    """
    place = _place(job, cache)
    if not (place / FACTS_FILE).is_file():
        with only_one_trains(place, f"fine-tuning {job.name}", progress):
            if not (place / FACTS_FILE).is_file():  # else another run has just made it
                opened = open_finetuning(job, device, progress)
                for _ in opened.finetuning.epochs():
                    pass
                _save(job, opened, place)
    return _prepared(place)


def finetune_settings(method: str, embedded: bool, epochs: int = 4) -> FinetuneSettings:
    """The settings of a way of training.

    Rates for large models are those of the papers on LoRA and QLoRA; ours are small and learn at higher ones.

    Raises:
        ModelError: an unknown method.
    """
    if method not in METHODS:
        raise ModelError(f"{method!r} is no way of fine-tuning", f"known: {', '.join(METHODS)}")
    rates = {"full": 1e-3, "lora": 4e-3} if embedded else {"full": 2e-5, "lora": 2e-4}
    return FinetuneSettings(lr=rates[method], epochs=epochs)


def pruned_masks(model: Any) -> dict[str, torch.Tensor]:
    """Where the pruned linear maps of a model are not zero, by name; empty for a dense model."""
    masks = {linear_map.name: linear_map.weight != 0 for linear_map in linear_maps(model)}
    return {name: mask for name, mask in masks.items() if 1 - float(mask.float().mean()) >= PRUNED_SHARE}


@torch.no_grad()
def merge(model: Any, deltas: dict[str, torch.Tensor]) -> None:
    """Add adapters to the weights of a dense model, in place; zeros of a pruned one stay.

    Args:
        model: the base, unconverted, on the CPU.
        deltas: from `energyaware.training.finetune.lora_deltas`.
    """
    masks = pruned_masks(model)
    keep: Callable[[], None] | None = keep_masks(model, masks) if masks else None
    for linear_map in linear_maps(model):
        if linear_map.name in deltas:
            linear_map.weight.add_(deltas[linear_map.name])
    if keep is not None:
        keep()


def _lower(model: Any, precision: str, device: str) -> tuple[str, str]:
    """Bring a base that stays frozen to its precision; dtypes of its weights and of the products in training."""
    on_cpu = torch.device(device).type == "cpu"
    if precision not in QUANTIZED:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        for parameter in model.parameters():  # not the buffers: rotary frequencies stay in fp32
            parameter.data = parameter.data.to(dtype)
        model.config.dtype = dtype
        model.to(device)
        return precision, precision
    others = torch.float32 if on_cpu else torch.bfloat16
    quantize(model, precision, device=device, compute_dtype=others)
    keep_unpacked(model)
    if SCHEMES[precision].stored == "int8":
        silence_cast_warning()
        # bitsandbytes expands int8 weights while it trains on a CPU.
        return "int8", "fp32" if on_cpu else "int8"
    return SCHEMES[precision].stored, "fp32" if on_cpu else "bf16"


def _place(job: FinetuneJob, cache: Path) -> Path:
    return model_place(cache, job.name, job.key)


def _prepared(place: Path) -> PreparedModel:
    return PreparedModel(str(place), weights_fingerprint(place), notes=training_notes(place))
