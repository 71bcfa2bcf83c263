import logging
import socket
import sys
import time
import types

import pytest

from energyaware.errors import MeterError
from energyaware.meters import codecarbon
from energyaware.meters.base import Meter
from energyaware.meters.codecarbon import CodeCarbonMeter, quiet


@pytest.fixture
def no_network(monkeypatch):
    asked = []

    def refuse(*arguments):
        asked.append(arguments[1:])
        raise OSError("there is no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert asked == []


def test_the_real_tracker_reads_offline_quietly_and_beside_another_run(no_network, tmp_path, monkeypatch, capfd):
    # A lock file left by a killed run lies in the temporary folder.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / ".codecarbon.lock").write_text("")
    monkeypatch.chdir(tmp_path)
    meter = CodeCarbonMeter()
    assert isinstance(meter, Meter)
    assert {"cpu", "dram"} <= set(meter.domains)
    assert {domain.source for domain in meter.domains.values()} == {"estimated"}
    mark = meter.start()
    with pytest.raises(MeterError, match="one window at a time"):
        meter.start()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    energy_j = meter.stop(mark)
    assert energy_j["cpu"] > 0
    assert energy_j["dram"] > 0
    # The next window starts anew.
    again = meter.stop(meter.start())
    assert again["cpu"] < energy_j["cpu"]
    meter.close()
    assert "emissions.csv" not in {path.name for path in tmp_path.iterdir()}
    assert capfd.readouterr().out == ""


class Tracker:
    """As OfflineEmissionsTracker, as far as tasks go; energies in kWh."""

    def __init__(self, **options):
        self.options, self._active_task, self.tasks, self.stopped = options, None, 0, False
        self.data = types.SimpleNamespace(cpu_energy=1e-6, ram_energy=2e-6, gpu_energy=0.0)

    def start_task(self):
        self.tasks += 1
        self._active_task = f"task {self.tasks}"

    def stop_task(self, name):
        assert name == self._active_task
        self._active_task = None
        return self.data

    def stop(self):
        self.stopped = True


@pytest.fixture
def tracker(monkeypatch):
    made = []

    def make(**options):
        made.append(Tracker(**options))
        return made[-1]

    monkeypatch.setitem(sys.modules, "codecarbon", types.SimpleNamespace(OfflineEmissionsTracker=make))
    return made


def test_kilowatt_hours_become_joules(tracker):
    meter = CodeCarbonMeter()
    assert meter.stop(meter.start()) == {"cpu": pytest.approx(3.6), "dram": pytest.approx(7.2)}
    assert set(meter.domains) == {"cpu", "dram"}
    assert not meter.nests
    meter.close()
    assert tracker[0].stopped


def test_the_tracker_is_offline_silent_and_slow_enough(tracker):
    CodeCarbonMeter()
    options = tracker[0].options
    assert options["allow_multiple_runs"] is True
    assert options["measure_power_secs"] >= 0.5
    assert options["output_methods"] == []
    assert options["log_level"] == "critical"


def test_a_gpu_that_codecarbon_sees_is_a_domain(tracker, monkeypatch):
    def with_gpu(self):
        self.data = types.SimpleNamespace(cpu_energy=1e-6, ram_energy=2e-6, gpu_energy=3e-6)
        Tracker.start_task(self)

    class WithGpu(Tracker):
        start_task = with_gpu

    monkeypatch.setitem(sys.modules, "codecarbon", types.SimpleNamespace(OfflineEmissionsTracker=WithGpu))
    meter = CodeCarbonMeter()
    assert set(meter.domains) == {"cpu", "dram", "gpu"}
    assert meter.stop(meter.start())["gpu"] == pytest.approx(10.8)


def test_a_task_that_codecarbon_lost_is_an_error(tracker):
    meter = CodeCarbonMeter()
    mark = meter.start()
    tracker[0].data = None
    with pytest.raises(MeterError, match="lost its task"):
        meter.stop(mark)


def test_quiet_gives_log_and_output_back(capsys):
    before = logging.root.manager.disable

    def fail():
        with quiet():
            print("unheard")
            assert not logging.getLogger("codecarbon").isEnabledFor(logging.ERROR)
            raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        fail()
    assert logging.root.manager.disable == before
    print("heard")
    assert capsys.readouterr().out == "heard\n"
    assert codecarbon.RESOLUTION_S == 0.01
