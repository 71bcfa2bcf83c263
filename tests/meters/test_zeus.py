import math
import subprocess
import sys
import types
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.errors import MeterError
from energyaware.meters import zeus
from energyaware.meters.base import Meter, TickingMeter, start_on_tick
from energyaware.meters.zeus import Devices, ZeusMeter, counters_in_sight, find_devices, soc_energy_j, synchronize


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


class Gpu:
    """A GPU whose counter shows, in steps, what its power has added up to."""

    handle = "a handle"

    def __init__(self, clock, step_s=0.1, phase_s=0.0, idle_w=100.0, counter=True):
        self.clock, self.step_s, self.phase_s, self.counter = clock, step_s, phase_s, counter
        self.power_w, self.true_j, self.shown_j, self.seen_s = idle_w, 0.0, 0.0, clock.now_s
        self.fault = None

    def move(self):
        now_s = self.clock.now_s
        step_s = self.phase_s + math.floor((now_s - self.phase_s) / self.step_s) * self.step_s
        if step_s > self.seen_s:
            self.shown_j = self.true_j + (step_s - self.seen_s) * self.power_w
        self.true_j += (now_s - self.seen_s) * self.power_w
        self.seen_s = now_s

    def draw(self, power_w):
        self.move()
        self.power_w = power_w

    def total_mj(self):
        if self.fault is not None:
            raise self.fault
        self.move()
        return int(self.shown_j * 1000)


class Gpus:
    """As Zeus' GPUs: indices are those of the visible devices."""

    def __init__(self, *gpus):
        self.gpus = gpus

    def __len__(self):
        return len(self.gpus)

    def supports_get_total_energy_consumption(self, index):
        return self.gpus[index].counter

    def get_total_energy_consumption(self, index):
        if not self.gpus[index].counter:
            raise RuntimeError("not supported")
        return self.gpus[index].total_mj()


class Soc:
    """As Zeus' SoC: windows by key."""

    def __init__(self, *readings):
        self.readings, self.open = list(readings), []

    def begin_window(self, key, restart=False):
        assert key not in self.open
        self.open.append(key)

    def end_window(self, key):
        self.open.remove(key)
        return self.readings.pop(0)


def open_meter(clock, *gpus, soc=None, environ=None, **options):
    """A meter, and the log of its waits for the GPU."""
    waits = []
    found = Devices(Gpus(*gpus) if gpus else None, soc, "no GPU is visible to this process")
    meter = ZeusMeter(
        find=lambda environ: found, sync=lambda indices: waits.append(tuple(indices)), clock=clock,
        environ=environ or {}, **options,
    )  # fmt: skip
    return meter, waits


def work(clock, gpu, seconds, power_w=300.0, after_w=100.0):
    """Draw power for a time, then fall back; joules."""
    gpu.draw(power_w)
    clock.sleep(seconds)
    gpu.draw(after_w)
    return seconds * power_w


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.93, 1.0, 1.07, 2.5])
def test_a_window_that_meets_the_ticks_is_exact_where_idle_power_is_known(clock, seconds):
    gpu = Gpu(clock)
    meter, _ = open_meter(clock, gpu)
    meter.know_idle({"gpu0": 100.0})
    clock.sleep(0.037)
    mark = start_on_tick(meter)
    energy_j = work(clock, gpu, seconds)
    # What remains comes from looking every millisecond.
    assert meter.stop(mark) == {"gpu0": pytest.approx(energy_j, abs=0.5)}


def test_without_idle_power_one_tick_of_idling_is_left_in(clock):
    gpu = Gpu(clock)
    meter, _ = open_meter(clock, gpu)
    clock.sleep(0.037)
    mark = start_on_tick(meter)
    energy_j = work(clock, gpu, 1.03)
    assert energy_j < meter.stop(mark)["gpu0"] <= energy_j + 0.1 * 100 + 0.5


@given(st.floats(1.0, 3.0), st.floats(0, 0.1), st.floats(20, 150), st.floats(0.3, 3))
def test_the_documented_bound_holds(new_clock, seconds, offset_s, while_waiting_w, assumed):
    clock = new_clock()
    gpu = Gpu(clock)
    meter, _ = open_meter(clock, gpu)
    meter.know_idle({"gpu0": assumed * while_waiting_w})
    clock.sleep(offset_s)
    gpu.draw(while_waiting_w)
    mark = meter.start_on_tick()
    energy_j = work(clock, gpu, seconds, after_w=while_waiting_w)
    bound_j = abs(1 - assumed) * while_waiting_w * 0.1 + 1.0
    assert abs(meter.stop(mark)["gpu0"] - energy_j) <= bound_j


def test_several_gpus_whose_ticks_differ(clock):
    gpus = Gpu(clock), Gpu(clock, step_s=0.02, phase_s=0.013), Gpu(clock, phase_s=0.05)
    meter, waits = open_meter(clock, *gpus)
    meter.know_idle({f"gpu{index}": 100.0 for index in range(3)})
    mark = meter.start_on_tick()
    for power_w, gpu in zip((300.0, 200.0, 150.0), gpus, strict=True):
        gpu.draw(power_w)
    clock.sleep(1.234)
    for gpu in gpus:
        gpu.draw(100.0)
    read = meter.stop(mark)
    assert read == {
        f"gpu{index}": pytest.approx(1.234 * power_w, abs=0.6) for index, power_w in enumerate((300.0, 200.0, 150.0))
    }
    assert waits == [(0, 1, 2)] * 2


def test_a_window_inside_another_does_not_wait(clock):
    gpu = Gpu(clock)
    meter, waits = open_meter(clock, gpu)
    outer = meter.start_on_tick()
    began_s = clock.now_s
    inner = meter.start()
    assert clock.now_s == began_s
    energy_j = work(clock, gpu, 0.55)
    ended_s = clock.now_s
    # A step at each end is what such a window may be wrong by.
    assert meter.stop(inner)["gpu0"] == pytest.approx(energy_j, abs=300 * 0.1)
    assert clock.now_s == ended_s
    assert meter.stop(outer)["gpu0"] >= energy_j - 0.5
    assert len(waits) == 4


def test_a_window_shorter_than_a_tick_reads_zero_and_nothing_is_made_up(clock):
    gpu = Gpu(clock)
    meter, _ = open_meter(clock, gpu)
    mark = meter.start_on_tick()
    inner = meter.start()
    clock.sleep(0.01)
    assert meter.stop(inner) == {"gpu0": 0.0}
    meter.stop(mark)


def test_the_gpu_finishes_before_the_counter_is_read(clock):
    gpu = Gpu(clock)
    pending = []

    def finish(indices):
        if pending:
            clock.sleep(pending.pop())
            gpu.draw(100.0)

    found = Devices(Gpus(gpu), None)
    meter = ZeusMeter(find=lambda environ: found, sync=finish, clock=clock, environ={})
    meter.know_idle({"gpu0": 100.0})
    mark = meter.start_on_tick()
    gpu.draw(300.0)
    pending.append(1.01)  # asked for, not yet done
    assert meter.stop(mark) == {"gpu0": pytest.approx(303.0, abs=0.5)}


def test_a_counter_that_was_reset_reads_negative(clock):
    gpu = Gpu(clock)
    meter, _ = open_meter(clock, gpu)
    clock.sleep(100)
    mark = meter.start()
    gpu.move()
    gpu.true_j = gpu.shown_j = 0.0
    assert meter.stop(mark)["gpu0"] < 0


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step_s", "resolution_s"), [(0.1, 0.02), (0.02, 0.004), (0.001, 0.001)])
def test_ten_ticks_make_a_window(clock, step_s, resolution_s):
    meter, _ = open_meter(clock, Gpu(clock, step_s=step_s))
    assert isinstance(meter, Meter)
    assert isinstance(meter, TickingMeter)
    domain = meter.domains["gpu0"]
    assert domain.resolution_s == pytest.approx(resolution_s, rel=0.06)
    assert domain.source == "measured"
    meter.close()


def test_a_gpu_without_a_counter_is_absent(clock):
    meter, _ = open_meter(clock, Gpu(clock, counter=False), Gpu(clock))
    assert set(meter.domains) == {"gpu1"}
    assert "no energy counter" in meter.left_out["gpu0"]
    assert set(meter.stop(meter.start_on_tick())) == {"gpu1"}


def test_a_counter_that_never_moves_is_absent(clock):
    meter, _ = open_meter(clock, Gpu(clock), Gpu(clock, step_s=1e9))
    assert set(meter.domains) == {"gpu0"}
    assert "stood still" in meter.left_out["gpu1"]


def test_a_counter_that_stops_moving_gives_no_value(clock):
    gpus = Gpu(clock), Gpu(clock)
    meter, _ = open_meter(clock, *gpus)
    mark = meter.start_on_tick()
    gpus[1].step_s = 1e9
    assert set(meter.stop(mark)) == {"gpu0"}
    assert set(meter.stop(meter.start_on_tick())) == {"gpu0"}


@pytest.mark.parametrize(("mode", "split"), [([1, 1], True), ([0, 1], False), ([0, 0], False), ("unsupported", False)])
def test_a_gpu_split_by_mig_is_not_read(clock, monkeypatch, mode, split):
    class NVMLError(Exception):
        pass

    def mig_mode(handle):
        assert handle == "a handle"
        if mode == "unsupported":
            raise NVMLError
        return mode

    nvml = types.SimpleNamespace(NVMLError=NVMLError, nvmlDeviceGetMigMode=mig_mode, NVML_DEVICE_MIG_ENABLE=1)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    gpu = type("NVIDIAGPU", (Gpu,), {"__module__": "zeus.device.gpu.nvidia"})(clock)
    if split:
        with pytest.raises(MeterError, match="gpu0: it is split by MIG"):
            open_meter(clock, gpu)
    else:
        assert set(open_meter(clock, gpu)[0].domains) == {"gpu0"}


def test_each_rank_reads_its_own_device(clock):
    environs = [{"WORLD_SIZE": "4", "LOCAL_RANK": str(rank)} for rank in range(4)]
    read = [set(open_meter(clock, *(Gpu(clock) for _ in range(4)), environ=item)[0].domains) for item in environs]
    assert read == [{"gpu0"}, {"gpu1"}, {"gpu2"}, {"gpu3"}]


def test_only_the_gpus_of_the_run_are_read(clock):
    gpus = [Gpu(clock) for _ in range(3)]
    assert set(open_meter(clock, *gpus, gpus=(1,))[0].domains) == {"gpu1"}
    with pytest.raises(MeterError, match="GPU 5 is not visible"):
        open_meter(clock, *gpus, gpus=(5,))
    with pytest.raises(MeterError, match="reads no energy counter"):
        open_meter(clock, *gpus, gpus=())


def test_a_module_with_its_cpu_covers_the_cpu(clock):
    gpu = Gpu(clock)
    assert not open_meter(clock, gpu)[0].covers_cpu
    gpu._is_grace_hopper = True
    meter, _ = open_meter(clock, gpu)
    assert meter.covers_cpu
    assert "CPU" in meter.domains["gpu0"].detail


def test_no_counter_is_an_error_with_the_reason_and_a_remedy(clock):
    with pytest.raises(MeterError, match=r"reads no energy counter here \(no GPU is visible") as caught:
        open_meter(clock)
    assert "cpu-time" in caught.value.remedy
    with pytest.raises(MeterError, match="gpu0: it has no energy counter"):
        open_meter(clock, Gpu(clock, counter=False))


@pytest.mark.parametrize("fault", [RuntimeError("GPU is lost"), PermissionError("forbidden"), ValueError("odd")])
def test_a_gpu_lost_in_mid_round_is_our_error(clock, fault):
    gpu = Gpu(clock)
    meter, _ = open_meter(clock, gpu)
    marks = meter.start(), meter.start_on_tick()
    gpu.fault = fault
    for call in (meter.start, meter.start_on_tick, *(lambda mark=mark: meter.stop(mark) for mark in marks)):
        with pytest.raises(MeterError, match="stopped answering") as caught:
            call()
        assert str(fault) in caught.value.cause
        assert caught.value.__cause__ is fault


def test_a_fault_of_the_framework_while_waiting_is_our_error(clock):
    def sync(indices):
        raise RuntimeError("CUDA error: device-side assert")

    found = Devices(Gpus(Gpu(clock)), None)
    meter = ZeusMeter(find=lambda environ: found, sync=sync, clock=clock, environ={})
    with pytest.raises(MeterError, match="device-side assert"):
        meter.start()


# --- whole chips -----------------------------------------------------------------------------------------------------


def test_apples_parts_are_added_once():
    soc = AppleSilicon(
        cpu_total_mj=1000, efficiency_cores_mj=[100, 100], performance_cores_mj=[300, 300], efficiency_cluster_mj=[250],
        performance_cluster_mj=[750], efficiency_core_manager_mj=50, performance_core_manager_mj=150,
        dram_mj=200, gpu_mj=400, gpu_sram_mj=30, ane_mj=7,
    )  # fmt: skip
    assert soc_energy_j(soc) == pytest.approx(1.637)
    assert soc_energy_j(AppleSilicon(cpu_total_mj=500)) == 0.5
    assert soc_energy_j(AppleSilicon()) is None


def test_jetsons_total_is_not_added_to_its_parts():
    assert soc_energy_j(Jetson(100.0, 200.0, 450.0)) == 0.45
    assert soc_energy_j(Jetson(100.0, 200.0)) == pytest.approx(0.3)


def test_a_chip_is_one_domain_with_windows_that_overlap(clock):
    soc = Soc(*(Jetson(total_energy_mj=value) for value in (1.0, 2000.0, 3000.0)))
    meter, waits = open_meter(clock, soc=soc)
    assert set(meter.domains) == {"soc"}
    assert meter.covers_cpu
    outer, inner = meter.start_on_tick(), meter.start()
    assert meter.stop(inner) == {"soc": 2.0}
    assert meter.stop(outer) == {"soc": 3.0}
    assert soc.open == []
    assert waits == []


def test_a_chip_that_tells_nothing_is_absent(clock):
    with pytest.raises(MeterError, match="no energy counter"):
        open_meter(clock, soc=Soc(AppleSilicon()))
    meter, _ = open_meter(clock, Gpu(clock), soc=Soc(AppleSilicon()))
    assert set(meter.domains) == {"gpu0"}
    assert not meter.covers_cpu


def test_only_the_first_rank_reads_the_chip(clock):
    soc = Soc(Jetson(total_energy_mj=1.0))
    with pytest.raises(MeterError, match="no energy counter"):
        open_meter(clock, soc=soc, environ={"WORLD_SIZE": "2", "LOCAL_RANK": "1"})


# --- the border to Zeus ----------------------------------------------------------------------------------------------


@pytest.fixture
def fake_zeus(monkeypatch):
    """A module `zeus.device` whose finds are set by the test."""

    class ZeusSoCInitError(Exception):
        pass

    def get_soc():
        if device.soc is None:
            raise ZeusSoCInitError
        return device.soc

    def get_gpus():
        if isinstance(device.gpus, Exception):
            raise device.gpus
        return device.gpus

    device = types.SimpleNamespace(gpus=RuntimeError("no driver"), soc=None, get_gpus=get_gpus, get_soc=get_soc)
    monkeypatch.setitem(sys.modules, "zeus.device", device)
    monkeypatch.setitem(sys.modules, "zeus.device.soc.common", types.SimpleNamespace(ZeusSoCInitError=ZeusSoCInitError))
    return device


def test_what_zeus_finds_is_taken_and_its_refusal_kept(fake_zeus):
    assert find_devices({}) == Devices(None, None, "RuntimeError: no driver")
    fake_zeus.gpus, fake_zeus.soc = "gpus", "soc"
    assert find_devices({})[:2] == ("gpus", "soc")


def test_hidden_devices_are_not_asked_for(fake_zeus):
    fake_zeus.gpus = "gpus"
    assert find_devices({"CUDA_VISIBLE_DEVICES": ""}).gpus is None


def test_without_zeus_the_remedy_is_its_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus.device", None)
    with pytest.raises(MeterError, match="cannot be imported") as caught:
        ZeusMeter()
    assert "energyaware[gpu]" in caught.value.remedy


@pytest.mark.parametrize("initialised", [True, False, None])
def test_the_gpu_is_waited_for_only_where_torch_holds_it(monkeypatch, initialised):
    waits = []
    torch = None if initialised is None else types.SimpleNamespace(
        cuda=types.SimpleNamespace(is_initialized=lambda: initialised, synchronize=waits.append)
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    synchronize((0, 2))
    assert waits == ([0, 2] if initialised else [])


@pytest.mark.parametrize("place", ["dev/nvidia0", "dev/nvidiactl", "dev/kfd", "dev/dxg", "etc/nv_tegra_release"])
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
    code = """
from dataclasses import fields
from inspect import signature
from zeus.device import get_gpus, get_soc
from zeus.device.gpu.common import GPUs
from zeus.device.gpu.nvidia import NVIDIAGPU
from zeus.device.soc.apple import AppleSiliconMeasurement
from zeus.device.soc.common import SoC, ZeusSoCInitError
from zeus.device.soc.jetson import JetsonMeasurement

print([[field.name for field in fields(kind)] for kind in (AppleSiliconMeasurement, JetsonMeasurement)])
calls = [(GPUs, "supports_get_total_energy_consumption"), (GPUs, "get_total_energy_consumption"), (GPUs, "__len__"),
         (SoC, "begin_window"), (SoC, "end_window")]
print([list(signature(getattr(kind, name)).parameters)[1:] for kind, name in calls])
print(isinstance(GPUs.gpus, property), NVIDIAGPU.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = [[*kind.__dataclass_fields__] for kind in (AppleSilicon, Jetson)]
    assert done.stdout.splitlines() == [
        repr(own),
        repr([["gpu_index"], ["gpu_index"], [], ["key", "restart"], ["key"]]),
        "True zeus.device.gpu.nvidia",
    ]
