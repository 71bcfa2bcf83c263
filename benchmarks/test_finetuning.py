"""Fine-tuning in six settings, epoch by epoch, and inference with what came out; see docs/finetuning.md."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.examples import Dataset
from energyaware.paths import cache_dir
from energyaware.progress import Progress
from energyaware.pytest_plugin import config_of
from energyaware.records import Variant

if TYPE_CHECKING:
    from benchmarks.conftest import RcaRow
    from energyaware.training.finetune import Finetuning
    from energyaware.variants.finetuned import FinetuneJob
    from energyaware.variants.prepare import PreparedModel

TRAIN_EXAMPLES = 2048
EPOCHS = 4
FINETUNE = "finetune"
INFERENCE = "finetuned inference"
"""A group of its own: these variants learnt other data, or more of them, than those of the group `inference`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each benchmark here its grid: none in the quick suite."""
    from benchmarks.conftest import models_of
    from energyaware.variants.tuned import inference_grid, pruned_grid, tuned_grid

    def answering(models: Iterable[str]) -> tuple[Variant, ...]:
        dense = inference_grid(models)
        # All of them pruned would be hours of what nobody deploys: only the best are.
        return dense if config_of(metafunc.config).top is None else (*dense, *pruned_grid(dense))

    full = config_of(metafunc.config).suite == "full"
    models = list(models_of(metafunc.config)) if full else []
    skip = pytest.mark.skip(reason="fine-tuning is metered by --energy-suite=full")
    for name, grid in (("tuned_variant", tuned_grid), ("finetuned_variant", answering)):
        if name in metafunc.fixturenames:
            variants = grid(models)
            metafunc.parametrize(
                name,
                variants or [pytest.param(None, marks=skip)],
                ids=[variant.id for variant in variants] or ["full-suite-only"],
            )


@pytest.fixture(scope="session")
def finetune_job(
    pytestconfig: pytest.Config, dataset: Dataset, energy_progress: Progress
) -> Callable[[Variant], FinetuneJob]:
    """What is trained for a variant; the base is found or trained once per run."""
    from benchmarks.conftest import models_of
    from energyaware.examples import RCA
    from energyaware.variants.finetuned import FinetuneJob, finetune_settings, tunable
    from energyaware.variants.tuned import trained_as, untuned

    if dataset.task != RCA:
        pytest.skip(f"{dataset.name} is for {dataset.task}; fine-tuning is metered on rca")
    models = models_of(pytestconfig)

    @functools.cache
    def base_of(name: str) -> Any:
        return tunable(models[name], dataset, cache_dir(), energy_progress)

    def job(variant: Variant) -> FinetuneJob:
        source = trained_as(variant)
        found = untuned(source.model, models)
        assert found is not None, source
        base, method = found
        settings = finetune_settings(method, models[base].embedded, EPOCHS)
        return FinetuneJob(
            source.id, base_of(base), method, source.precision, dataset, settings, examples=TRAIN_EXAMPLES
        )

    return job


class Epochs:
    """What is metered: each call is an epoch. The first one, which is not metered, only warms up."""

    def __init__(self, finetuning: Finetuning) -> None:
        self._finetuning = finetuning
        self._warm = False

    def __call__(self) -> None:
        """Train one epoch."""
        if not self._warm:
            self._warm = True
            self._finetuning.warm_up()
            return
        self._finetuning.train_epoch()

    def score(self) -> None:
        """Validate the epoch that was just trained; outside of what is metered."""
        if self._finetuning.epochs_done > len(self._finetuning.curve):
            self._finetuning.validate()


def nothing() -> None:
    """Ask for rounds of one call: an epoch is never repeated to fill a window."""


@pytest.mark.energy(group=FINETUNE, candle="matmul")
@pytest.mark.usefixtures("collected_garbage")
def test_finetuning(
    energy: Any,
    tuned_variant: Variant,
    finetune_job: Callable[[Variant], FinetuneJob],
    dataset: Dataset,
    device: str,
) -> None:
    """A round is an epoch; quality is that of the validation split, so that the test split chooses nothing."""
    from benchmarks.conftest import rca_quality
    from energyaware.models.spread import occupied_gpus
    from energyaware.ranking.tuning import BASE_TRAIT, EPOCHS_FEATURE, PHASE, TRAINABLE
    from energyaware.tasks.trivial import trivial_accuracy
    from energyaware.training.finetune import facts_of_curve, trainable_parameters
    from energyaware.variants.finetuned import open_finetuning, save_finetuned
    from energyaware.work.storage import weight_bytes

    if not dataset.validation:
        pytest.skip(f"{dataset.name} has no validation split to follow the loss on")
    job = finetune_job(tuned_variant)
    opened = open_finetuning(job, device)
    tuning = opened.finetuning
    model = tuning.model
    weights = {"weights": job.base.fingerprint} if job.base.fingerprint else {}
    notes = (*dataset.notes, *opened.notes, "one request is one epoch")
    energy.record(
        variant=tuned_variant,
        task="rca",
        phase=PHASE,
        tokens_in=tuning.tokens_per_epoch,
        weight_bytes=weight_bytes(model),
        fingerprints={"dataset": dataset.fingerprint} | weights,
        gpus=occupied_gpus(model),
        traits={
            "device": device,
            "weight dtype": opened.weight_dtype,
            "compute dtype": opened.compute_dtype,
            BASE_TRAIT: tuned_variant.model.removesuffix(f"-{job.method}"),
        },
        features={
            "parameters": opened.parameters,
            TRAINABLE: trainable_parameters(model),
            EPOCHS_FEATURE: job.settings.epochs,
            "validation loss before": tuning.validation_loss(),
        },
        notes=notes,
        trivial_quality=trivial_accuracy(dataset, dataset.validation),
    )
    epochs = Epochs(tuning)
    energy.pedantic(epochs, setup=nothing, teardown=epochs.score, rounds=job.settings.epochs, layout="not redrawn")
    if tuning.epochs_done < job.settings.epochs:
        return  # a run that does not measure: nothing was trained
    energy.record(samples=facts_of_curve(tuning.curve))
    save_finetuned(job, opened, cache_dir())
    model.eval()
    energy.record(**rca_quality(model, opened.tokenizer, dataset, dataset.validation, notes))


@pytest.mark.energy(group=INFERENCE, candle="matmul")
def test_finetuned_inference(
    energy: Any,
    finetuned_variant: Variant,
    finetune_job: Callable[[Variant], FinetuneJob],
    load_rca_row: Callable[[PreparedModel, Variant], RcaRow],
    dataset: Dataset,
    device: str,
    energy_progress: Progress,
    energy_cut: Callable[[str, str], str],
) -> None:
    """One request is one ticket in, one cause out, as in `test_inference`; trained here, unmetered, if it was not."""
    from energyaware.ranking.tuning import BASE_TRAIT
    from energyaware.variants.finetuned import ensure_setting
    from energyaware.variants.tuned import trained_as

    if not dataset.validation:
        pytest.skip(f"{dataset.name} has no validation split to follow the loss on")
    reason = energy_cut(FINETUNE, trained_as(finetuned_variant).id)
    if reason:
        pytest.skip(reason)
    job = finetune_job(finetuned_variant)
    row = load_rca_row(ensure_setting(job, cache_dir(), device, energy_progress), finetuned_variant)
    row.facts["traits"] |= {BASE_TRAIT: finetuned_variant.model.removesuffix(f"-{job.method}")}
    energy.record(**row.facts)
    energy.pedantic(row.work, before_round=row.layout.before_round, layout=row.layout.description)
    energy.record(**row.quality())
