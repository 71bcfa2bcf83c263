"""Threads of messages about a fault with their summaries, and logs of a fault with how they went on."""

from __future__ import annotations

import numpy as np

from energyaware.data.network_facts import Facts, one_of
from energyaware.data.network_tickets import sites_hit
from energyaware.data.network_world import CAUSES, CODES
from energyaware.data.simulator import Incident

SUSPECTED_SHARE = 0.5
"""Share of the threads in which a wrong cause is named first."""

TOLD_SHARE = 0.5
"""Share of the threads that say what was done; in the others it follows from cause and equipment."""

SOLVED_SHARE = 0.75

ROUTINE_SHARE = 0.2
"""Probability that an alarm in a log is followed by a routine message of some other site."""

_CHATTER = (
    "desk: the coffee machine is broken again.",
    "desk: who has the keys of the van?",
    "boss: reports are due on friday.",
    "desk: lunch is at noon.",
    "tech: traffic is slow today.",
    "desk: new badges from monday.",
    "boss: welcome to our new colleague.",
    "desk: please park behind the depot.",
)


def summary_pair(incident: Incident, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """A thread and its summary: cause, sites, crew, repair, and whether the fault is gone.

    An alarm from elsewhere and a wrong suspicion do not belong into the summary. The crew is never told.
    """
    world, cause = facts.world, CAUSES[incident.cause]
    repair, crew = facts.repair[incident.hub][incident.cause], facts.crew_of[incident.hub]
    messages = [
        f"noc: {world.sites[site]} {one_of(rng, ('shows', 'reports', 'has'))} {CODES[code]}."
        for site, code in incident.alarms
    ]
    if rng.random() < SUSPECTED_SHARE:
        wrong = one_of(rng, [other for other in CAUSES if other != cause])
        messages.append(f"tech: {one_of(rng, ('could be', 'maybe', 'i suspect'))} {wrong}.")
        messages.append(f"tech: no, {one_of(rng, ('it is', 'found'))} {cause}.")
    else:
        messages.append(f"tech: {one_of(rng, ('it is', 'found', 'clearly'))} {cause}.")
    messages.append(f"tech: {repair}." if rng.random() < TOLD_SHARE else "tech: we took care of it.")
    solved = rng.random() < SOLVED_SHARE
    messages.append("noc: all clear." if solved else "noc: alarms are back, keep it open.")
    for chatter in rng.permutation(len(_CHATTER))[: 1 + int(rng.integers(2))]:
        messages.insert(1 + int(rng.integers(len(messages))), _CHATTER[chatter])
    sites = " and ".join(world.sites[site] for site in sites_hit(incident, facts))
    return " ".join(messages), f"{cause} at {sites}, {crew} crew {repair}, {'solved' if solved else 'open'}"


def log_pair(incident: Incident, facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """The beginning of a log and how it goes on: alarms as the fault spreads, then crew, repair and clearing.

    Each entry begins with the minute of the hour. Sites are reached in the order and after the delays of `facts`.
    """
    world, hub = facts.world, incident.hub
    below = facts.order[hub]
    count = min(len(below), 3 + int(rng.integers(2)))
    hit = sorted(rng.permutation(len(below))[:count])
    minute = int(rng.integers(60))
    beginning: list[str] = []
    for place in hit:
        site = below[place]
        minute += facts.delay_min[site]
        code = rng.choice(len(CODES), p=world.emission[hub, incident.cause])
        beginning.append(_entry(minute, f"{world.sites[site]} {CODES[code]}"))
        if rng.random() < ROUTINE_SHARE:
            beginning.append(_entry(minute, f"{one_of(rng, world.sites)} ok"))
    minute += 5 + int(rng.integers(3))
    rest = [_entry(minute, f"{facts.crew_of[hub]} crew at {world.sites[below[hit[0]]]}")]
    minute += 3 + incident.cause
    rest.append(_entry(minute, facts.repair[hub][incident.cause]))
    for place in hit:
        minute += facts.delay_min[below[place]]
        rest.append(_entry(minute, f"{world.sites[below[place]]} clear"))
    return " ".join(beginning), " ".join([*rest, "closed"])


def _entry(minute: int, what: str) -> str:
    return f"{minute % 60:02d} {what}"
