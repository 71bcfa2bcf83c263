from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.errors import CacheError
from energyaware.work import ceiling, peaks
from energyaware.work.ceiling import MachinePeaks, ceiling_of, machine_peaks

MACHINE = {"cpu": "a processor", "cores": "2"}
READS = ((2**20, 64e9), (2**21, 32e9), (2**22, 8e9))


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """What is measured, in place of measuring it."""
    asked: list[str] = []

    def product_rate(dtype, device):
        asked.append(dtype)
        return None if dtype == "fp16" else {"fp32": 2e11, "bf16": 5e10, "int8": 3e11}[dtype]

    def read_rates(device):
        asked.append("memory")
        return READS

    monkeypatch.setattr(peaks, "product_rate", product_rate)
    monkeypatch.setattr(peaks, "read_rates", read_rates)
    return asked


def stored(folder: Path) -> list[Path]:
    return sorted((folder / "ceilings").iterdir())


def test_a_machine_is_measured_once(measured, tmp_path):
    first = machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    assert first == MachinePeaks({"fp32": 2e11}, READS)
    assert measured == ["fp32", "memory"]
    assert machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path) == first
    assert measured == ["fp32", "memory"]
    assert len(stored(tmp_path)) == 1


def test_a_further_dtype_is_added(measured, tmp_path):
    machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    both = machine_peaks(MACHINE, "cpu", ["bf16", "fp32", "bf16"], tmp_path)
    assert both.flops_per_s == {"fp32": 2e11, "bf16": 5e10}
    assert measured == ["fp32", "memory", "bf16"]
    assert len(stored(tmp_path)) == 1


def test_a_dtype_that_the_device_cannot_multiply_is_absent_and_not_tried_again(measured, tmp_path):
    for _ in range(2):
        assert machine_peaks(MACHINE, "cpu", ["fp16"], tmp_path).flops_per_s == {}
    assert measured == ["fp16", "memory"]


@pytest.mark.parametrize(
    ("machine", "device"), [({**MACHINE, "cores": "4"}, "cpu"), (MACHINE, "cuda:0")], ids=["machine", "device"]
)
def test_other_conditions_are_measured_anew(measured, tmp_path, machine, device):
    machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    machine_peaks(machine, device, ["fp32"], tmp_path)
    assert measured == ["fp32", "memory"] * 2
    assert len(stored(tmp_path)) == 2


def test_other_threads_are_other_conditions(measured, tmp_path, monkeypatch):
    machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    monkeypatch.setattr(ceiling.torch, "get_num_threads", lambda: 96)
    machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    assert measured == ["fp32", "memory"] * 2


def test_software_that_computes_none_of_it_plays_no_part(measured, tmp_path):
    machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    machine_peaks({**MACHINE, "transformers": "5.23", "python": "3.13"}, "cpu", ["fp32"], tmp_path)
    assert measured == ["fp32", "memory"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: "",
        lambda data: json.dumps(data)[:-20],
        lambda data: "[]",
        lambda data: json.dumps({**data, "version": 0}),
        lambda data: json.dumps({**data, "conditions": {}}),
        lambda data: json.dumps({**data, "flops_per_s": {"fp32": -1.0}}),
        lambda data: json.dumps({**data, "flops_per_s": {"fp32": True}}),
        lambda data: json.dumps({**data, "flops_per_s": [2e11]}),
        lambda data: json.dumps({**data, "flops_per_s": {"fp32": float("nan")}}),
        lambda data: json.dumps({**data, "bytes_per_s": [[2**20, "fast"]]}),
        lambda data: json.dumps({**data, "bytes_per_s": [[2**21, 1e9], [2**20, 1e9]]}),
        lambda data: json.dumps({**data, "bytes_per_s": [[1.5, 1e9]]}),
        lambda data: json.dumps({name: value for name, value in data.items() if name != "bytes_per_s"}),
    ],
)
def test_a_damaged_file_is_measured_anew_and_replaced(measured, tmp_path, damage):
    first = machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    (path,) = stored(tmp_path)
    whole = path.read_text()
    path.write_text(damage(json.loads(whole)))
    assert machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path) == first
    assert measured == ["fp32", "memory"] * 2
    assert stored(tmp_path) == [path]
    assert path.read_text() == whole


def test_bytes_that_are_no_text_are_measured_anew(measured, tmp_path):
    machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    stored(tmp_path)[0].write_bytes(b"\xff\xfe\x00")
    machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    assert measured == ["fp32", "memory"] * 2


def test_a_cache_that_cannot_be_written_is_an_error(measured, tmp_path):
    (tmp_path / "ceilings").write_text("a file where the folder should be")
    with pytest.raises(CacheError):
        machine_peaks(MACHINE, "cpu", ["fp32"], tmp_path)
    assert measured == []


def test_progress_ends_at_its_total(measured, tmp_path):
    seen: list[tuple[int, int]] = []
    machine_peaks(MACHINE, "cpu", ["fp32", "bf16"], tmp_path, lambda _, done, total, __="": seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


PEAKS = MachinePeaks({"fp32": 2e11, "bf16": 5e10}, READS)


def test_a_mixture_has_the_fastest_of_its_dtypes():
    assert ceiling_of(PEAKS, "fp32", None).flops_per_s == 2e11
    assert ceiling_of(PEAKS, "bf16+fp32", None).flops_per_s == 2e11
    assert ceiling_of(PEAKS, "bf16", None).flops_per_s == 5e10


def test_a_dtype_without_a_peak_has_no_ceiling_nor_has_a_mixture_with_it():
    assert ceiling_of(PEAKS, "fp16", None).flops_per_s is None
    assert ceiling_of(PEAKS, "fp16+fp32", None).flops_per_s is None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1000, 64e9),
        (2**20, 64e9),
        (2**21, 32e9),
        (round(2**20.5), 64e9 / 2**0.5),
        (round(2**21.5), 16e9),
        (2**22, 8e9),
        (2**40, 8e9),
    ],
)
def test_reading_is_interpolated_between_the_measured_sizes(size, expected):
    assert ceiling_of(PEAKS, "fp32", size).bytes_per_s == pytest.approx(expected, rel=1e-5)


def test_a_dip_does_not_lower_the_ceiling():
    peaks_with_dip = MachinePeaks({}, ((2**20, 5e9), (2**21, 20e9), (2**22, 10e9)))
    assert ceiling_of(peaks_with_dip, "fp32", 2**20).bytes_per_s == pytest.approx(20e9)


def test_without_measurements_or_size_reading_has_no_ceiling():
    assert ceiling_of(MachinePeaks(), "fp32", 2**21).bytes_per_s is None
    assert ceiling_of(PEAKS, "fp32", None).bytes_per_s is None
    assert ceiling_of(PEAKS, "fp32", 0).bytes_per_s is None


@given(
    rates=st.lists(st.floats(1e6, 1e12), min_size=1, max_size=12),
    low=st.integers(1, 2**34),
    high=st.integers(1, 2**34),
)
def test_a_larger_set_is_never_read_faster(rates, low, high):
    measured = MachinePeaks({}, tuple((2 ** (20 + index), rate) for index, rate in enumerate(rates)))
    low, high = sorted((low, high))
    small = ceiling_of(measured, "fp32", low).bytes_per_s
    large = ceiling_of(measured, "fp32", high).bytes_per_s
    assert small >= large * (1 - 1e-12)
    assert rates[-1] * (1 - 1e-12) <= large <= max(rates) * (1 + 1e-12)
