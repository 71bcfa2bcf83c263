"""Prefill and decode, each metered by itself, and both together, on prompts and answers of fixed length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.config import EnergyConfig
from energyaware.examples import Dataset
from energyaware.paths import cache_dir
from energyaware.progress import Progress
from energyaware.pytest_plugin import config_of
from energyaware.records import Ceiling, Variant

if TYPE_CHECKING:
    from energyaware.records import Work
    from energyaware.variants.phases import PhaseWorkload, Prefilled
    from energyaware.variants.prepare import PreparedModel
    from energyaware.variants.row import LayoutPlan

INPUT_TOKENS = 64
NEW_TOKENS = 32


def batch_sizes_of(config: EnergyConfig) -> tuple[int, ...]:
    """Requests per call."""
    return (1, 8) if config.suite == "full" else (1,)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark here its batch sizes."""
    if "batch_size" in metafunc.fixturenames:
        sizes = batch_sizes_of(config_of(metafunc.config))
        metafunc.parametrize("batch_size", sizes, ids=[f"batch{size}" for size in sizes])


@dataclass(frozen=True)
class PhaseRow:
    """A variant with its prompts.

    Attributes:
        facts: what `energy.record` is told, whatever the phase.
        dtypes: in which it multiplies matrices.
    """

    workload: PhaseWorkload
    layout: LayoutPlan
    facts: dict[str, Any]
    dtypes: str


@pytest.fixture
def row(
    phase_variant: Variant,
    batch_size: int,
    prepared: Callable[[str], PreparedModel],
    dataset: Dataset,
    device: str,
    collected_garbage: None,  # noqa: ARG001 - collects after this fixture let go of the model
) -> PhaseRow:
    """The variant, loaded, with prompts of exactly `INPUT_TOKENS` tokens."""
    from energyaware.data.features import mean_features
    from energyaware.variants.calibrated import load_prepared
    from energyaware.variants.phases import phase_workload, position_limit
    from energyaware.variants.row import plan_layout, product_dtypes, row_facts

    model = prepared(phase_variant.model)
    loaded = load_prepared(model, phase_variant, dataset, device)
    limit = position_limit(loaded.model)
    if limit is not None and limit < INPUT_TOKENS + NEW_TOKENS:
        pytest.skip(f"{phase_variant.model} has {limit} positions, the phases need {INPUT_TOKENS + NEW_TOKENS}")
    workload = phase_workload(
        loaded.model,
        loaded.tokenizer,
        [example.text for example in dataset.test],
        batch_size=batch_size,
        input_tokens=INPUT_TOKENS,
        new_tokens=NEW_TOKENS,
    )
    facts = row_facts(loaded, model, dataset, device)
    facts["features"] |= mean_features(loaded.tokenizer.batch_decode(workload.input_ids, skip_special_tokens=True))
    lengths = {"batch size": batch_size, "input tokens": INPUT_TOKENS, "output tokens": NEW_TOKENS}
    facts["traits"] |= {name: str(value) for name, value in lengths.items()}
    # Two benchmarks of one group are two tasks of the same variant.
    facts["task"] = "generation" if batch_size == 1 else f"generation x{batch_size}"
    facts["requests"] = workload.requests
    return PhaseRow(workload, plan_layout(loaded.model, phase_variant.id), facts, product_dtypes(loaded))


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
    _record_work(energy, row, counted, NEW_TOKENS - 1, ceiling, phase="decode", tokens_out=workload.tokens_decoded)
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
    _record_work(energy, row, counted, NEW_TOKENS, ceiling, phase="inference", **tokens)
    energy.pedantic(generate, before_round=layout.before_round, layout=layout.description)
    if energy.measuring:
        times = token_times(workload, layout.before_round)
        energy.record(
            samples={
                "ttft_s": [item.ttft_s for item in times],
                "tpot_s": [step for item in times for step in item.tpot_s],
            }
        )
