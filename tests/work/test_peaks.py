from __future__ import annotations

import itertools

import pytest
import torch

from energyaware.work import peaks


@pytest.fixture
def quick(monkeypatch):
    """Small shapes and short batches: the way is tested, not the machine."""
    monkeypatch.setattr(peaks, "PRODUCT_SIZES", (64, 128))
    monkeypatch.setattr(peaks, "LARGEST_BYTES", 2**22)
    monkeypatch.setattr(peaks, "_BATCH_S", 1e-4)
    monkeypatch.setattr(peaks, "_PRODUCT_S", 1e-3)
    monkeypatch.setattr(peaks, "_READ_S", 1e-3)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_products_have_a_rate(quick, dtype):
    rate = peaks.product_rate(dtype, "cpu")
    assert rate is not None
    assert 1e6 < rate < 1e15


def test_the_rate_is_the_best_over_the_shapes(quick, monkeypatch):
    seconds = iter([1e-3, 1e-3])
    monkeypatch.setattr(peaks, "_best_seconds", lambda *_: next(seconds))
    assert peaks.product_rate("fp32", "cpu") == 2 * 128**3 / 1e-3


def test_no_product_is_tried_that_would_take_too_long(quick, monkeypatch):
    seconds = iter([peaks.PRODUCT_LIMIT_S])
    monkeypatch.setattr(peaks, "_best_seconds", lambda *_: next(seconds))
    assert peaks.product_rate("fp32", "cpu") == 2 * 64**3 / peaks.PRODUCT_LIMIT_S


def test_a_dtype_without_a_kernel_has_no_rate(quick, monkeypatch):
    def missing(*_):
        raise RuntimeError("not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.functional, "linear", missing)
    assert peaks.product_rate("fp16", "cpu") is None
    assert peaks.product_rate("fp8", "cpu") is None


def test_reading_is_measured_at_sizes_that_double(quick):
    rates = peaks.read_rates("cpu")
    assert [size for size, _ in rates] == [2**20, 2**21, 2**22]
    assert all(1e6 < rate < 1e14 for _, rate in rates)


def test_a_machine_without_free_memory_is_read_at_no_size(quick, monkeypatch):
    monkeypatch.setattr(peaks, "_free_bytes", lambda _: 2**21)
    assert peaks.read_rates("cpu") == ()
    monkeypatch.setattr(peaks, "_free_bytes", lambda _: 2**23)
    assert [size for size, _ in peaks.read_rates("cpu")] == [2**20, 2**21]


def test_every_reader_reads_everything_once():
    values = torch.arange(4 * 1024, dtype=torch.float32)
    total, dot, rows, same_rows = (reader() for reader in peaks._readers(values))
    assert total == values.sum()
    assert dot == values[:2048] @ values[2048:]
    assert torch.equal(rows, values.view(4, 1024).sum(dim=1))
    assert torch.equal(same_rows[0], rows)


def test_short_calls_are_timed_in_batches(monkeypatch):
    batches: list[int] = []

    def seconds(_, calls, __):
        batches.append(calls)
        return calls * 1e-3

    monkeypatch.setattr(peaks, "_seconds", seconds)
    assert peaks._best_seconds(lambda: None, "cpu", 0.05) == pytest.approx(1e-3)
    assert batches[0] == 1
    assert batches[-1] * 1e-3 >= peaks._BATCH_S
    assert all(a <= b for a, b in itertools.pairwise(batches))
