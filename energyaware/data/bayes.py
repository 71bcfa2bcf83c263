"""The Bayes-optimal reader of the simulated tickets: nobody who sees the text only can do better.

The generator is known, so the posterior is computed by exact enumeration of what the text hides: the hub that failed
and the cause. See `energyaware.data.simulator.draw_incident` for the generator that this inverts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, perm

import numpy as np

from energyaware.data.network_text import Sighting, read
from energyaware.data.network_world import CAUSES, CODES, Vector, World
from energyaware.examples import Example


def posterior(text: str, world: World) -> Vector:
    """[causes] probability of each cause given the ticket's text."""
    return posterior_of_sighting(read(text, world), world)


def posterior_of_sighting(sighting: Sighting, world: World) -> Vector:
    """[causes] probability of each cause given what the ticket says."""
    joint = np.zeros(len(CAUSES))
    alarms = sighting.alarms
    for hub in sorted({world.hub_of[site] for site, _ in alarms}):
        strays = sum(world.hub_of[site] != hub for site, _ in alarms)
        if strays > 1 or strays == len(alarms):
            continue
        weight = _placement(strays, len(alarms), world)
        likelihood = weight * world.prior[hub] * world.clue[:, sighting.clue]
        for site, code in alarms:
            if world.hub_of[site] == hub:
                likelihood = likelihood * world.emission[hub, :, code]
        joint += likelihood
    total = joint.sum()
    if total == 0:
        raise ValueError("this ticket cannot come from this network")
    result: Vector = joint / total
    return result


def ceiling(examples: Sequence[Example], world: World) -> float:
    """Accuracy, in [0, 1], that the Bayes-optimal reader reaches on these tickets."""
    hits = [CAUSES[int(posterior(example.text, world).argmax())] == example.label for example in examples]
    return sum(hits) / len(hits)


@dataclass(frozen=True, slots=True)
class Bin:
    """How often statements of about the same probability come true.

    Attributes:
        low: smallest probability in this bin.
        high: largest.
        count: statements ("the cause is X") in it.
        said: mean probability said.
        true: share that came true.
        standard_error: of `true`, if `said` were right.
    """

    low: float
    high: float
    count: int
    said: float
    true: float
    standard_error: float


def reliability(examples: Sequence[Example], world: World, bins: int = 10) -> tuple[Bin, ...]:
    """Calibration of the posterior: its statements about every cause of every ticket, in bins of equal width.

    Empty bins are left out.
    """
    said = np.concatenate([posterior(example.text, world) for example in examples])
    true = np.concatenate([[cause == example.label for cause in CAUSES] for example in examples])
    place = np.minimum((said * bins).astype(int), bins - 1)
    found = []
    for index in range(bins):
        inside = place == index
        count = int(inside.sum())
        if count:
            p = said[inside]
            error = float(np.sqrt((p * (1 - p)).sum())) / count
            found.append(
                Bin(index / bins, (index + 1) / bins, count, float(p.mean()), float(true[inside].mean()), error)
            )
    return tuple(found)


def _placement(strays: int, alarms: int, world: World) -> float:
    """Probability of which alarms are strays and of the sites that show them, up to a factor common to all hubs."""
    inside = world.size.sites_per_hub
    outside = len(world.sites) - inside
    share = world.size.stray if strays else 1.0 - world.size.stray
    # A stray's code is uniform; its place among the alarms too.
    return share / comb(alarms, strays) / perm(inside, alarms - strays) / float(outside * len(CODES)) ** strays
