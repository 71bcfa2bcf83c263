"""The `energy` fixture without pytest-benchmark (`-p no:benchmark`): tests still run."""

from __future__ import annotations

import pytest

from energyaware.pytest_plugin.unmeasured import Unmeasured


@pytest.fixture
def energy() -> Unmeasured:
    """Run the callable once, unmeasured."""
    return Unmeasured()
