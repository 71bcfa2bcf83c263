import os
import sys
import types

import pytest

from energyaware.meters.gpu_state import GpuState, GpuStateReader, open_gpu_state


class NVMLError(Exception):
    pass


class Nvml:
    """As pynvml, for GPUs that are dictionaries; a value that is an exception is raised."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    def __init__(self, *gpus, fault=None):
        self.gpus, self.fault, self.open = gpus, fault, 0

    def nvmlInit(self):  # noqa: N802
        if self.fault is not None:
            raise self.fault
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        if index >= len(self.gpus):
            raise NVMLError("invalid")
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        for gpu in self.gpus:
            if uuid == gpu["uuid"]:
                return gpu
            if uuid in gpu.get("slices", ()):
                return ("slice", gpu)
        raise NVMLError("not found")

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle):  # noqa: N802
        return handle[1]

    @staticmethod
    def _tell(gpu, what):
        if isinstance(gpu[what], Exception):
            raise gpu[what]
        return gpu[what]

    def nvmlDeviceGetTemperatureV(self, gpu, sensor):  # noqa: N802
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._tell(gpu, "temperature")

    def nvmlDeviceGetClockInfo(self, gpu, kind):  # noqa: N802
        assert kind == self.NVML_CLOCK_SM
        return self._tell(gpu, "clock")

    def nvmlDeviceGetComputeRunningProcesses(self, gpu):  # noqa: N802
        return [types.SimpleNamespace(pid=pid) for pid in self._tell(gpu, "pids")]


def gpu(temperature=40, clock=1500, pids=(), **more):
    return {"temperature": temperature, "clock": clock, "pids": list(pids), "uuid": f"GPU-{temperature}", **more}


def reader(*gpus, own=(10, 11), alive=(10, 11, 20, 21)):
    nvml = Nvml(*gpus)
    return GpuStateReader(nvml, gpus, lambda: set(own), lambda pid: pid in alive)


def test_the_hottest_the_slowest_and_the_others():
    state = reader(gpu(40, 1500, [10, 20]), gpu(71, 1980, [11, 21]), gpu(55, 1980))()
    assert state == GpuState(71.0, 1500.0, (20, 21))


def test_this_process_and_what_it_started_are_not_foreign():
    assert reader(gpu(pids=[10, 11]))().foreign_processes == ()


@pytest.mark.parametrize(
    ("pids", "foreign"),
    [
        ([99], ()),  # in a container, this process under the host's number
        ([98, 99], (98, 99)),  # one of them may be this process; nobody can tell which
        ([10, 99], (99,)),  # our own number is listed, so the other is another
        ([20, 99], (20,)),
    ],
)
def test_numbers_of_the_host_that_mean_nothing_here(pids, foreign):
    assert reader(gpu(pids=pids))().foreign_processes == foreign


def test_a_fault_is_none_and_no_exception():
    lost = gpu(NVMLError("GPU is lost"), NVMLError("GPU is lost"), uuid="x")
    lost["pids"] = NVMLError("GPU is lost")
    assert reader(lost)() == GpuState(None, None, ())
    assert reader(lost, gpu(50, 1200, [20]))() == GpuState(50.0, 1200.0, (20,))


def test_a_library_that_lacks_a_function_is_none():
    nvml = types.SimpleNamespace(NVMLError=NVMLError)
    assert GpuStateReader(nvml, ["handle"], set)() == GpuState(None, None, ())


def test_without_the_library_there_is_no_reader(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu_state() is None


def test_without_a_driver_or_a_gpu_there_is_no_reader():
    assert open_gpu_state(environ={}, nvml=Nvml(fault=NVMLError("no driver"))) is None
    nvml = Nvml()
    assert open_gpu_state(environ={}, nvml=nvml) is None
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("environ", "gpus", "hottest"),
    [
        ({}, None, 60.0),
        ({}, (0,), 40.0),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, None, 50.0),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, (1,), 40.0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-50"}, None, 50.0),
        ({"CUDA_VISIBLE_DEVICES": "MIG-7"}, None, 60.0),
        ({"WORLD_SIZE": "3", "LOCAL_RANK": "1"}, None, 50.0),
    ],
)
def test_the_gpus_in_use_are_read(environ, gpus, hottest):
    nvml = Nvml(gpu(40), gpu(50), gpu(60, slices=["MIG-7"]))
    found = open_gpu_state(gpus, environ, nvml)
    assert found().temperature_c == hottest
    found.close()
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("environ", "gpus"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "7"}, None),
        ({"CUDA_VISIBLE_DEVICES": "GPU-none"}, None),
        ({}, ()),
        ({}, (5,)),
    ],
)
def test_no_gpu_in_use_means_no_reader(environ, gpus):
    nvml = Nvml(gpu(40))
    assert open_gpu_state(gpus, environ, nvml) is None
    assert nvml.open == 0


def test_the_fake_has_the_members_of_the_installed_library():
    pynvml = pytest.importorskip("pynvml")
    members = [name for name in vars(Nvml) if name.lower().startswith("nvml")]
    assert len(members) > 8
    assert [name for name in members if not hasattr(pynvml, name)] == []
    assert (pynvml.NVML_TEMPERATURE_GPU, pynvml.NVML_CLOCK_SM) == (Nvml.NVML_TEMPERATURE_GPU, Nvml.NVML_CLOCK_SM)


def test_the_default_own_processes_hold_this_one():
    found = open_gpu_state(environ={}, nvml=Nvml(gpu(pids=[os.getpid()])))
    assert found().foreign_processes == ()
