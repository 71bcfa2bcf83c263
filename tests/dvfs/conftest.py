"""Trees of files that behave as the kernel's, and a GPU that behaves as Zeus' and NVML's."""

import errno
import types

import pytest

from energyaware.dvfs.gpu import Gpu
from energyaware.dvfs.sysfs import Sysfs

CPUFREQ = "sys/devices/system/cpu/cpufreq"
POWERCAP = "sys/class/powercap"


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


def cpufreq(root, policies=2, low=800_000, high=3_700_000, now=(1_200_000, 3_100_000), table=(), driver="intel_pstate"):
    """Policies as `driver` shows them; `table` is its list of frequencies."""
    for index in range(policies):
        folder = root / CPUFREQ / f"policy{index}"
        files = {
            "cpuinfo_min_freq": low, "cpuinfo_max_freq": high, "scaling_min_freq": now[0], "scaling_max_freq": now[1],
            "scaling_cur_freq": now[0], "scaling_driver": driver, "scaling_governor": "powersave",
            "affected_cpus": index, "scaling_setspeed": "<unsupported>",
        }  # fmt: skip
        if table:
            files["scaling_available_frequencies"] = " ".join(map(str, sorted(table, reverse=True))) + " "
        for name, value in files.items():
            put(folder / name, value)
    return root


def powercap(root, packages=1, long_uw=125_000_000, short_uw=150_000_000, most_uw=125_000_000, enabled=1):
    """Packages, the parts of the first, and the platform around all, as `intel_rapl_msr` shows them."""
    zones = [(f"intel-rapl:{index}", f"package-{index}") for index in range(packages)]
    zones += [("intel-rapl:0:0", "core"), (f"intel-rapl:{packages}", "psys"), ("intel-rapl-mmio:0", "package-0")]
    for folder, name in zones:
        place = root / POWERCAP / folder
        limits = [("long_term", long_uw, most_uw), ("short_term", short_uw, 0)] if name != "core" else []
        put(place / "name", name)
        put(place / "enabled", enabled)
        for index, (kind, limit, most) in enumerate(limits):
            put(place / f"constraint_{index}_name", kind)
            put(place / f"constraint_{index}_power_limit_uw", limit)
            put(place / f"constraint_{index}_max_power_uw", most)
    return root


class Driver(Sysfs):
    """The files with a driver behind them: it clamps, rounds, refuses, and notes what was written.

    Args:
        step_khz: frequencies are rounded down to it.
        strict: as kernels before 5.3: a lower end above the upper one is EINVAL.
        ceiling_khz: what firmware allows at most.
        unit_uw: power limits are rounded down to it.
        locked: names of files that nobody may write, as with limits locked by firmware.
        forbidden: names of files that this user may not write.
    """

    def __init__(self, root, step_khz=1, strict=False, ceiling_khz=10**9, unit_uw=125_000, locked=(), forbidden=()):
        super().__init__(root)
        self.step_khz, self.strict, self.ceiling_khz, self.unit_uw = step_khz, strict, ceiling_khz, unit_uw
        self.locked, self.forbidden, self.writes, self.mounted_read_only = locked, forbidden, [], False

    def writable(self, path):
        return path.name not in self.forbidden and not self.mounted_read_only

    def read_only(self):
        return self.mounted_read_only

    def write(self, path, value):
        assert path.is_file(), "only files that the kernel made can be written"
        if path.name in self.locked or not self.writable(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        self.writes.append((path.parent.name, path.name, value))
        if path.name.startswith("scaling_"):
            self._write_frequency(path, value)
        elif path.name == "enabled":
            put(path, value)
        else:
            if value <= 0:
                raise OSError(errno.EINVAL, "Invalid argument")
            put(path, value // self.unit_uw * self.unit_uw)

    def _write_frequency(self, path, value):
        folder = path.parent
        low, high = (self.number(folder / f"cpuinfo_{end}_freq") for end in ("min", "max"))
        wanted = {end: self.number(folder / f"scaling_{end}_freq") for end in ("min", "max")}
        wanted["min" if "min" in path.name else "max"] = value
        if wanted["min"] > wanted["max"]:
            if self.strict:
                raise OSError(errno.EINVAL, "Invalid argument")
            wanted["min"] = wanted["max"]
        for end, limit in wanted.items():
            clamped = min(max(limit, low), high, self.ceiling_khz)
            put(folder / f"scaling_{end}_freq", clamped // self.step_khz * self.step_khz)
        put(folder / "scaling_cur_freq", self.number(folder / "scaling_max_freq") - 1000)


class NoPermissionError(Exception):
    """As ZeusGPUNoPermissionError."""


class ZeusGPUNotSupportedError(Exception):
    pass


class NvidiaGpu:
    """What Zeus keeps of a GPU, and what the driver behind it does."""

    __module__ = "zeus.device.gpu.nvidia"

    def __init__(self, uuid="GPU-1"):
        self.handle, self.uuid = uuid, uuid
        self.locked_mhz, self.limit_mw, self.limits_mw = None, 350_000, (100_000, 400_000)
        self.compute, self.graphics, self.busy_percent, self.mig, self.reasons = [], [], 0, False, 0
        self.fault, self.calls = None, []

    def call(self, name, *values):
        self.calls.append((name, *values))
        if self.fault is not None:
            raise self.fault


class Gpus:
    """As Zeus' `NVIDIAGPUs`, the members that are used."""

    def __init__(self, *gpus):
        self.gpus = gpus

    def __len__(self):
        return len(self.gpus)

    def get_supported_memory_clocks(self, index):
        return [810, 2619]

    def get_supported_graphics_clocks(self, index, memory_clock_mhz=None):
        assert memory_clock_mhz == 2619
        return list(range(1980, 195, -15))

    def set_gpu_locked_clocks(self, index, min_clock_mhz, max_clock_mhz, block=True):
        self.gpus[index].call("lock", min_clock_mhz, max_clock_mhz)
        self.gpus[index].locked_mhz = max_clock_mhz

    def reset_gpu_locked_clocks(self, index, block=True):
        self.gpus[index].call("unlock")
        self.gpus[index].locked_mhz = None

    def get_power_management_limit_constraints(self, index):
        return self.gpus[index].limits_mw

    def get_power_management_limit(self, index):
        return self.gpus[index].limit_mw

    def set_power_management_limit(self, index, power_limit_mw, block=True):
        if power_limit_mw != self.gpus[index].limit_mw:
            self.gpus[index].call("limit", power_limit_mw)
            self.gpus[index].limit_mw = power_limit_mw


class Nvml:
    """As the module `pynvml`; a GPU's handle is its UUID."""

    NVML_CLOCK_SM = 1
    NVML_DEVICE_MIG_ENABLE = 1
    nvmlClocksEventReasonApplicationsClocksSetting = 2  # noqa: N815 - NVML's name

    class NVMLError(Exception):
        pass

    def __init__(self, gpus):
        self._gpus = {gpu.uuid: gpu for gpu in gpus.gpus}

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802 - NVML's names, here and below
        return handle

    def nvmlDeviceGetMigMode(self, handle):  # noqa: N802
        if self._gpus[handle].mig is None:
            raise self.NVMLError("Not Supported")
        return int(self._gpus[handle].mig), 0

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [types.SimpleNamespace(pid=pid) for pid in self._gpus[handle].compute]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle):  # noqa: N802
        return [types.SimpleNamespace(pid=pid) for pid in self._gpus[handle].graphics]

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        return types.SimpleNamespace(gpu=self._gpus[handle].busy_percent)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802
        return self._gpus[handle].reasons

    def nvmlDeviceGetClockInfo(self, handle, kind):  # noqa: N802
        assert kind == self.NVML_CLOCK_SM
        return (self._gpus[handle].locked_mhz or 1995) - 15


@pytest.fixture
def device():
    return NvidiaGpu()


@pytest.fixture
def found(device):
    """What `find_gpus` gives: a second GPU first, so that indices matter."""
    gpus = Gpus(NvidiaGpu("GPU-0"), device)
    return gpus, Nvml(gpus)


@pytest.fixture
def gpu(found):
    """The second GPU; this process is number 100 and has not opened CUDA."""
    return Gpu(*found, 1, own_processes=lambda: {100, 101}, uses_cuda=lambda: False, exists=lambda pid: pid < 9000)


class RecordingKnob:
    """A knob whose driver is a variable."""

    name = "cpu"
    unit = "MHz"
    domain = "cpu"
    settle_s = 0.25

    def __init__(self):
        self.value, self.log, self.fault, self.refuses = 3100, [], None, None

    def ready(self):
        if self.refuses is not None:
            raise self.refuses

    def state(self):
        return {"policy0/scaling_max_freq": self.value}

    def set(self, setting):
        self.log.append(f"set {setting:g}")
        if self.refuses is not None:
            raise self.refuses
        self.value = setting

    def in_force(self):
        return float(self.value)

    def running_mhz(self):
        return None

    def restore(self, state):
        self.log.append(f"restore {state['policy0/scaling_max_freq']}")
        if self.fault is not None:
            raise self.fault
        self.value = state["policy0/scaling_max_freq"]


@pytest.fixture
def knob():
    return RecordingKnob()


# Test modules cannot import a conftest: fixtures hand the helpers on.


@pytest.fixture
def cpufreq_tree(tmp_path):
    return lambda **options: cpufreq(tmp_path, **options)


@pytest.fixture
def powercap_tree(tmp_path):
    return lambda **options: powercap(tmp_path, **options)


@pytest.fixture
def driver(tmp_path):
    return lambda **options: Driver(tmp_path, **options)


@pytest.fixture
def read(tmp_path):
    """Number or word in a file of the tree, by folder and file name."""

    def look(folder, name):
        place = POWERCAP if "rapl" in folder else CPUFREQ
        text = (tmp_path / place / folder / name).read_text().strip()
        return int(text) if text.isdigit() else text

    return look


@pytest.fixture
def no_permission():
    return NoPermissionError("Insufficient Permissions")


@pytest.fixture
def not_supported():
    return ZeusGPUNotSupportedError("Not Supported")
