"""Inference: energy, latency and quality of every variant on root-cause analysis of fault tickets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.examples import Dataset
from energyaware.records import Variant

if TYPE_CHECKING:
    from energyaware.variants.prepare import PreparedModel

BATCH_SIZE = 16


@pytest.mark.energy(group="inference", candle="matmul")
@pytest.mark.usefixtures("collected_garbage")
def test_rca(
    energy: Any,
    variant: Variant,
    prepared: Callable[[str], PreparedModel],
    dataset: Dataset,
    device: str,
    gpus: tuple[int, ...],
) -> None:
    """One request is one ticket in, one cause out; a round answers a batch of them in one forward pass."""
    from energyaware.data.features import mean_features
    from energyaware.tasks import rca
    from energyaware.tasks.encoding import middle_examples, prompt_lengths
    from energyaware.tasks.trivial import trivial_accuracy
    from energyaware.variants.calibrated import load_prepared
    from energyaware.variants.row import plan_layout, row_facts
    from energyaware.work.counters import count

    model = prepared(variant.model)
    loaded = load_prepared(model, variant, dataset, device, gpus)
    task = rca.rca_for(dataset, loaded.tokenizer)
    size = min(BATCH_SIZE, len(dataset.test))
    work = rca.workload(loaded.model, loaded.tokenizer, task, dataset.test, size)
    counted = count(loaded.model, work)
    energy.record(
        **row_facts(loaded, model, dataset, device),
        task=task.name,
        phase="inference",
        requests=work.requests,
        tokens_in=work.tokens_in,
        flops=counted.flops,
        weight_bytes=counted.weight_bytes,
        trivial_quality=trivial_accuracy(dataset, dataset.test),
    )
    energy.record(
        features=mean_features(map(task.prompt, middle_examples(task, dataset.test, size))),
        samples={"input_tokens": prompt_lengths(loaded.tokenizer, task, dataset.test)},
    )
    layout = plan_layout(loaded.model, variant.id)
    energy.pedantic(work, before_round=layout.before_round, layout=layout.description)

    scores = rca.evaluate(loaded.model, loaded.tokenizer, dataset, dataset.test, BATCH_SIZE)
    energy.record(
        quality={"accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "nll": scores.mean_nll},
        scores={"accuracy": scores.correct, "nll": scores.nll},
        example_ids=[example.id for example in dataset.test],
    )
