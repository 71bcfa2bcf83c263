import subprocess
import sys
import types

import pytest

from energyaware.baselines.comparability import MACHINE_FIELDS
from energyaware.measure import machine
from energyaware.measure.machine import describe

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) CPU @ 2.00GHz
flags\t\t: fpu avx2 avx512f avx512_vnni hypervisor amx_bf16

processor\t: 1
model name\t: another
flags\t\t: i8mm
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def described(monkeypatch, tmp_path, text):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    info = machine._cpuinfo(path)
    monkeypatch.setattr(machine, "_cpuinfo", lambda: info)
    return describe()


def test_an_intel_cpu(monkeypatch, tmp_path, without_torch):
    found = described(monkeypatch, tmp_path, INTEL)
    assert found["cpu"] == "Intel(R) Xeon(R) CPU @ 2.00GHz"
    assert found["dtype_support"] == "avx2 avx512f avx512_vnni amx_bf16"
    assert found["virtual"] == "yes"


def test_an_arm_cpu(monkeypatch, tmp_path, without_torch):
    found = described(monkeypatch, tmp_path, ARM)
    assert found["dtype_support"] == "bf16 i8mm"
    assert found["virtual"] == "no"
    assert found["cpu"]


def test_without_cpuinfo_what_is_unknown_is_absent(monkeypatch, tmp_path, without_torch):
    found = described(monkeypatch, tmp_path, None)
    assert "dtype_support" not in found
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["python"] == sys.version.split()[0]


def test_torch_is_described_when_loaded_and_never_loaded(monkeypatch):
    torch = types.SimpleNamespace(
        __version__="9.9", get_num_threads=lambda: 3,
        cuda=types.SimpleNamespace(
            is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda index: f"GPU {index}"
        ),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    found = describe()
    assert (found["torch"], found["threads"], found["gpu"]) == ("9.9", "3", "GPU 0, GPU 1")
    code = "import sys; from energyaware.measure.machine import describe; describe(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_what_comparability_asks_for_is_described(monkeypatch, tmp_path):
    torch = types.SimpleNamespace(
        __version__="9.9", get_num_threads=lambda: 3,
        cuda=types.SimpleNamespace(
            is_available=lambda: True, device_count=lambda: 1, get_device_name=lambda index: "GPU"
        ),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert set(MACHINE_FIELDS) <= set(described(monkeypatch, tmp_path, INTEL))
