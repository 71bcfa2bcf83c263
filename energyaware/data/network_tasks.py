"""The embedded data of the tasks with written answers, all about the simulated network of the embedded corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from energyaware.data.network_facts import Facts, build_facts
from energyaware.data.network_text import Sighting, read, render
from energyaware.data.network_threads import log_pair, summary_pair
from energyaware.data.network_tickets import question_pair, response_pair
from energyaware.data.network_world import build_world
from energyaware.data.simulator import Incident, draw_incident, network_corpus
from energyaware.data.splits import fingerprint
from energyaware.examples import Dataset, Example

Fault = tuple[tuple[tuple[int, int], ...], int]
"""What tells two faults apart: their alarms, sorted, and the clue."""


def network_tasks(seed: int = 0, train: int = 3000, validation: int = 200, test: int = 300) -> Mapping[str, Dataset]:
    """Draw the datasets of `response`, `generation`, `qa` and `summarization`, by name.

    They tell of the same network as `network_corpus(seed)`, and everything follows from `seed`. Within a task no fault
    (its alarms and clue) comes up twice, so splits share no ticket; nor does one that a validation or test ticket of
    the corpus tells, whose cause would be given away.
    """
    world = build_world(seed)
    facts = build_facts(world, seed)
    corpus = network_corpus(seed, train=0)
    told = {_fault(read(example.text, world)) for example in (*corpus.validation, *corpus.test)}
    sizes = {"test": test, "validation": validation, "train": train}
    return {task: _dataset(task, facts, seed, sizes, told) for task in _WRITERS}


def _dataset(task: str, facts: Facts, seed: int, sizes: Mapping[str, int], told: set[Fault]) -> Dataset:
    seen: set[Fault | str] = {*told}
    # Test first: its examples do not depend on the sizes of the others.
    splits = {split: _draw(task, facts, seed, split, count, seen) for split, count in sizes.items()}
    train, validation, test = splits["train"], splits["validation"], splits["test"]
    return Dataset(
        name=f"network-{task}",
        fingerprint=fingerprint(train, validation, test),
        labels=(),
        train=train,
        validation=validation,
        test=test,
        task=task,
    )


def _draw(task: str, facts: Facts, seed: int, split: str, count: int, seen: set[Fault | str]) -> tuple[Example, ...]:
    """`count` examples whose faults and texts are not `seen` yet; afterwards they are."""
    rng = np.random.default_rng([seed, *f"{task}-{split}".encode()])
    examples: list[Example] = []
    while len(examples) < count:
        incident = draw_incident(facts.world, rng)
        fault = _fault(incident.sighting)
        name = f"{task}-{split}-{len(examples):06d}"
        example = _WRITERS[task](name, incident, facts, rng)
        if fault not in seen and example.text not in seen:
            seen |= {fault, example.text}
            examples.append(example)
    return tuple(examples)


def _fault(sighting: Sighting) -> Fault:
    return tuple(sorted(sighting.alarms)), sighting.clue


def _response(name: str, incident: Incident, facts: Facts, rng: np.random.Generator) -> Example:
    text, label = response_pair(incident, facts, rng)
    return Example(name, text, label, group=name)


def _generation(name: str, incident: Incident, facts: Facts, rng: np.random.Generator) -> Example:
    text, label = log_pair(incident, facts, rng)
    return Example(name, text, label, group=name)


def _qa(name: str, incident: Incident, facts: Facts, rng: np.random.Generator) -> Example:
    text = render(incident.sighting, facts.world, rng)
    question, label = question_pair(incident, facts, rng)
    return Example(name, text, label, group=name, question=question)


def _summarization(name: str, incident: Incident, facts: Facts, rng: np.random.Generator) -> Example:
    text, label = summary_pair(incident, facts, rng)
    return Example(name, text, label, group=name)


_WRITERS: Mapping[str, Callable[[str, Incident, Facts, np.random.Generator], Example]] = {
    "response": _response,
    "generation": _generation,
    "qa": _qa,
    "summarization": _summarization,
}
