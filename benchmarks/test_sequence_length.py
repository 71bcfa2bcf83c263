"""Energy, latency, throughput and quality against the length of input and output and the batch size.

Only in the full suite. Prefill and decode are metered apart, and both together, over one grid. Quality is that of
root-cause analysis where the ticket stands at the end of a context of other tickets.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.examples import Dataset, Example
from energyaware.pytest_plugin import config_of
from energyaware.records import Variant

if TYPE_CHECKING:
    from energyaware.records import Work
    from energyaware.tasks.base import Task
    from energyaware.variants.load import LoadedVariant
    from energyaware.variants.phases import PhaseWorkload, Prefilled
    from energyaware.variants.prepare import PreparedModel
    from energyaware.variants.row import LayoutPlan

PRECISIONS = ("fp32", "bf16", "nf4")
"""Of the unpruned models: zeros that run dense cost what other numbers cost, at every length."""
INPUT_TOKENS = (32, 128, 384)
OUTPUT_TOKENS = (8, 32, 96)
BATCH_SIZES = (1, 8)

CONTEXT_TOKENS = (0, 32, 128, 384)
"""Lengths at which quality is scored; the ticket and its question are the last of these tokens. 0: they stand alone."""
SCORED_EXAMPLES = 256
SCORED_BATCH = 16

_AXES = {
    "input_tokens": ("in", INPUT_TOKENS),
    "output_tokens": ("out", OUTPUT_TOKENS),
    "context_tokens": ("context", CONTEXT_TOKENS),
    "batch_size": ("batch", BATCH_SIZES),
}


def length_variants_of(config: pytest.Config) -> tuple[Variant, ...]:
    """The variants whose lengths are swept: none in the quick suite."""
    from benchmarks.conftest import models_of
    from energyaware.variants.grid import make_variant

    if config_of(config).suite != "full":
        return ()
    return tuple(make_variant(model, precision) for model in models_of(config) for precision in PRECISIONS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark here its grid; all lengths of a variant run together, so that it is loaded once."""
    variants = length_variants_of(metafunc.config)
    skip = pytest.mark.skip(reason="lengths are swept by --energy-suite=full")
    for name, (title, values) in _AXES.items():
        if name in metafunc.fixturenames:
            chosen = values if variants else values[:1]
            metafunc.parametrize(name, chosen, ids=[f"{title}{value}" for value in chosen])
    metafunc.parametrize(
        "length_variant",
        variants or [pytest.param(None, marks=skip)],
        ids=[variant.id for variant in variants] or ["full-suite-only"],
        scope="module",
    )


class Row:
    """A loaded variant, and what `energy.record` is told about it whatever the length."""

    def __init__(self, loaded: LoadedVariant, layout: LayoutPlan, facts: dict[str, Any]) -> None:
        self.loaded, self.layout, self.facts = loaded, layout, facts

    def require_positions(self, tokens: int) -> None:
        """Skip the benchmark where the model has too few positions."""
        from energyaware.tasks.encoding import position_limit

        limit = position_limit(self.loaded.model)
        if limit is not None and tokens > limit:
            pytest.skip(f"{self.loaded.variant.model} has {limit} positions, this length needs {tokens}")

    def workload(self, dataset: Dataset, input_tokens: int, output_tokens: int, batch_size: int) -> PhaseWorkload:
        """Prompts of exactly `input_tokens` tokens, made of the dataset's texts."""
        from benchmarks.conftest import read_texts
        from energyaware.variants.phases import phase_workload

        self.require_positions(input_tokens + output_tokens)
        return phase_workload(
            self.loaded.model,
            self.loaded.tokenizer,
            read_texts(dataset.test),
            batch_size=batch_size,
            input_tokens=input_tokens,
            new_tokens=output_tokens,
        )

    def record(self, energy: Any, counted: Work, task: str, lengths: dict[str, int | str], **facts: Any) -> None:
        """Record a benchmark of this row; two of one group are two tasks of the variant."""
        traits = {name: str(value) for name, value in lengths.items()}
        place = " ".join(f"{name} {value}" for name, value in lengths.items())
        energy.record(
            **(self.facts | {"traits": self.facts["traits"] | traits}),
            task=f"{task}, {place}",
            requests=lengths["batch size"],
            flops=counted.flops,
            weight_bytes=counted.weight_bytes,
            kv_bytes=counted.kv_bytes,
            read_bytes=counted.read_bytes,
            **facts,
        )


@pytest.fixture(scope="module")
def row(
    length_variant: Variant,
    prepared: Callable[[str], PreparedModel],
    dataset: Dataset,
    device: str,
    load: Callable[[PreparedModel, Variant, Dataset], LoadedVariant],
) -> Iterator[Row]:
    """The variant, loaded once for all its lengths."""
    from energyaware.variants.row import plan_layout, row_facts

    model = prepared(length_variant.model)
    loaded = load(model, length_variant, dataset)
    yield Row(loaded, plan_layout(loaded.model, length_variant.id), row_facts(loaded, model, dataset, device))
    del loaded
    gc.collect()  # models hold reference cycles


@pytest.mark.energy(group="prefill by length", candle="matmul")
def test_prefill(energy: Any, row: Row, dataset: Dataset, input_tokens: int, batch_size: int) -> None:
    """One call reads every prompt of the batch and fills the cache."""
    from energyaware.work.counters import count

    workload = row.workload(dataset, input_tokens, 1, batch_size)
    lengths: dict[str, int | str] = {"input tokens": input_tokens, "batch size": batch_size}
    counted = count(workload.model, workload.prefill)
    row.record(energy, counted, "generation", lengths, phase="prefill", tokens_in=workload.tokens_in)
    energy.pedantic(workload.prefill, before_round=row.layout.before_round, layout=row.layout.description)


@pytest.mark.energy(group="decode by length", candle="small-ops")
def test_decode(
    energy: Any, row: Row, dataset: Dataset, input_tokens: int, output_tokens: int, batch_size: int
) -> None:
    """One call goes on from a cache that holds the input; the first token of the output is prefill's."""
    from energyaware.work.counters import count

    workload = row.workload(dataset, input_tokens, output_tokens, batch_size)
    prefilled: Prefilled = workload.prefill()

    def decode() -> object:
        return workload.decode(prefilled)

    def redraw() -> None:
        nonlocal prefilled
        if row.layout.before_round is not None:
            row.layout.before_round()
        prefilled = workload.prefill()  # the cache gets a new place too

    lengths: dict[str, int | str] = {
        "input tokens": input_tokens,
        "output tokens": output_tokens,
        "batch size": batch_size,
    }
    counted = count(workload.model, decode)
    row.record(energy, counted, "generation", lengths, phase="decode", tokens_out=workload.tokens_decoded)
    before = redraw if row.layout.before_round is not None else None
    energy.pedantic(decode, before_round=before, layout=row.layout.description)


@pytest.mark.energy(group="generate by length", candle="small-ops")
def test_generate(
    energy: Any, row: Row, dataset: Dataset, input_tokens: int, output_tokens: int, batch_size: int
) -> None:
    """One call does both phases, each in a window of its own."""
    from energyaware.work.counters import count

    workload = row.workload(dataset, input_tokens, output_tokens, batch_size)

    def generate() -> object:
        with energy.window("prefill"):
            prefilled = workload.prefill()
        with energy.window("decode"):
            return workload.decode(prefilled)

    lengths: dict[str, int | str] = {
        "input tokens": input_tokens,
        "output tokens": output_tokens,
        "batch size": batch_size,
    }
    counted = count(workload.model, workload.generate)
    tokens = {"tokens_in": workload.tokens_in, "tokens_out": workload.tokens_out}
    row.record(energy, counted, "generation", lengths, phase="inference", **tokens)
    energy.pedantic(generate, before_round=row.layout.before_round, layout=row.layout.description)


@pytest.mark.energy(group="rca by length", candle="matmul")
def test_rca_in_context(energy: Any, row: Row, dataset: Dataset, context_tokens: int) -> None:
    """One request is one ticket at the end of a context, one cause out; quality is scored at the same length."""
    from energyaware.tasks.base import fit_task
    from energyaware.tasks.encoding import cut_notes
    from energyaware.tasks.evaluation import evaluate
    from energyaware.tasks.rca import Rca
    from energyaware.tasks.trivial import trivial_quality
    from energyaware.tasks.workload import make_workload
    from energyaware.work.counters import count

    model, tokenizer = row.loaded.model, row.loaded.tokenizer
    if len(dataset.labels) < 2:
        pytest.skip(f"{dataset.name} has no causes to choose from")
    row.require_positions(context_tokens)
    task = fit_task(Rca(), dataset, tokenizer)
    scored = evenly(dataset.test, SCORED_EXAMPLES)
    others = [example.text for example in dataset.train]
    examples = [
        in_context(tokenizer, task, example, others[start:] + others[:start], context_tokens)
        if context_tokens
        else example
        for start, example in zip(itertools.count(), scored, strict=False)
    ]
    if None in examples:
        pytest.skip(f"a ticket alone is longer than {context_tokens} tokens")
    long = tuple(example for example in examples if example is not None)
    work = make_workload(model, tokenizer, task, long, min(SCORED_BATCH, len(long)))
    row.record(
        energy,
        count(model, work),
        task.name,
        {"input tokens": context_tokens or "ticket alone", "batch size": work.requests},
        phase="inference",
        tokens_in=work.tokens_in,
        trivial_quality=trivial_quality(task, replace(dataset, test=long), tokenizer),
    )
    energy.pedantic(work, before_round=row.layout.before_round, layout=row.layout.description)
    scores = evaluate(model, tokenizer, task, long, SCORED_BATCH)
    energy.record(
        quality=scores.quality,
        scores=scores.per_example,
        example_ids=scores.example_ids,
        notes=(*row.facts["notes"], *cut_notes(model, scores.truncated, len(long))),
    )


def evenly(examples: Sequence[Example], most: int) -> list[Example]:
    """At most `most` examples, spread over all of them."""
    step = max(1, -(-len(examples) // most))
    return list(examples[::step])


def in_context(tokenizer: Any, task: Task, example: Example, texts: Sequence[str], tokens: int) -> Example | None:
    """The example behind as much of the texts' end as makes its prompt `tokens` long, or a word shorter.

    Returns:
        None where its prompt alone is longer.
    """

    def length(candidate: Example) -> int:
        return len(tokenizer(task.prompt(candidate))["input_ids"])

    if length(example) > tokens:
        return None
    words: list[str] = []
    missing = tokens - length(example)
    for text in texts:
        if len(words) >= missing:  # a word has a token at least
            break
        words = [*text.split(), *words]

    def behind(number: int) -> Example:
        context = words[len(words) - number :]
        return replace(example, text=" ".join([*context, example.text]))

    low, high = 0, min(len(words), missing)
    while low < high:  # the longest context that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if length(behind(middle)) <= tokens else (low, middle - 1)
    return behind(low)
