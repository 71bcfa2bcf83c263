"""Fixtures of the suite: which variants, on which data, from which trained model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.config import EnergyConfig
from energyaware.errors import EnergyAwareError
from energyaware.examples import RCA, Dataset, Example
from energyaware.paths import cache_dir, writable_dir
from energyaware.progress import Progress
from energyaware.pytest_plugin import config_of
from energyaware.records import Variant

if TYPE_CHECKING:
    from energyaware.models.catalogue import ModelSpec
    from energyaware.tasks.base import Workload
    from energyaware.variants.load import LoadedVariant
    from energyaware.variants.offered import Compress
    from energyaware.variants.phases import PhaseWorkload
    from energyaware.variants.prepare import PreparedModel
    from energyaware.variants.row import LayoutPlan

QUICK_MODELS = ("mini-gpt2", "mini-mistral")
QUICK_PHASES = ("fp32", "bf16", "nf4")
INPUT_TOKENS = 64
NEW_TOKENS = 32
MODELS = pytest.StashKey["Mapping[str, ModelSpec]"]()


def models_of(config: pytest.Config) -> Mapping[str, ModelSpec]:
    """The models asked for, by their names in variants: of plugins, of the catalogue, of the hub, of folders.

    Raises:
        ModelError: a name that stands for nothing, or two models of one name.
    """
    if MODELS not in config.stash:
        from energyaware.models.catalogue import by_name, find

        offered = {
            name: spec for offer in config.hook.pytest_energy_models(config=config) for name, spec in offer.items()
        }
        names = config_of(config).models or QUICK_MODELS
        config.stash[MODELS] = by_name(offered[name] if name in offered else find(name) for name in names)
    return config.stash[MODELS]


def offered_to(config: pytest.Config) -> Mapping[str, Compress]:
    """Compressions of plugins, by name.

    Raises:
        CompressionError: a name that cannot be taken.
    """
    from energyaware.variants.offered import gather

    return gather(config.hook.pytest_energy_compressions(config=config))


def variants_of(config: pytest.Config) -> tuple[Variant, ...]:
    """The compressions asked for, else the grid of the suite, over the models asked for.

    Raises:
        ModelError, CompressionError: a name that stands for nothing.
    """
    from energyaware.variants.grid import chosen_grid, full_grid, quick_grid

    if config_of(config).compressions:
        return chosen_grid(models_of(config), config_of(config).compressions, offered_to(config))
    grid = full_grid if config_of(config).suite == "full" else quick_grid
    return grid(models_of(config))


def phase_variants_of(config: pytest.Config) -> tuple[Variant, ...]:
    """The variants whose phases are metered: all in the full suite and of compressions asked for, else some of the
    first model's unpruned ones.
    """
    variants = variants_of(config)
    if config_of(config).suite == "full" or config_of(config).compressions:
        return variants
    first = [item for item in variants if item.model == variants[0].model and item.pruning == "dense"]
    return tuple(item for item in first if item.precision in QUICK_PHASES)


@functools.cache
def _dataset(source: str) -> Dataset:
    from energyaware.data.source import load_dataset

    return load_dataset(source)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what the user got wrong before anything runs."""
    try:
        variants_of(session.config)
        writable_dir(cache_dir(), "cache")
        _dataset(config_of(session.config).data)
    except EnergyAwareError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark that asks for `variant` the grid, and `phase_variant` its part for phases."""
    for name, grid in (("variant", variants_of), ("phase_variant", phase_variants_of)):
        if name in metafunc.fixturenames:
            variants = grid(metafunc.config)
            metafunc.parametrize(name, variants, ids=[variant.id for variant in variants])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the data of this run were."""
    if config.getoption("collectonly") or not config_of(config).measure or terminalreporter.verbosity < 0:
        return
    from energyaware.data.summary import summarize, summary_text

    try:
        summary = summarize(_dataset(config_of(config).data))
    except EnergyAwareError:
        return  # it was said when the run began
    terminalreporter.section("data")
    terminalreporter.write_line(summary_text(summary, terminalreporter._tw.fullwidth))


@pytest.fixture(scope="session")
def device(energy_config: EnergyConfig) -> str:
    """Where models run."""
    from energyaware.models.device import resolve

    return resolve(energy_config.device)


@pytest.fixture(scope="session")
def gpus(energy_config: EnergyConfig) -> tuple[int, ...]:
    """Over which GPUs a model is spread; empty where it runs on `device` alone."""
    from energyaware.models.device import spread_gpus

    return spread_gpus(energy_config.device)


@pytest.fixture(scope="session")
def dataset(energy_config: EnergyConfig) -> Dataset:
    """The data of `--energy-data`."""
    return _dataset(energy_config.data)


def task_of_data(config: pytest.Config) -> str:
    """What the data of `--energy-data` are for."""
    return _dataset(config_of(config).data).task


def read_texts(examples: Sequence[Example]) -> list[str]:
    """What is read of each example whatever the task: its text and its question, either of which may be empty."""
    return [" ".join(part for part in (example.text, example.question) if part) for example in examples]


@pytest.fixture(scope="session")
def task_datasets() -> Mapping[str, Dataset]:
    """Examples of the written tasks, all of the simulated network."""
    from energyaware.data.network_tasks import network_tasks

    return network_tasks()


@pytest.fixture(scope="session")
def prepared_for_tasks(
    pytestconfig: pytest.Config, energy_progress: Progress, task_datasets: Mapping[str, Dataset]
) -> Callable[[str], PreparedModel]:
    """Find a model by its name in a variant, or train it on the mix of all tasks; each once per run."""
    from energyaware.variants.prepare import prepare_multitask

    @functools.cache
    def by_name(name: str) -> PreparedModel:
        return prepare_multitask(models_of(pytestconfig)[name], task_datasets, cache_dir(), energy_progress)

    return by_name


@pytest.fixture(scope="session")
def prepared(
    request: pytest.FixtureRequest, energy_config: EnergyConfig, energy_progress: Progress, dataset: Dataset
) -> Callable[[str], PreparedModel]:
    """Find, train or fine-tune a model by its name in a variant; each once per run.

    In the full suite the embedded models answer all tasks, so one variant is one set of weights there; on data of the
    user's they are fine-tuned for it alone.
    """
    from energyaware.data.source import CATALOGUE

    if energy_config.suite == "full" and energy_config.data in CATALOGUE:
        found: Callable[[str], PreparedModel] = request.getfixturevalue("prepared_for_tasks")
        return found
    from energyaware.variants.prepare import prepare

    @functools.cache
    def by_name(name: str) -> PreparedModel:
        return prepare(models_of(request.config)[name], dataset, cache_dir(), energy_progress)

    return by_name


@pytest.fixture(scope="session")
def load(
    pytestconfig: pytest.Config, energy_progress: Progress, device: str, gpus: tuple[int, ...]
) -> Callable[[PreparedModel, Variant, Dataset], LoadedVariant]:
    """Load a variant of a prepared model with what a dataset has to give, see `load_prepared`."""
    from energyaware.variants.calibrated import load_prepared

    offered = offered_to(pytestconfig)
    return functools.partial(load_prepared, device=device, gpus=gpus, progress=energy_progress, offered=offered)


@pytest.fixture
def collected_garbage() -> Iterator[None]:
    """Free one variant before the next is loaded: models hold reference cycles."""
    yield
    import gc

    gc.collect()


RCA_BATCH = 16


@dataclass(frozen=True)
class RcaRow:
    """A variant with a batch of tickets whose causes it names in one forward pass.

    Attributes:
        facts: what `energy.record` is told before it is metered.
        quality: scores the whole test set, for `energy.record` afterwards.
    """

    work: Workload
    layout: LayoutPlan
    facts: dict[str, Any]
    quality: Callable[[], dict[str, Any]]


@pytest.fixture
def load_rca_row(
    dataset: Dataset,
    device: str,
    load: Callable[[PreparedModel, Variant, Dataset], LoadedVariant],
    collected_garbage: None,  # noqa: ARG001 - collects after the row let go of its model
) -> Callable[[PreparedModel, Variant], RcaRow]:
    """A function (model, variant) → the variant, loaded, with a batch of the test set's tickets."""
    if dataset.task != RCA:
        pytest.skip(f"{dataset.name} is for {dataset.task}, which benchmarks/test_tasks.py meters")
    from energyaware.data.features import mean_features
    from energyaware.tasks import rca
    from energyaware.tasks.encoding import middle_examples, prompt_lengths
    from energyaware.tasks.trivial import trivial_accuracy
    from energyaware.variants.row import plan_layout, row_facts
    from energyaware.work.counters import count

    def make(model: PreparedModel, variant: Variant) -> RcaRow:
        loaded = load(model, variant, dataset)
        task = rca.rca_for(dataset, loaded.tokenizer)
        size = min(RCA_BATCH, len(dataset.test))
        work = rca.workload(loaded.model, loaded.tokenizer, task, dataset.test, size)
        counted = count(loaded.model, work)
        facts = row_facts(loaded, model, dataset, device)
        facts["features"] |= mean_features(map(task.prompt, middle_examples(task, dataset.test, size)))
        facts |= {
            "task": task.name,
            "phase": "inference",
            "requests": work.requests,
            "tokens_in": work.tokens_in,
            "flops": counted.flops,
            "weight_bytes": counted.weight_bytes,
            "trivial_quality": trivial_accuracy(dataset, dataset.test),
            "samples": {"input_tokens": prompt_lengths(loaded.tokenizer, task, dataset.test)},
        }

        def quality() -> dict[str, Any]:
            return rca_quality(loaded.model, loaded.tokenizer, dataset, dataset.test, facts["notes"])

        return RcaRow(work, plan_layout(loaded.model, variant.id), facts, quality)

    return make


def rca_quality(
    model: Any, tokenizer: Any, dataset: Dataset, examples: Sequence[Example], notes: Sequence[str]
) -> dict[str, Any]:
    """What `energy.record` is told about how well causes are named, example by example, behind the `notes` so far."""
    from energyaware.tasks import rca
    from energyaware.tasks.encoding import cut_notes

    scores = rca.evaluate(model, tokenizer, dataset, examples, RCA_BATCH)
    return {
        "quality": {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "nll": scores.mean_nll},
        "scores": {"accuracy": scores.correct, "nll": scores.nll},
        "example_ids": [example.id for example in examples],
        "notes": (*notes, *cut_notes(model, scores.truncated, len(examples))),
    }


@dataclass(frozen=True)
class PhaseRow:
    """A variant with prompts for prefill and decode.

    Attributes:
        facts: what `energy.record` is told, whatever the phase.
        dtypes: in which it multiplies matrices.
    """

    workload: PhaseWorkload
    layout: LayoutPlan
    facts: dict[str, Any]
    dtypes: str


@pytest.fixture
def load_phase_row(
    prepared: Callable[[str], PreparedModel],
    dataset: Dataset,
    device: str,
    load: Callable[[PreparedModel, Variant, Dataset], LoadedVariant],
    collected_garbage: None,  # noqa: ARG001 - collects after the row let go of its model
) -> Callable[[Variant, int], PhaseRow]:
    """A function (variant, batch size) → the variant, loaded, with prompts of exactly `INPUT_TOKENS` tokens."""
    from energyaware.data.features import mean_features
    from energyaware.tasks.encoding import position_limit
    from energyaware.variants.phases import phase_workload
    from energyaware.variants.row import plan_layout, product_dtypes, row_facts

    def make(variant: Variant, batch_size: int) -> PhaseRow:
        model = prepared(variant.model)
        loaded = load(model, variant, dataset)
        limit = position_limit(loaded.model)
        if limit is not None and limit < INPUT_TOKENS + NEW_TOKENS:
            pytest.skip(f"{variant.model} has {limit} positions, the phases need {INPUT_TOKENS + NEW_TOKENS}")
        workload = phase_workload(
            loaded.model,
            loaded.tokenizer,
            read_texts(dataset.test),
            batch_size=batch_size,
            input_tokens=INPUT_TOKENS,
            new_tokens=NEW_TOKENS,
        )
        facts = row_facts(loaded, model, dataset, device)
        facts["features"] |= mean_features(loaded.tokenizer.batch_decode(workload.input_ids, skip_special_tokens=True))
        lengths = {"batch size": batch_size, "input tokens": INPUT_TOKENS, "output tokens": NEW_TOKENS}
        facts["traits"] |= {name: str(value) for name, value in lengths.items()}
        # Two benchmarks of one group are two tasks of the same variant.
        facts["task"] = "generation" if batch_size == 1 else f"generation x{batch_size}"
        facts["requests"] = workload.requests
        return PhaseRow(workload, plan_layout(loaded.model, variant.id), facts, product_dtypes(loaded))

    return make
