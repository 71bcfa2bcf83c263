"""How an incident becomes a ticket, and how a ticket is read back. All rendering lives here.

Wording and spelling are drawn without looking at the cause, and reading back is exact: a typo keeps the identity of its
word. So a ticket carries exactly what `read` returns, and the posterior given the text needs no more than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from energyaware.data.network_world import CLUES, CODES, EQUIPMENT, FEEDS, World

TYPO_RATE = 0.015
"""Probability that an operator misspells a site."""

_INVENTORY = frozenset({*EQUIPMENT, *FEEDS})
_OPENINGS = ("noc :", "night shift :", "please check ,", "alarm :", "field team :", "customer calls ,")
_JOINTS = (",", "then", "and", "also")
_CLUE_PHRASES: Mapping[str, str] = MappingProxyType(
    {
        "storm": "after storm",
        "works": "road works nearby",
        "upgrade": "after upgrade",
        "heat": "hot day",
        "night": "since last night",
        "frost": "hard frost",
        "audit": "during audit",
        "nothing": "no reason known",
    }
)


@dataclass(frozen=True)
class Sighting:
    """What a ticket says: (site, code) index pairs in the order told, and the clue's index."""

    alarms: tuple[tuple[int, int], ...]
    clue: int


def render(sighting: Sighting, world: World, rng: np.random.Generator, *, inventory: bool = False) -> str:
    """Write the ticket's text; `rng` draws wording and typos only.

    Args:
        inventory: name, after each site, the equipment and power feed of its hub, as a thorough operator does.
    """
    words = [_one(rng, _OPENINGS)]
    for position, (site, code) in enumerate(sighting.alarms):
        if position:
            words.append(_one(rng, _JOINTS))
        name = world.sites[site]
        if rng.random() < TYPO_RATE:
            name = _one(rng, misspellings(name))
        words.append(name)
        if inventory:
            hub = world.hub_of[site]
            words += [EQUIPMENT[world.equipment_of[hub]], FEEDS[world.feed_of[hub]]]
        words.append(CODES[code])
    words.append(_CLUE_PHRASES[CLUES[sighting.clue]])
    return " ".join(words).replace(" ,", ",").replace(" :", ":")


def read(text: str, world: World) -> Sighting:
    """The exact inverse of `render`.

    Raises:
        ValueError: `text` was not written by `render` with this world.
    """
    known = _spellings(world.sites)
    words = [word for word in text.replace(",", " ").replace(":", " ").split() if word not in _INVENTORY]
    alarms = [
        (known[word], CODES.index(follower))
        for word, follower in pairwise(words)
        if word in known and follower in CODES
    ]
    clues = [clue for clue, phrase in _CLUE_PHRASES.items() if text.endswith(phrase)]
    if not alarms or len(clues) != 1:
        raise ValueError(f"not a ticket of this network: {text!r}")
    return Sighting(tuple(alarms), CLUES.index(clues[0]))


def misspellings(name: str) -> tuple[str, ...]:
    """The two ways in which operators misspell a name: a letter left out, or two letters swapped."""
    middle = len(name) // 2
    dropped = name[:middle] + name[middle + 1 :]
    swapped = name[: middle - 1] + name[middle] + name[middle - 1] + name[middle + 1 :]
    return dropped, swapped


def _one(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


@lru_cache(maxsize=16)
def _spellings(sites: tuple[str, ...]) -> Mapping[str, int]:
    """Every way to write a site, and which site it is."""
    spellings: dict[str, int] = {}
    for index, name in enumerate(sites):
        for spelling in (name, *misspellings(name)):
            if spellings.setdefault(spelling, index) != index:
                raise ValueError(f"{spelling!r} spells two sites")
    return MappingProxyType(spellings)
