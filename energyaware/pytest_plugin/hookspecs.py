"""Hooks through which other plugins extend energyaware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from energyaware.meters.base import MeterFactory


def pytest_energy_meters(config: pytest.Config) -> Mapping[str, MeterFactory]:  # type: ignore[empty-body]
    """Offer meters by name: `--energy-meter=NAME` then calls the factory once per run.

    A factory returns an object with the members of `energyaware.meters.base.Meter`.
    """
