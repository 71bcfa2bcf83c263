"""Tickets with feedback, and questions on tickets. Every reference is a fact of the simulated network."""

from __future__ import annotations

import numpy as np

from energyaware.data.network_facts import Facts, one_of
from energyaware.data.network_text import render
from energyaware.data.network_world import CAUSES, CODES, EQUIPMENT, FEEDS
from energyaware.data.simulator import Incident

DIAGNOSED_SHARE = 0.7
"""Share of the tickets for `response` that name the cause; in the others it has to be inferred from the alarms."""

_DIAGNOSES = ("tech says {}", "looks like {}", "found bad {}", "diagnosis {}")
_NUMBERS = ("none", "one", "two", "three", "four")


def response_pair(incident: Incident, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """A ticket and its feedback: who did what, at the first site below the hub that failed.

    Crew and repair stand nowhere in the ticket: they follow from the hub, its equipment or feed, and the cause.
    """
    text = render(incident.sighting, facts.world, rng)
    if rng.random() < DIAGNOSED_SHARE:
        text = f"{text}, {one_of(rng, _DIAGNOSES).format(CAUSES[incident.cause])}"
    site = facts.world.sites[sites_hit(incident, facts)[0]]
    hub = incident.hub
    return text, f"{facts.crew_of[hub]} crew {facts.repair[hub][incident.cause]} at {site}"


def question_pair(incident: Incident, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """A question on the incident's ticket and its answer. Half of the kinds ask for what the ticket says, the other
    half for what only training can have taught: equipment, power feed, crew and neighbours of a site.
    """
    kind = one_of(rng, ("code", "site", "count", "sites", "equipment", "feed", "crew", "hub"))
    world, alarms = facts.world, incident.alarms
    site, code = alarms[int(rng.integers(len(alarms)))]
    name, hub = world.sites[site], world.hub_of[site]
    if kind == "code":
        return one_of(rng, (f"which code did {name} show?", f"what did {name} report?")), CODES[code]
    if kind == "site":
        found = ", ".join(world.sites[other] for other, shown in alarms if shown == code)
        return one_of(rng, (f"where was {CODES[code]} seen?", f"who reported {CODES[code]}?")), found
    if kind == "count":
        return one_of(rng, ("how many alarms?", "how many sites are hit?")), _NUMBERS[len(alarms)]
    if kind == "sites":
        found = ", ".join(world.sites[other] for other, _ in alarms)
        return one_of(rng, ("which sites are hit?", "list the sites")), found
    if kind == "equipment":
        answer = EQUIPMENT[world.equipment_of[hub]]
        return one_of(rng, (f"which equipment serves {name}?", f"what hardware is above {name}?")), answer
    if kind == "feed":
        answer = FEEDS[world.feed_of[hub]]
        return one_of(rng, (f"which power feed serves {name}?", f"what powers {name}?")), answer
    if kind == "crew":
        return one_of(rng, (f"which crew looks after {name}?", f"who goes to {name}?")), facts.crew_of[hub]
    below = [other for other in world.sites_of(hub) if other != site]
    far = [other for other in range(len(world.sites)) if world.hub_of[other] != hub]
    same = rng.random() < 0.5
    other = world.sites[one_of(rng, below if same else far)]
    return f"do {name} and {other} hang on one hub?", "yes" if same else "no"


def sites_hit(incident: Incident, facts: Facts) -> list[int]:
    """The sites of the alarms that the fault explains, in the order told."""
    return [site for site, _ in incident.alarms if facts.world.hub_of[site] == incident.hub]
