"""Inference: energy, latency and quality of every variant on root-cause analysis of fault tickets."""

from __future__ import annotations

import random
from collections import Counter
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
    energy: Any, variant: Variant, prepared: Callable[[str], PreparedModel], dataset: Dataset, device: str
) -> None:
    """One request is one ticket in, one cause out; a round answers a batch of them in one forward pass."""
    from energyaware.tasks import rca
    from energyaware.variants.layout import policy, redraw
    from energyaware.variants.load import load_variant
    from energyaware.work.counters import count

    model = prepared(variant.model)
    loaded = load_variant(model.source, variant, device)
    task = rca.rca_for(dataset, loaded.tokenizer)
    work = rca.workload(loaded.model, loaded.tokenizer, task, dataset.test, min(BATCH_SIZE, len(dataset.test)))
    counted = count(loaded.model, work)
    most_frequent = Counter(example.label for example in dataset.train).most_common(1)[0][0]
    energy.record(
        variant=variant,
        task=task.name,
        phase="inference",
        requests=work.requests,
        tokens_in=work.tokens_in,
        flops=counted.flops,
        weight_bytes=counted.weight_bytes,
        fingerprints={"dataset": dataset.fingerprint} | ({"weights": model.fingerprint} if model.fingerprint else {}),
        traits={"device": device, "weight dtype": loaded.weight_dtype, "compute dtype": loaded.compute_dtype},
        notes=(
            *dataset.notes,
            *loaded.notes,
            *((f"computes in {loaded.compute_dtype}",) if loaded.compute_dtype != loaded.weight_dtype else ()),
        ),
        trivial_quality={"accuracy": sum(item.label == most_frequent for item in dataset.test) / len(dataset.test)},
    )

    each_round = policy(loaded.model) == "every round"
    draw = random.Random(variant.id)
    if not each_round:
        redraw(loaded.model, draw)
    energy.pedantic(
        work,
        before_round=(lambda: redraw(loaded.model, draw)) if each_round else None,
        layout=f"redrawn {policy(loaded.model)}",
    )

    scores = rca.evaluate(loaded.model, loaded.tokenizer, dataset, dataset.test, BATCH_SIZE)
    energy.record(
        quality={"accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "nll": scores.mean_nll},
        scores={"accuracy": scores.correct, "nll": scores.nll},
        example_ids=[example.id for example in dataset.test],
    )
