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


def a_hundred(call, window_s):
    """In place of counting the calls that fill a window."""
    call()
    return 100, window_s / 100


@pytest.fixture
def measure(suite: pytest.Pytester, libraries, monkeypatch: pytest.MonkeyPatch):
    """Run pytest with `--energy` and the steady meter, inside this process unless `alone`."""
    from energyaware.measure import rounds
    from energyaware.pytest_plugin import candles

    # However long a window is, this meter reads the same: were calls counted to fill one, as on a real meter, a
    # machine that is slower for a moment would move the joules per call, and with them the verdicts of tests.
    for module in (rounds, candles):
        monkeypatch.setattr(module, "calls_per_window", a_hundred)

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
