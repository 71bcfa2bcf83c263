"""More facts of the simulated network, those that only written answers need: crews, repairs, the way faults spread.

Like everything in `network_world` they are fixed, never drawn per ticket; a model has to learn them by heart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from energyaware.data.network_world import CAUSES, POWER_CAUSES, World

T = TypeVar("T")

CREWS = ("red", "blue", "green", "white", "black", "gold")

REPAIRS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fiber": ("spliced the cable", "cleaned the connector", "moved traffic to the ring"),
        "board": ("swapped the line unit", "reseated the line unit", "reset the shelf"),
        "clock": ("replaced the oscillator", "switched to the second reference", "restarted the timing unit"),
        "config": ("restored the last backup", "corrected the vlan table", "reloaded the profile"),
        "optics": ("replaced the transceiver", "attenuated the input", "cleaned the lens"),
        "radio": ("replaced the outdoor unit", "changed the channel", "lowered the modulation"),
        "software": ("rolled back the release", "patched the release", "rebooted the controller"),
        "antenna": ("realigned the dish", "tightened the mount", "replaced the cable"),
        "mains": ("closed the breaker", "switched to the generator"),
        "battery": ("replaced the cells", "charged the cells"),
        "rectifier": ("swapped the converter", "raised the float level"),
        "fan": ("replaced the blower", "cleaned the filter"),
    }
)
"""What may be done about each cause: as many repairs as there are kinds of equipment, for power causes of feeds."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What the network's people know.

    Attributes:
        world: the network.
        crew_of: [hubs] name of the crew that looks after each hub.
        repair: [hubs][causes] what is done there about each cause; it follows from the hub's equipment or power feed.
        order: [hubs] the sites below each hub, in the order in which a fault reaches them.
        delay_min: [sites] minutes that a fault takes to reach each site after the one before.
    """

    world: World
    crew_of: tuple[str, ...]
    repair: tuple[tuple[str, ...], ...]
    order: tuple[tuple[int, ...], ...]
    delay_min: tuple[int, ...]


def build_facts(world: World, seed: int) -> Facts:
    """Draw the facts of `world`. The same seed always gives the same ones."""
    rng = np.random.default_rng([seed, 0x66616374])
    hubs = range(world.size.hubs)
    crews = [CREWS[hub % len(CREWS)] for hub in hubs]
    by_kind = [[str(repair) for repair in rng.permutation(REPAIRS[cause])] for cause in CAUSES]
    repair = []
    for hub in hubs:
        kinds = [world.equipment_of[hub]] * (len(CAUSES) - POWER_CAUSES) + [world.feed_of[hub]] * POWER_CAUSES
        repair.append(tuple(options[kind] for options, kind in zip(by_kind, kinds, strict=True)))
    return Facts(
        world=world,
        crew_of=tuple(str(crew) for crew in rng.permutation(crews)),
        repair=tuple(repair),
        order=tuple(tuple(int(site) for site in rng.permutation(world.sites_of(hub))) for hub in hubs),
        delay_min=tuple(int(delay) for delay in rng.integers(1, 5, size=len(world.sites))),
    )


def one_of(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of them, all equally likely; the types of the options are kept, unlike by `rng.choice`."""
    return options[int(rng.integers(len(options)))]
