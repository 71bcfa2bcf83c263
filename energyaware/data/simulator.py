"""The embedded corpus: faults in a simulated mobile and transport network, told by operators in short tickets.

A hub fails for one cause. Sites below it raise alarms, whose codes depend on the cause and on the hub's equipment (or,
for power faults, on its power feed). A ticket names two or three sites with their codes and a clue; sometimes one of
the alarms is a stray from elsewhere. To name the cause a reader must go from sites to their common hub, from the hub to
its equipment and feed, and from these to what the codes mean there: facts that only the training tickets teach. Some of
those name equipment and feed beside the site; tickets for validation and test never do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from energyaware.data import bayes
from energyaware.data.network_text import Sighting, render
from energyaware.data.network_world import CAUSES, CODES, Vector, World, build_world
from energyaware.data.splits import fingerprint
from energyaware.examples import Dataset, Example

NAME = "network"

INVENTORY_SHARE = 0.5
"""Share of the training tickets that name equipment and power feed beside each site."""


@dataclass(frozen=True)
class Incident:
    """The truth behind one ticket; all indices point into the world's tables.

    Attributes:
        cause: into `CAUSES`.
        hub: the hub that failed.
        alarms: (site, code) in the order in which the operator tells them.
        stray: position in `alarms` of the one that has nothing to do with the fault, or None.
        clue: into `energyaware.data.network_world.CLUES`.
    """

    cause: int
    hub: int
    alarms: tuple[tuple[int, int], ...]
    stray: int | None
    clue: int

    @property
    def sighting(self) -> Sighting:
        """What of this a ticket tells."""
        return Sighting(self.alarms, self.clue)


def draw_incident(world: World, rng: np.random.Generator) -> Incident:
    """Draw hub, cause, clue, the number of alarms, whether one is a stray, then sites and codes."""
    hub = int(rng.integers(world.size.hubs))
    cause = _pick(rng, world.prior[hub])
    clue = _pick(rng, world.clue[cause])
    count = 2 + int(rng.integers(2))
    stray = int(rng.integers(count)) if rng.random() < world.size.stray else None
    inside = rng.permutation(world.sites_of(hub))
    alarms = []
    for position in range(count):
        if position == stray:
            alarms.append((_elsewhere(world, hub, rng), int(rng.integers(len(CODES)))))
        else:
            alarms.append((int(inside[position]), _pick(rng, world.emission[hub, cause])))
    return Incident(cause, hub, tuple(alarms), stray, clue)


def draw_tickets(
    world: World,
    seed: int,
    count: int,
    name: str,
    avoid: Collection[str] = frozenset(),
    inventory: float = 0.0,
) -> tuple[Example, ...]:
    """Draw `count` tickets, no two of the same text.

    Args:
        seed: of the tickets; the world has its own.
        name: begins the ids.
        avoid: texts that must not come up.
        inventory: share of the tickets that name equipment and power feed beside each site.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    seen = set(avoid)
    examples: list[Example] = []
    while len(examples) < count:
        incident = draw_incident(world, rng)
        text = render(incident.sighting, world, rng, inventory=rng.random() < inventory)
        if text not in seen:
            seen.add(text)
            ticket = f"{name}-{len(examples):06d}"
            examples.append(Example(id=ticket, text=text, label=CAUSES[incident.cause], group=ticket))
    return tuple(examples)


def network_corpus(seed: int = 0, train: int = 14_080, validation: int = 400, test: int = 400) -> Dataset:
    """Draw the corpus. The network and every ticket follow from `seed`; no two tickets have the same text.

    `ceiling` is the accuracy that the Bayes-optimal reader reaches on the very tickets of the test split.
    """
    world = build_world(seed)
    # Each split has a random stream of its own, so that its tickets hardly depend on the sizes of the others.
    test_split = draw_tickets(world, seed, test, "test")
    seen = {example.text for example in test_split}
    validation_split = draw_tickets(world, seed, validation, "validation", seen)
    seen |= {example.text for example in validation_split}
    train_split = draw_tickets(world, seed, train, "train", seen, INVENTORY_SHARE)
    return Dataset(
        name=NAME,
        fingerprint=fingerprint(train_split, validation_split, test_split),
        labels=CAUSES,
        train=train_split,
        validation=validation_split,
        test=test_split,
        ceiling=bayes.ceiling(test_split, world) if test_split else None,
    )


def _pick(rng: np.random.Generator, probabilities: Vector) -> int:
    """Draw an index; many times faster than `rng.choice` for a single draw."""
    index = int(probabilities.cumsum().searchsorted(rng.random(), side="right"))
    return min(index, len(probabilities) - 1)


def _elsewhere(world: World, hub: int, rng: np.random.Generator) -> int:
    """A site below any other hub."""
    while True:
        site = int(rng.integers(len(world.sites)))
        if world.hub_of[site] != hub:
            return site
