"""Whose joules are summed on a machine with several GPUs: those of the GPUs that a row's model lies on."""

import pytest

METER = """
import pytest
from energyaware.meters.base import Combined
from energyaware.meters.replay import ReplayMeter
from energyaware.meters.zeus import Devices, ZeusMeter

POWER_W = (300.0, 200.0, 100.0)

class Clock:
    # In place of the module time: every look for a counter's next step, which begins and ends a window, takes 1 ms.
    now_s = 0.0

    def perf_counter(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += 0.001

CLOCK = Clock()

class Nvml:
    # Three GPUs of constant power, as Zeus shows them; some of them may lack a counter.
    gpus = tuple(object() for _ in POWER_W)

    def __init__(self, counting):
        self.counting = counting

    def __len__(self):
        return len(self.gpus)

    def supports_get_total_energy_consumption(self, index):
        return index in self.counting

    def get_total_energy_consumption(self, index):
        return CLOCK.now_s * POWER_W[index] * 1000

def meter(*counting):
    devices = Devices(Nvml(counting), None)
    gpus = ZeusMeter(find=lambda environ: devices, sync=lambda indices: None, clock=CLOCK, environ={})
    return Combined([gpus, ReplayMeter([{"cpu": 1.0}])])

def pytest_energy_meters(config):
    return {"three": lambda: meter(0, 1, 2), "two": lambda: meter(0, 1)}

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}
"""

SUITE = """
import pytest

@pytest.mark.parametrize("gpus", [None, (), (1,), (0, 2)], ids=["unsaid", "none", "one", "two"])
def test_mine(energy, gpus):
    energy.record(gpus=gpus, requests=1)
    energy(sum, range(1000))
"""


@pytest.fixture
def machine(suite, libraries, monkeypatch):
    from energyaware.pytest_plugin import session

    monkeypatch.setattr(session, "idle_power_w", lambda meter: {})  # which watches for two seconds
    suite.makeconftest(METER)
    suite.makepyfile(test_suite=SUITE)

    def run(*arguments):
        return suite.runpytest_inprocess("--energy", "--energy-rounds=2", *arguments)

    return run


def test_joules_are_summed_over_exactly_the_gpus_in_use(machine, stored):
    assert machine("--energy-meter=three").ret == 0
    rows = {item["name"]: item["energy"] for item in stored()["benchmarks"]}
    for name, gpus in (("unsaid", (0, 1, 2)), ("none", ()), ("one", (1,)), ("two", (0, 2))):
        row = rows[f"test_mine[{name}]"]
        used = {"cpu", *(f"gpu{index}" for index in gpus)}
        assert set(row["domains"]) == used
        for reading in [part for item in row["rounds"] for part in (item["reading"], item["candle"])]:
            assert set(reading["energy_j"]) == used
        for item in row["rounds"]:
            reading = item["reading"]
            for index in gpus:
                # From the window's beginning to the next step: 1 ms.
                assert reading["energy_j"][f"gpu{index}"] == pytest.approx((0.3, 0.2, 0.1)[index])
    assert set(stored()["energyaware"]["meters"]) == {"cpu", "gpu0", "gpu1", "gpu2"}


def test_a_gpu_in_use_that_nobody_reads_is_an_error_and_not_a_smaller_sum(machine, stored):
    result = machine("--energy-meter=two")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*the workload runs on gpu0, gpu2, and the energy of gpu2 is not read*"])
    kept = {item["name"] for item in stored()["benchmarks"]}
    assert kept == {f"test_mine[{name}]" for name in ("unsaid", "none", "one")}


def test_gpus_that_are_named_too_late_are_refused(machine, suite):
    suite.makepyfile(test_suite="def test_mine(energy):\n    energy(sum, [1])\n    energy.record(gpus=(0,))\n")
    result = machine("--energy-meter=three")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*energy.record(gpus=*) came after the rounds*"])
