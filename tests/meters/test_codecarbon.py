import logging
import sys
import time
import types

import pytest

from energyaware.errors import MeterError
from energyaware.meters import codecarbon
from energyaware.meters.base import Meter
from energyaware.meters.codecarbon import CodeCarbonMeter, quiet


def test_the_real_tracker_reads_offline_quietly_and_beside_another_run(no_network, tmp_path, monkeypatch, capfd):
    # A lock file left by a killed run lies in the temporary folder.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / ".codecarbon.lock").write_text("")
    monkeypatch.chdir(tmp_path)
    # What a user may have set for their own tracker: two services on the network, a wrong folder, a factor on joules.
    (tmp_path / ".codecarbon.config").write_text("[codecarbon]\noutput_dir = /nowhere\nallow_multiple_runs = False\n")
    monkeypatch.setenv("CODECARBON_ELECTRICITYMAPS_API_TOKEN", "secret")
    monkeypatch.setenv("CODECARBON_CO2_SIGNAL_API_TOKEN", "secret")
    monkeypatch.setenv("CODECARBON_EMISSIONS_ENDPOINT", "http://192.0.2.1/")
    monkeypatch.setenv("CODECARBON_OUTPUT_METHODS", "csv,api")
    monkeypatch.setenv("CODECARBON_PUE", "1000")
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
    assert set(energy_j) == set(meter.domains)
    # A tenth of a second of one core; a factor of 1000 would show.
    assert 0 < energy_j["cpu"] < 20
    assert 0 < energy_j["dram"] < 100
    assert "CPU(" in meter.domains["cpu"].detail
    # The next window starts anew.
    again = meter.stop(meter.start())
    assert again["cpu"] < energy_j["cpu"]
    meter.close()
    assert {path.name for path in tmp_path.iterdir()} == {".codecarbon.lock", ".codecarbon.config"}
    assert capfd.readouterr().out == ""


class Tracker:
    """As OfflineEmissionsTracker, as far as tasks go; energies in kWh."""

    def __init__(self, **options):
        self.options, self._active_task, self.tasks, self.stopped = options, None, 0, False
        self.data = types.SimpleNamespace(cpu_energy=1e-6, ram_energy=2e-6, gpu_energy=0.0)
        self.gpus = 0
        self._conf = {"hardware": ["RAM()", "CPU(Cpu Load)"]}

    def get_detected_hardware(self):
        return {"gpu_count": self.gpus, "gpu_model": ""}

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
    assert options["emissions_endpoint"] is options["electricitymaps_api_token"] is None
    assert options["pue"] == 1.0


def test_a_gpu_that_codecarbon_sees_is_a_domain_even_if_its_counter_stood_still_at_first(monkeypatch):
    class WithGpu(Tracker):
        def get_detected_hardware(self):
            return {"gpu_count": 1}

    made = []
    monkeypatch.setitem(
        sys.modules,
        "codecarbon",
        types.SimpleNamespace(OfflineEmissionsTracker=lambda **options: made.append(WithGpu(**options)) or made[-1]),
    )
    meter = CodeCarbonMeter()
    assert set(meter.domains) == {"cpu", "dram", "gpu"}
    assert meter.domains["gpu"].resolution_s == 0.1
    assert meter.stop(meter.start())["gpu"] == 0.0
    made[0].data.gpu_energy = 3e-6
    assert meter.stop(meter.start())["gpu"] == pytest.approx(10.8)


@pytest.mark.parametrize("broken", ["start_task", "get_detected_hardware", "_conf"])
def test_a_tracker_whose_constructor_swallowed_a_fault_is_an_error_with_a_remedy(monkeypatch, broken):
    class Broken(Tracker):
        def __getattribute__(self, name):
            if name == broken:
                raise AttributeError(f"no {broken}")
            return super().__getattribute__(name)

        def __setattr__(self, name, value):
            if name != broken:
                super().__setattr__(name, value)

    monkeypatch.setitem(sys.modules, "codecarbon", types.SimpleNamespace(OfflineEmissionsTracker=Broken))
    with pytest.raises(MeterError, match=f"cannot track this machine .*no {broken}") as caught:
        CodeCarbonMeter()
    assert "cpu-time" in caught.value.remedy


def test_a_task_that_does_not_begin_is_an_error(tracker, monkeypatch):
    meter = CodeCarbonMeter()
    monkeypatch.setattr(tracker[0], "start_task", lambda: None)
    with pytest.raises(MeterError, match="begins no task"):
        meter.start()


def test_a_task_of_zero_joules_is_handed_on_and_never_made_up(tracker):
    meter = CodeCarbonMeter()
    tracker[0].data.cpu_energy = 0.0
    assert meter.stop(meter.start())["cpu"] == 0.0


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
