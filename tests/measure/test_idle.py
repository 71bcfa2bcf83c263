import types

import pytest

from energyaware.measure import idle
from energyaware.measure.idle import idle_power_w
from energyaware.records import Domain


class Sleeping:
    """A meter on a machine that draws `watts` per domain; a test's `sleep` moves its clock."""

    def __init__(self, watts, source="measured"):
        self.watts, self.now_s = watts, 0.0
        self.domains = {name: Domain("counter", source, 0.001) for name in watts}

    def start(self):
        return self.now_s

    def stop(self, mark):
        return {name: watts * (self.now_s - mark) for name, watts in self.watts.items()}

    def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def watch(monkeypatch):
    def run(meter):
        monkeypatch.setattr(idle, "time", types.SimpleNamespace(perf_counter=lambda: meter.now_s, sleep=None))
        return idle_power_w(meter, 2.0, meter.sleep)

    return run


def test_watts_are_joules_over_the_time_slept(watch):
    assert watch(Sleeping({"cpu": 12.0, "gpu0": 70.0})) == pytest.approx({"cpu": 12.0, "gpu0": 70.0})


def test_an_estimate_has_no_idle_power(watch):
    assert watch(Sleeping({"cpu": 12.0}, source="estimated")) == {}


@pytest.mark.parametrize("watts", [0.0, -1.0, float("nan")])
def test_a_counter_that_did_not_move_gives_no_idle_power(watch, watts):
    assert watch(Sleeping({"gpu0": watts})) == {}
