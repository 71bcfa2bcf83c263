import math
import subprocess
import sys
import types
import warnings
from dataclasses import dataclass, field

import pytest

from energyaware.errors import MeterError
from energyaware.meters import zeus
from energyaware.meters.base import Meter
from energyaware.meters.zeus import ZeusMeter, counters_in_sight, energies


@dataclass
class AppleSilicon:
    """The members of Zeus' AppleSiliconMeasurement, in mJ."""

    cpu_total_mj: int | None = None
    efficiency_cores_mj: list[int] | None = None
    performance_cores_mj: list[int] | None = None
    efficiency_cluster_mj: list[int] | None = None
    performance_cluster_mj: list[int] | None = None
    efficiency_core_manager_mj: int | None = None
    performance_core_manager_mj: int | None = None
    dram_mj: int | None = None
    gpu_mj: int | None = None
    gpu_sram_mj: int | None = None
    ane_mj: int | None = None


@dataclass
class Jetson:
    """The members of Zeus' JetsonMeasurement, in mJ."""

    cpu_energy_mj: float | None = None
    gpu_energy_mj: float | None = None
    total_energy_mj: float | None = None


@dataclass
class Measurement:
    """The members of zeus.monitor.energy.Measurement, in J."""

    time: float
    gpu_energy: dict[int, float]
    cpu_energy: dict[int, float] | None = None
    dram_energy: dict[int, float] | None = None
    soc_energy: object | None = None


ZERO = (
    "The energy consumption of one or more GPUs was measured as zero. This means that the time duration of the "
    "measurement window was shorter than the GPU's energy counter update period."
)


@dataclass
class Monitor:
    """As ZeusMonitor: cumulative counters, windows by unique key, a warning for a GPU that read zero."""

    counters: list[Measurement]
    position: int = 0
    states: dict[str, Measurement] = field(default_factory=dict)
    synchronised: list[bool] = field(default_factory=list)
    fault: Exception | None = None

    def _now(self):
        if self.fault is not None:
            raise self.fault
        self.position += 1
        return self.counters[min(self.position, len(self.counters)) - 1]

    def begin_window(self, key, sync_execution=True, restart=False):
        if key in self.states:
            raise ValueError(f"Measurement window '{key}' already exists")
        self.synchronised.append(sync_execution)
        self.states[key] = self._now()

    def end_window(self, key, sync_execution=True, cancel=False):
        if key not in self.states:
            raise ValueError(f"Measurement window '{key}' does not exist")
        begin, end = self.states.pop(key), self._now()
        self.synchronised.append(sync_execution)

        def less(now, before):
            return now and {index: value - before[index] for index, value in now.items()}

        gpu = less(end.gpu_energy, begin.gpu_energy)
        if any(value == 0.0 for value in gpu.values()):
            warnings.warn(ZERO, stacklevel=1)
        return Measurement(
            end.time - begin.time, gpu, less(end.cpu_energy, begin.cpu_energy),
            less(end.dram_energy, begin.dram_energy), end.soc_energy,
        )  # fmt: skip


def counting(*steps: float, gpus=1, packages=0, dram=False) -> Monitor:
    return Monitor([
        Measurement(
            step, {index: step * (index + 1) for index in range(gpus)},
            dict.fromkeys(range(packages), step * 10) or None,
            dict.fromkeys(range(packages), step * 100) if dram else None,
        )
        for step in steps
    ])  # fmt: skip


def test_counters_are_read_and_subtracted():
    monitor = counting(1.0, 1.5, 2.0, 5.0, gpus=2, packages=1, dram=True)
    meter = ZeusMeter(lambda: monitor)
    assert isinstance(meter, Meter)
    assert {name: domain.source for name, domain in meter.domains.items()} == dict.fromkeys(
        ["gpu0", "gpu1", "cpu", "dram"], "measured"
    )
    assert meter.stop(meter.start()) == {"gpu0": 3.0, "gpu1": 6.0, "cpu": 30.0, "dram": 300.0}
    assert monitor.states == {}
    meter.close()


def test_each_domain_has_the_resolution_of_its_counter():
    meter = ZeusMeter(lambda: counting(1.0, 2.0, packages=1, dram=True))
    resolutions = {name: domain.resolution_s for name, domain in meter.domains.items()}
    assert resolutions == {"gpu0": 0.1, "cpu": 0.001, "dram": 0.001}


def test_windows_may_overlap():
    meter = ZeusMeter(lambda: counting(0.0, 0.0, 1.0, 2.0, 4.0, 8.0))
    outer = meter.start()
    inner = meter.start()
    assert meter.stop(inner) == {"gpu0": 2.0}
    assert meter.stop(outer) == {"gpu0": 7.0}


@pytest.mark.parametrize("packages", [1, 2, 4])
def test_one_package_needs_no_number_and_several_do(packages):
    meter = ZeusMeter(lambda: counting(1.0, 2.0, gpus=0, packages=packages, dram=True))
    numbers = [""] if packages == 1 else [str(index) for index in range(packages)]
    assert set(meter.domains) == {f"{kind}{number}" for kind in ("cpu", "dram") for number in numbers}


def test_a_domain_that_zeus_does_not_read_is_absent():
    assert energies(Measurement(1.0, {0: 3.0})) == {"gpu0": 3.0}
    assert energies(Measurement(1.0, {}, {0: 3.0}, None)) == {"cpu": 3.0}
    assert energies(Measurement(1.0, {}, {}, {})) == {}
    assert energies(Measurement(1.0, {}, soc_energy=AppleSilicon())) == {}


def test_apples_parts_are_added_once():
    soc = AppleSilicon(
        cpu_total_mj=1000, efficiency_cores_mj=[100, 100], performance_cores_mj=[300, 300], efficiency_cluster_mj=[250],
        performance_cluster_mj=[750], efficiency_core_manager_mj=50, performance_core_manager_mj=150,
        dram_mj=200, gpu_mj=400, gpu_sram_mj=30, ane_mj=7,
    )  # fmt: skip
    assert energies(Measurement(1.0, {}, soc_energy=soc)) == {"soc": pytest.approx(1.637)}
    assert energies(Measurement(1.0, {}, soc_energy=AppleSilicon(cpu_total_mj=500))) == {"soc": 0.5}


def test_jetsons_total_is_not_added_to_its_parts():
    assert energies(Measurement(1.0, {}, soc_energy=Jetson(100.0, 200.0, 450.0))) == {"soc": 0.45}
    assert energies(Measurement(1.0, {}, soc_energy=Jetson(100.0, 200.0))) == {"soc": pytest.approx(0.3)}


def test_a_zero_reading_is_handed_on_and_no_warning_makes_it_a_fault():
    monitor = counting(1.0, 2.0, 5.0, 5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meter = ZeusMeter(lambda: monitor)
        assert meter.stop(meter.start()) == {"gpu0": 0.0}


def test_a_counter_that_reads_nothing_is_an_error_with_a_remedy():
    with pytest.raises(MeterError, match="reads no energy counter") as caught:
        ZeusMeter(lambda: counting(1.0, gpus=0))
    assert "cpu-time" in caught.value.remedy


@pytest.mark.parametrize("fault", [RuntimeError("GPU is lost"), PermissionError("energy_uj"), ValueError("odd")])
def test_a_device_that_stops_answering_is_our_error(fault):
    monitor = counting(1.0, 2.0)
    meter = ZeusMeter(lambda: monitor)
    mark = meter.start()
    monitor.fault = fault
    for call in (meter.start, lambda: meter.stop(mark)):
        with pytest.raises(MeterError, match="stopped answering") as caught:
            call()
        assert str(fault) in caught.value.cause
        assert caught.value.__cause__ is fault


@pytest.mark.parametrize("initialised", [True, False, None])
def test_the_gpu_is_waited_for_only_where_torch_holds_it(monkeypatch, initialised):
    torch = None if initialised is None else types.SimpleNamespace(
        cuda=types.SimpleNamespace(is_initialized=lambda: initialised)
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    monitor = counting(1.0, 2.0)
    meter = ZeusMeter(lambda: monitor)
    meter.stop(meter.start())
    assert monitor.synchronised == [bool(initialised)] * 4


def test_without_zeus_the_remedy_is_its_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus.monitor", None)
    with pytest.raises(MeterError, match="cannot be imported") as caught:
        ZeusMeter()
    assert "energyaware[gpu]" in caught.value.remedy


def test_a_monitor_that_cannot_be_made_is_our_error(monkeypatch):
    def refuse(**options):
        assert options == {"approx_instant_energy": False}
        raise RuntimeError("no driver")

    monkeypatch.setitem(sys.modules, "zeus.monitor", types.SimpleNamespace(ZeusMonitor=refuse))
    with pytest.raises(MeterError, match="no driver"):
        ZeusMeter()


@pytest.mark.parametrize(
    "place", ["dev/nvidia0", "dev/nvidiactl", "dev/kfd", "dev/dxg", "sys/class/powercap/intel-rapl:0"]
)
def test_counters_are_seen_without_importing_zeus(tmp_path, monkeypatch, place):
    monkeypatch.setattr(sys, "platform", "linux")
    assert not counters_in_sight(tmp_path)
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert counters_in_sight(tmp_path)


@pytest.mark.parametrize(("machine", "seen"), [("arm64", True), ("x86_64", False)])
def test_apple_silicon_has_counters(monkeypatch, tmp_path, machine, seen):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(zeus.platform, "machine", lambda: machine)
    assert counters_in_sight(tmp_path) is seen


def test_the_fakes_have_the_members_of_the_installed_zeus():
    pytest.importorskip("zeus")
    # In a process of its own: importing Zeus costs seconds and changes the warnings of everyone else.
    code = (
        "from dataclasses import fields; from zeus.monitor.energy import Measurement; "
        "from zeus.device.soc.apple import AppleSiliconMeasurement as A; from zeus.device.soc.jetson import "
        "JetsonMeasurement as J; print([[f.name for f in fields(c)] for c in (Measurement, A, J)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = [[*kind.__dataclass_fields__] for kind in (Measurement, AppleSilicon, Jetson)]
    assert done.stdout.strip() == repr(own)


def test_not_a_number_is_handed_on():
    assert math.isnan(energies(Measurement(1.0, {0: math.nan}))["gpu0"])
