"""Prefill and decode, each metered by itself, and both together, on prompts and answers of fixed length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.config import EnergyConfig
from energyaware.paths import cache_dir
from energyaware.progress import Progress
from energyaware.pytest_plugin import config_of
from energyaware.records import Ceiling, Variant

if TYPE_CHECKING:
    from benchmarks.conftest import PhaseRow
    from energyaware.records import Work
    from energyaware.variants.phases import Prefilled


def batch_sizes_of(config: EnergyConfig) -> tuple[int, ...]:
    """Requests per call."""
    return (1, 8) if config.suite == "full" else (1,)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark here its batch sizes."""
    if "batch_size" in metafunc.fixturenames:
        sizes = batch_sizes_of(config_of(metafunc.config))
        metafunc.parametrize("batch_size", sizes, ids=[f"batch{size}" for size in sizes])


@pytest.fixture
def row(phase_variant: Variant, batch_size: int, load_phase_row: Callable[[Variant, int], PhaseRow]) -> PhaseRow:
    """The variant, loaded, with its prompts."""
    return load_phase_row(phase_variant, batch_size)


@pytest.fixture(scope="session")
def ceiling(device: str, energy_progress: Progress) -> Callable[[str, int], Ceiling]:
    """A function (dtypes, bytes that one forward pass reads) → the machine's ceiling."""
    from energyaware.measure.machine import describe
    from energyaware.work.ceiling import ceiling_of, machine_peaks

    def of(dtypes: str, working_set_bytes: int) -> Ceiling:
        peaks = machine_peaks(describe(), device, dtypes.split("+"), cache_dir(), energy_progress)
        return ceiling_of(peaks, dtypes, working_set_bytes)

    return of


def _record_work(
    energy: Any, row: PhaseRow, work: Work, passes: int, ceiling: Callable[[str, int], Ceiling], **facts: Any
) -> None:
    energy.record(
        **row.facts,
        **facts,
        flops=work.flops,
        weight_bytes=work.weight_bytes,
        kv_bytes=work.kv_bytes,
        read_bytes=work.read_bytes,
    )
    if energy.measuring and work.read_bytes is not None:
        energy.record(ceiling=ceiling(row.dtypes, work.read_bytes // passes))


@pytest.mark.energy(group="prefill", candle="matmul")
def test_prefill(energy: Any, row: PhaseRow, ceiling: Callable[[str, int], Ceiling]) -> None:
    """One call reads every prompt of the batch and fills the cache."""
    from energyaware.variants.phases import token_times
    from energyaware.work.counters import count

    workload = row.workload
    counted = count(workload.model, workload.prefill)
    _record_work(energy, row, counted, 1, ceiling, phase="prefill", tokens_in=workload.tokens_in)
    energy.pedantic(workload.prefill, before_round=row.layout.before_round, layout=row.layout.description)
    if energy.measuring:
        times = token_times(replace(workload, new_tokens=1), row.layout.before_round)
        energy.record(samples={"ttft_s": [item.ttft_s for item in times]})


@pytest.mark.energy(group="decode", candle="small-ops")
def test_decode(energy: Any, row: PhaseRow, ceiling: Callable[[str, int], Ceiling]) -> None:
    """One call goes on from a filled cache, which it leaves as it was; the first token is prefill's."""
    from energyaware.variants.phases import token_times
    from energyaware.work.counters import count

    workload, layout = row.workload, row.layout
    prefilled: Prefilled = workload.prefill()

    def decode() -> object:
        return workload.decode(prefilled)

    def redraw() -> None:
        nonlocal prefilled
        if layout.before_round is not None:
            layout.before_round()
        prefilled = workload.prefill()  # the cache gets a new place too

    before = redraw if layout.before_round is not None else None
    counted = count(workload.model, decode)
    _record_work(
        energy, row, counted, workload.new_tokens - 1, ceiling, phase="decode", tokens_out=workload.tokens_decoded
    )
    energy.pedantic(decode, before_round=before, layout=layout.description)
    if energy.measuring:
        times = token_times(workload, layout.before_round)
        energy.record(samples={"tpot_s": [step for item in times for step in item.tpot_s]})


@pytest.mark.energy(group="generate", candle="small-ops")
def test_generate(energy: Any, row: PhaseRow, ceiling: Callable[[str, int], Ceiling]) -> None:
    """One call does both phases, each in a window of its own."""
    from energyaware.variants.phases import token_times
    from energyaware.work.counters import count

    workload, layout = row.workload, row.layout

    def generate() -> object:
        with energy.window("prefill"):
            prefilled = workload.prefill()
        with energy.window("decode"):
            return workload.decode(prefilled)

    counted = count(workload.model, workload.generate)
    tokens = {"tokens_in": workload.tokens_in, "tokens_out": workload.tokens_out}
    _record_work(energy, row, counted, workload.new_tokens, ceiling, phase="inference", **tokens)
    energy.pedantic(generate, before_round=layout.before_round, layout=layout.description)
    if energy.measuring:
        times = token_times(workload, layout.before_round)
        energy.record(
            samples={
                "ttft_s": [item.ttft_s for item in times],
                "tpot_s": [step for item in times for step in item.tpot_s],
            }
        )
