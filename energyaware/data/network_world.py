"""The fixed facts of the simulated network: who hangs on what, which equipment behaves how.

Nothing here is drawn per ticket. A reader who wants to name a cause has to know these facts by heart: a ticket tells
sites and alarm codes, never the hub above them, its equipment, its power feed or what a code means there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

CAUSES = (
    *("fiber", "board", "clock", "config", "optics", "radio", "software", "antenna"),
    *("mains", "battery", "rectifier", "fan"),
)
"""What can be wrong. The last `POWER_CAUSES` show themselves by the hub's power feed, the others by its equipment."""

POWER_CAUSES = 4

CODES = (
    *("los", "lof", "ais", "rdi", "ber", "lom", "eoc", "plm"),
    *("tim", "sync", "temp", "volt", "link", "card", "uneq", "slip"),
)

CLUES = ("storm", "works", "upgrade", "heat", "night", "frost", "audit", "nothing")

EQUIPMENT = ("tarn", "velo", "krox")

FEEDS = ("grid", "solar")

_PLACES = """
alder amber anvil apple arrow aspen bacon badge basil beach birch bison bloom brick brook cabin camel cedar chalk cliff
cloud clove coral crane crown daisy delta eagle ember falls ferry field finch flint forge gable glade globe grape
grove hazel heron holly ivory jetty kayak knoll lemon lilac linen lotus maple marsh mason melon mango north oasis ocean
olive onion opera orbit otter paddy panda pearl penny piano pilot plaza poppy quail quilt raven ridge robin sable sauna
shell spice stone sugar swift thyme tiger torch tower tulip vista wagon walnut wheat willow yacht zebra
"""


@dataclass(frozen=True)
class WorldSize:
    """How much there is to know.

    Attributes:
        hubs: aggregation nodes; each has equipment, a power feed and its own sites.
        sites_per_hub: sites that lose service when their hub fails.
        first_code: probability that an alarm shows the code most typical of cause and equipment.
        second_code: probability of the second most typical one; the rest is spread over all codes.
        clue_weight: probability that the ticket's clue is one that is typical of the cause.
        stray: probability that one of the alarms in a ticket comes from another hub and means nothing.
        prior_spread: concentration of the causes' prior per equipment (Dirichlet); small is uneven.
    """

    hubs: int = 4
    sites_per_hub: int = 5
    first_code: float = 0.64
    second_code: float = 0.32
    clue_weight: float = 0.6
    stray: float = 0.01
    prior_spread: float = 2.0


@dataclass(frozen=True, eq=False)
class World:
    """One network.

    Attributes:
        size: what it was drawn with.
        sites: names of all sites.
        hub_of: [sites] index of the hub above each site.
        equipment_of: [hubs] index into `EQUIPMENT`.
        feed_of: [hubs] index into `FEEDS`.
        prior: [hubs, causes] probability of each cause where this hub fails.
        emission: [hubs, causes, codes] probability of each code on an alarm of this hub.
        clue: [causes, clues] probability of each clue.
    """

    size: WorldSize
    sites: tuple[str, ...]
    hub_of: tuple[int, ...]
    equipment_of: tuple[int, ...]
    feed_of: tuple[int, ...]
    prior: Vector
    emission: Vector
    clue: Vector

    def sites_of(self, hub: int) -> tuple[int, ...]:
        """Indices of the sites below `hub`."""
        return tuple(site for site, above in enumerate(self.hub_of) if above == hub)


def build_world(seed: int, size: WorldSize | None = None) -> World:
    """Draw a network. The same seed and size always give the same one."""
    size = size or WorldSize()
    rng = np.random.default_rng([seed, 0x6E6574])
    names = [*_PLACES.split()]
    count = size.hubs * size.sites_per_hub
    if count > len(names):
        raise ValueError(f"{count} sites wanted, {len(names)} names known")
    sites = tuple(str(name) for name in rng.permutation(names)[:count])
    hub_of = tuple(site % size.hubs for site in range(count))
    equipment_of = tuple(int(i) for i in rng.permutation([hub % len(EQUIPMENT) for hub in range(size.hubs)]))
    feed_of = tuple(int(i) for i in rng.permutation([hub % len(FEEDS) for hub in range(size.hubs)]))
    transport = len(CAUSES) - POWER_CAUSES
    by_equipment = _emissions(rng, len(EQUIPMENT), transport, size)
    by_feed = _emissions(rng, len(FEEDS), POWER_CAUSES, size)
    emission = np.stack(
        [np.concatenate([by_equipment[e], by_feed[f]]) for e, f in zip(equipment_of, feed_of, strict=True)]
    )
    prior_by_equipment = rng.dirichlet(np.full(len(CAUSES), size.prior_spread), size=len(EQUIPMENT))
    prior = prior_by_equipment[list(equipment_of)]
    return World(size, sites, hub_of, equipment_of, feed_of, prior, emission, _clues(rng, size))


def _emissions(rng: np.random.Generator, kinds: int, causes: int, size: WorldSize) -> Vector:
    """[kinds, causes, codes]: every kind uses the same codes for other causes, so a code alone says little."""
    rest = 1.0 - size.first_code - size.second_code
    table = np.full((kinds, causes, len(CODES)), rest / len(CODES))
    for kind in range(kinds):
        first = rng.permutation(len(CODES))[:causes]
        for cause in range(causes):
            second = rng.choice([code for code in range(len(CODES)) if code != first[cause]])
            table[kind, cause, first[cause]] += size.first_code
            table[kind, cause, second] += size.second_code
    return table


def _clues(rng: np.random.Generator, size: WorldSize) -> Vector:
    """[causes, clues]: each cause has two typical clues."""
    table = np.full((len(CAUSES), len(CLUES)), (1.0 - size.clue_weight) / len(CLUES))
    for cause in range(len(CAUSES)):
        for clue in rng.choice(len(CLUES), size=2, replace=False):
            table[cause, clue] += size.clue_weight / 2
    return table
