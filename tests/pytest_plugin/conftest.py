"""Sandboxes whose meter is a recording, so that tests are fast and their joules known."""

import importlib
import json

import pytest

METER = """
import pytest
from energyaware.meters.replay import ReplayMeter

def pytest_energy_meters(config):
    return {"steady": lambda: ReplayMeter([{"cpu": 1.0}])}

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}  # pytest-benchmark's own takes a second
"""


@pytest.fixture(scope="session")
def libraries():
    """Load what a measured run loads, so that runs inside this process do not load it again each time."""
    own = (f"energyaware.pytest_plugin.{name}" for name in ("session", "terminal"))
    for name in ("codecarbon", "numpy", "scipy.special", *own):
        importlib.import_module(name)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """A repository with one energy benchmark and a meter that always reads 1 J."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makeconftest(METER)
    pytester.makepyfile(
        test_suite="""
        def test_mine(energy):
            assert energy(sum, range(1000)) == 499500
        """
    )
    return pytester


@pytest.fixture
def measure(suite: pytest.Pytester, libraries, monkeypatch: pytest.MonkeyPatch):
    """Run pytest with `--energy` and the steady meter, inside this process unless `alone`."""
    from energyaware.measure import rounds

    # However short a window is, this meter reads the same.
    monkeypatch.setattr(rounds, "MIN_WINDOW_S", 0.004)

    def run(*arguments: str, alone: bool = False) -> pytest.RunResult:
        start = suite.runpytest_subprocess if alone else suite.runpytest_inprocess
        return start("--energy", "--energy-meter=steady", "--energy-rounds=4", *arguments)

    return run


@pytest.fixture
def stored(suite: pytest.Pytester):
    """The newest stored run, as JSON."""

    def load(index: int = -1) -> dict:
        files = sorted(suite.path.glob(".benchmarks/*/*.json"))
        return json.loads(files[index].read_text())

    return load
