"""Hooks through which other plugins extend energyaware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from energyaware.meters.base import MeterFactory
    from energyaware.models.catalogue import ModelSpec
    from energyaware.ranking.score import Ranking
    from energyaware.tasks.base import Task
    from energyaware.variants.offered import Compress


def pytest_energy_meters(config: pytest.Config) -> Mapping[str, MeterFactory]:  # type: ignore[empty-body]
    """Offer meters by name: `--energy-meter=NAME` then calls the factory once per run.

    A factory returns an object with the members of `energyaware.meters.base.Meter`.
    """


def pytest_energy_models(config: pytest.Config) -> Mapping[str, ModelSpec]:  # type: ignore[empty-body]
    """Offer models by name: `--energy-models=NAME` then finds them beside those of the catalogue.

    See `energyaware.models.catalogue.ModelSpec`; a local directory needs `path`, a hub model `hub_id`.
    """


def pytest_energy_compressions(config: pytest.Config) -> Mapping[str, Compress]:  # type: ignore[empty-body]
    """Offer compressions by name: `--energy-compressions=fp32-NAME` then calls the function on the dense fp32 model,
    before it is cast or quantized; see docs/own_compression.md.
    """


def pytest_energy_tasks(config: pytest.Config) -> Mapping[str, Task]:  # type: ignore[empty-body]
    """Offer tasks by name, objects with the members of `energyaware.tasks.base.Task`; see docs/own_task.md."""


@pytest.hookspec(firstresult=True)
def pytest_energy_update_ranking(config: pytest.Config, rankings: tuple[Ranking, ...]) -> tuple[Ranking, ...] | None:
    """Change the rankings, one for each group, before they are printed and written; None leaves them as they are.

    Rows are `energyaware.ranking.score.Row`, frozen: use `dataclasses.replace`.
    """
