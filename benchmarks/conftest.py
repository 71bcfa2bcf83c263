"""Fixtures of the suite: which variants, on which data, from which trained model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from energyaware.config import EnergyConfig
from energyaware.errors import EnergyAwareError
from energyaware.examples import Dataset
from energyaware.paths import cache_dir, writable_dir
from energyaware.progress import Progress
from energyaware.pytest_plugin import config_of
from energyaware.records import Variant

if TYPE_CHECKING:
    from energyaware.variants.prepare import PreparedModel

QUICK_MODELS = ("mini-gpt2", "mini-mistral")


def variants_of(config: EnergyConfig) -> tuple[Variant, ...]:
    """The grid of the suite over the models asked for."""
    from energyaware.models.catalogue import find
    from energyaware.variants.grid import full_grid, quick_grid

    names = [find(name).name for name in config.models or QUICK_MODELS]
    return full_grid(names) if config.suite == "full" else quick_grid(names)


def phase_variants_of(config: EnergyConfig) -> tuple[Variant, ...]:
    """The variants whose phases are metered: all in the full suite, else the first model's unpruned ones."""
    variants = variants_of(config)
    if config.suite == "full":
        return variants
    return tuple(item for item in variants if item.model == variants[0].model and item.pruning == "dense")


@functools.cache
def _dataset(source: str) -> Dataset:
    from energyaware.data.source import load_dataset

    return load_dataset(source)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what the user got wrong before anything runs."""
    config = config_of(session.config)
    try:
        variants_of(config)
        writable_dir(cache_dir(), "cache")
        _dataset(config.data)
    except EnergyAwareError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark that asks for `variant` the grid, and `phase_variant` its part for phases."""
    for name, grid in (("variant", variants_of), ("phase_variant", phase_variants_of)):
        if name in metafunc.fixturenames:
            variants = grid(config_of(metafunc.config))
            metafunc.parametrize(name, variants, ids=[variant.id for variant in variants])


@pytest.fixture(scope="session")
def device(energy_config: EnergyConfig) -> str:
    """Where models run."""
    from energyaware.models.device import resolve

    return resolve(energy_config.device)


@pytest.fixture(scope="session")
def dataset(energy_config: EnergyConfig) -> Dataset:
    """The data of `--energy-data`."""
    return _dataset(energy_config.data)


@pytest.fixture(scope="session")
def prepared(
    energy_config: EnergyConfig, energy_progress: Progress, dataset: Dataset
) -> Callable[[str], PreparedModel]:
    """Find, train or fine-tune a model by its name in a variant; each once per run."""
    from energyaware.models.catalogue import find
    from energyaware.variants.prepare import prepare

    specs = {spec.name: spec for spec in map(find, energy_config.models or QUICK_MODELS)}

    @functools.cache
    def by_name(name: str) -> PreparedModel:
        return prepare(specs[name], dataset, cache_dir(), energy_progress)

    return by_name


@pytest.fixture
def collected_garbage() -> Iterator[None]:
    """Free one variant before the next is loaded: models hold reference cycles."""
    yield
    import gc

    gc.collect()
