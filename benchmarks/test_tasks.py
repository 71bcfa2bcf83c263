"""Tasks beside `rca`: those answered in words on the simulated network, and the one that `--energy-data` is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.examples import Dataset
from energyaware.pytest_plugin import config_of
from energyaware.records import Variant

if TYPE_CHECKING:
    from energyaware.variants.load import LoadedVariant
    from energyaware.variants.prepare import PreparedModel

BATCH_SIZE = 16
TASKS = ("response", "generation", "qa", "summarization")


def tasks_of(config: pytest.Config) -> tuple[str, ...]:
    """The task of the user's data, unless it is `rca`, and in the full suite those of the simulated network."""
    from benchmarks.conftest import task_of_data
    from energyaware.examples import RCA

    own = task_of_data(config)
    names = (own,) if own != RCA else ()
    return (*names, *(name for name in TASKS if name != own)) if config_of(config).suite == "full" else names


def grid_of(config: pytest.Config) -> list[tuple[str, Variant]]:
    """Each task with each of its variants; all tasks of a variant run together.

    Recovered prunings learnt the data of `--energy-data`, so these alone are asked of them.
    """
    from benchmarks.conftest import task_of_data, variants_of
    from energyaware.variants.grid import RECOVERED

    return [
        (task, variant)
        for variant in variants_of(config)
        for task in tasks_of(config)
        if task == task_of_data(config) or not variant.pruning.endswith(RECOVERED)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark here its grid: none in the quick suite on data for `rca`."""
    grid = grid_of(metafunc.config)
    skip = pytest.mark.skip(reason="written answers are metered by --energy-suite=full")
    metafunc.parametrize(
        ("task_name", "task_variant"),
        grid or [pytest.param(None, None, marks=skip)],
        ids=[f"{variant.id}-{task}" for task, variant in grid] or ["full-suite-only"],
    )


@pytest.mark.energy(group="inference", candle="small-ops")
@pytest.mark.usefixtures("collected_garbage")
def test_task(
    energy: Any,
    task_name: str,
    task_variant: Variant,
    dataset: Dataset,
    prepared: Callable[[str], PreparedModel],
    prepared_for_tasks: Callable[[str], PreparedModel],
    task_datasets: Mapping[str, Dataset],
    device: str,
    load: Callable[[PreparedModel, Variant, Dataset], LoadedVariant],
) -> None:
    """One request is one prompt in, one answer out: written at its natural length, or chosen; a round is a batch."""
    from energyaware.data.features import mean_features
    from energyaware.tasks.base import fit_task
    from energyaware.tasks.encoding import cut_notes, middle_examples
    from energyaware.tasks.evaluation import evaluate
    from energyaware.tasks.registry import find_task
    from energyaware.tasks.trivial import trivial_quality
    from energyaware.tasks.workload import make_workload
    from energyaware.variants.row import plan_layout, row_facts
    from energyaware.work.counters import count

    own = task_name == dataset.task
    dataset = dataset if own else task_datasets[task_name]
    model = (prepared if own else prepared_for_tasks)(task_variant.model)
    loaded = load(model, task_variant, dataset)
    task = fit_task(find_task(task_name), dataset, loaded.tokenizer)
    size = min(BATCH_SIZE, len(dataset.test))
    work = make_workload(loaded.model, loaded.tokenizer, task, dataset.test, size)
    counted = count(loaded.model, work)
    facts = row_facts(loaded, model, dataset, device)
    energy.record(
        **facts,
        task=task.name,
        phase="inference",
        requests=work.requests,
        tokens_in=work.tokens_in,
        tokens_out=work.tokens_out,
        flops=counted.flops,
        weight_bytes=counted.weight_bytes,
        kv_bytes=counted.kv_bytes,
        read_bytes=counted.read_bytes,
        trivial_quality=trivial_quality(task, dataset, loaded.tokenizer),
    )
    energy.record(features=mean_features(map(task.prompt, middle_examples(task, dataset.test, size))))
    layout = plan_layout(loaded.model, task_variant.id)
    energy.pedantic(work, before_round=layout.before_round, layout=layout.description)

    scores = evaluate(loaded.model, loaded.tokenizer, task, dataset.test, BATCH_SIZE)
    energy.record(quality=scores.quality, scores=scores.per_example, example_ids=scores.example_ids)
    energy.record(notes=(*facts["notes"], *cut_notes(loaded.model, scores.truncated, len(dataset.test))))
