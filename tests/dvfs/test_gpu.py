import sys
import types

import pytest

from energyaware.dvfs.gpu import Gpu, find_gpus, gpu_of, open_gpu
from energyaware.errors import KnobError, KnobUnavailableError


def test_an_idle_gpu_of_ones_own_may_be_set(gpu, device):
    gpu.may_be_set()
    device.compute = [100, 101]
    device.mig = None  # GPUs without MIG raise
    gpu.may_be_set()


@pytest.mark.parametrize("kind", ["compute", "graphics"])
def test_foreign_processes_are_refused_and_named(gpu, device, kind):
    setattr(device, kind, [100, 777])
    with pytest.raises(KnobError, match=r"used by other processes too \(777\)") as caught:
        gpu.may_be_set()
    assert not isinstance(caught.value, KnobUnavailableError)


def test_a_busy_gpu_is_foreign_although_nobody_is_listed(gpu, device):
    device.busy_percent = 40
    with pytest.raises(KnobError, match="40 % busy"):
        gpu.may_be_set()


def test_in_a_container_one_unknown_process_is_this_one_once_it_uses_cuda(found, device):
    options = {"own_processes": lambda: {100}, "exists": lambda pid: pid < 9000}
    device.compute = [54321]
    device.busy_percent = 90
    Gpu(*found, 1, uses_cuda=lambda: True, **options).may_be_set()
    with pytest.raises(KnobError, match="54321"):
        Gpu(*found, 1, uses_cuda=lambda: False, **options).may_be_set()
    device.compute = [54321, 54322]
    with pytest.raises(KnobError, match="54321, 54322"):
        Gpu(*found, 1, uses_cuda=lambda: True, **options).may_be_set()


def test_a_gpu_split_by_mig_is_left_alone(gpu, device):
    device.mig = True
    with pytest.raises(KnobUnavailableError, match="split by MIG"):
        gpu.may_be_set()


def test_gpus_are_found_by_index_and_by_uuid(found):
    assert open_gpu(1, lambda: found).uuid == "GPU-1"
    assert gpu_of("GPU-1", lambda: found).index == 1
    with pytest.raises(KnobUnavailableError, match="GPU 2 is not visible: this process sees 2"):
        open_gpu(2, lambda: found)
    with pytest.raises(KnobUnavailableError, match="GPU-9 is not visible"):
        gpu_of("GPU-9", lambda: found)


def test_other_makers_are_refused(found):
    found[0].gpus = (types.SimpleNamespace(handle="amd"),)
    with pytest.raises(KnobUnavailableError, match="only NVIDIA"):
        open_gpu(0, lambda: found)


@pytest.mark.parametrize("name", ["pynvml", "zeus.device"])
def test_without_zeus_it_says_how_to_install_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pynvml", types.ModuleType("pynvml"))
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(KnobUnavailableError, match=r"pip install"):
        find_gpus()


def test_what_zeus_cannot_open_is_unavailable(monkeypatch):
    def nothing():
        raise RuntimeError("no driver")

    monkeypatch.setitem(sys.modules, "pynvml", types.ModuleType("pynvml"))
    monkeypatch.setitem(sys.modules, "zeus.device", types.SimpleNamespace(get_gpus=nothing))
    with pytest.raises(KnobUnavailableError, match="RuntimeError: no driver"):
        find_gpus()


def test_every_call_that_zeus_is_asked_for_exists():
    """The fakes have these names; the installed Zeus and NVML must have them too."""
    common = pytest.importorskip("zeus.device.gpu.common")
    pynvml = pytest.importorskip("pynvml")
    for name in (
        "get_supported_memory_clocks", "get_supported_graphics_clocks", "set_gpu_locked_clocks",
        "reset_gpu_locked_clocks", "get_power_management_limit_constraints", "get_power_management_limit",
        "set_power_management_limit",
    ):  # fmt: skip
        assert callable(getattr(common.GPUs, name))
    for name in (
        "nvmlDeviceGetUUID", "nvmlDeviceGetMigMode", "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses", "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetClockInfo", "NVML_CLOCK_SM", "NVML_DEVICE_MIG_ENABLE",
        "nvmlClocksEventReasonApplicationsClocksSetting", "NVMLError",
    ):  # fmt: skip
        assert hasattr(pynvml, name)
    assert {"ZeusGPUNoPermissionError", "ZeusGPUNotSupportedError", "ZeusGPUFunctionNotFoundError"} <= set(dir(common))
