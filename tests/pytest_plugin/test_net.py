import pytest

from energyaware.measure import idle, rounds
from energyaware.measure.candle import Candle
from energyaware.pytest_plugin import candles

COUNTER = """
import pytest
from energyaware.measure import rounds
from energyaware.records import Domain

WATTS, PER_CALL_J = 50.0, 0.25
CLOCK = rounds.time  # the test's

class Counter:
    '''A counter that shows 50 W of idle power, and 0.25 J for each call of the test's function.'''
    name, nests = "counter", True
    domains = {"gpu0": Domain("counter", "measured", 1e-6, "fake")}

    def read(self):
        return WATTS * CLOCK.perf_counter() + PER_CALL_J * CLOCK.calls

    def start(self):
        return self.read()

    def stop(self, mark):
        return {"gpu0": self.read() - mark}

    def close(self):
        pass

def pytest_energy_meters(config):
    return {"counter": Counter}

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}

@pytest.fixture
def call():
    return CLOCK.call
"""


class Clock:
    """Stands for the module `time`: only sleeping and calls move it, so that every number is exact."""

    def __init__(self):
        self.now_s, self.calls = 0.0, 0

    def perf_counter(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds

    def call(self):
        self.now_s += 0.001
        self.calls += 1


@pytest.fixture
def counted(suite, libraries, monkeypatch):
    clock = Clock()
    for module in (idle, rounds):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(idle.idle_power_w, "__defaults__", (2.0, clock.sleep))
    monkeypatch.setattr(candles, "INTERPRETER", Candle("interpreter", 1, clock.call))
    suite.makeconftest(COUNTER)
    suite.makepyfile(
        test_suite="""
        def test_mine(energy, call):
            energy.pedantic(call, setup=lambda: None, rounds=5)
        """
    )

    def run(*arguments):
        return suite.runpytest_inprocess(
            "--energy", "--energy-meter=counter", "--energy-columns=variant,energy", *arguments
        )

    return run


def test_idle_power_is_shown(counted):
    result = counted()
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r".*idle power: gpu0 50\.0 W"])


def test_net_joules_are_above_idle(counted, stored):
    result = counted("--energy-net")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_mine*250 mJ *", "*above idle*--energy-net*"])
    record = stored()["benchmarks"][0]["energy"]
    assert record["idle_w"]["gpu0"] == pytest.approx(50)
    # What is stored is whole.
    assert [entry["reading"]["energy_j"]["gpu0"] for entry in record["rounds"]] == pytest.approx([0.3] * 5)


def test_net_and_whole_joules_are_not_compared(counted):
    counted("--benchmark-save=whole")
    result = counted("--energy-net", "--energy-compare=whole", "--energy-strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*incomparable, idle power: included in the baseline, taken off now*"])


def test_an_estimate_has_no_idle_power_to_take_off(measure):
    result = measure("--energy-net")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--energy-net takes idle power off measured joules*no counter is read*"])
