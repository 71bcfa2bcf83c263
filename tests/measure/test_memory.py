import sys

import pytest

from energyaware.measure import memory
from energyaware.measure.memory import peak_bytes, reset_peak


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's peak is Linux's")
def test_the_peak_is_that_of_the_stretch_and_not_of_what_came_before():
    if not reset_peak():
        pytest.skip("the kernel does not let this process reset its peak")
    before = peak_bytes()
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    with_block = peak_bytes()
    assert with_block > before + (50 << 20)
    del block
    reset_peak()
    assert peak_bytes() < with_block - (40 << 20)


@pytest.mark.parametrize(
    ("text", "peak"),
    [("VmPeak:\t 9 kB\nVmHWM:\t  12 kB\n", 12288), ("VmPeak: 9 kB\n", None), ("VmHWM:\n", None), ("VmHWM: x kB", None)],
)
def test_the_peak_is_read_from_the_kernels_status(tmp_path, monkeypatch, text, peak):
    (tmp_path / "status").write_text(text)
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert peak_bytes() == peak


def test_where_the_kernel_does_not_tell_the_peak_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "absent")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    assert peak_bytes() is None
    assert reset_peak() is False
