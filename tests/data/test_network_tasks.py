from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data.network_facts import CREWS, REPAIRS, build_facts
from energyaware.data.network_tasks import network_tasks
from energyaware.data.network_text import misspellings, read
from energyaware.data.network_threads import log_pair, summary_pair
from energyaware.data.network_tickets import question_pair, response_pair, sites_hit
from energyaware.data.network_world import CAUSES, CODES, EQUIPMENT, FEEDS, POWER_CAUSES, build_world
from energyaware.data.simulator import draw_incident, network_corpus

NAMES = {"response", "generation", "qa", "summarization"}
SEEDS = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def facts():
    return build_facts(build_world(0), 0)


@pytest.fixture(scope="module")
def datasets():
    return network_tasks(0, train=300, validation=40, test=60)


def splits(dataset):
    return dataset.train, dataset.validation, dataset.test


def test_one_dataset_for_each_written_task(datasets):
    assert set(datasets) == NAMES
    for name, dataset in datasets.items():
        assert dataset.task == name
        assert dataset.name == f"network-{name}"
        assert [len(split) for split in splits(dataset)] == [300, 40, 60]
        assert dataset.labels == ()
        assert all(example.label and example.text for split in splits(dataset) for example in split)


def test_same_seed_same_data(datasets):
    again = network_tasks(0, train=300, validation=40, test=60)
    assert dict(again) == dict(datasets)


def test_another_seed_another_network_and_other_data(datasets):
    other = network_tasks(1, train=30, validation=4, test=6)
    assert all(other[name].fingerprint != datasets[name].fingerprint for name in NAMES)
    assert {example.text for example in other["qa"].test}.isdisjoint(example.text for example in datasets["qa"].test)


def test_the_test_split_does_not_depend_on_the_others(datasets):
    fewer = network_tasks(0, train=20, validation=5, test=60)
    assert all(fewer[name].test == datasets[name].test for name in NAMES)


def test_splits_share_no_ticket(datasets):
    for dataset in datasets.values():
        everything = [example for split in splits(dataset) for example in split]
        assert len({example.text for example in everything}) == len(everything)
        assert len({example.group for example in everything}) == len(everything)
        assert len({example.id for example in everything}) == len(everything)


def test_no_question_gives_away_a_test_ticket_of_the_corpus(datasets):
    world = build_world(0)
    corpus = network_corpus(0, train=0)
    held_back = {
        (tuple(sorted(sighting.alarms)), sighting.clue)
        for sighting in (read(example.text, world) for example in (*corpus.validation, *corpus.test))
    }
    for split in splits(datasets["qa"]):
        for example in split:
            sighting = read(example.text, world)
            assert (tuple(sorted(sighting.alarms)), sighting.clue) not in held_back


def test_texts_are_short(datasets):
    for dataset in datasets.values():
        assert max(len(f"{e.text} {e.question}".split()) for e in dataset.train) <= 60
        assert max(len(e.label.split()) for e in dataset.train) <= 24


def test_every_cause_has_a_repair_for_every_kind_and_names_stay_apart(facts):
    assert set(REPAIRS) == set(CAUSES)
    for place, cause in enumerate(CAUSES):
        kinds = FEEDS if place >= len(CAUSES) - POWER_CAUSES else EQUIPMENT
        assert len(set(REPAIRS[cause])) == len(kinds)
    for seed in range(20):
        sites = build_world(seed).sites
        spellings = {spelling for name in sites for spelling in (name, *misspellings(name))}
        assert not spellings & {
            *CREWS,
            *(word for options in REPAIRS.values() for each in options for word in each.split()),
        }


def test_equal_equipment_gets_equal_repairs(facts):
    world = facts.world
    transport = len(CAUSES) - POWER_CAUSES
    for one in range(world.size.hubs):
        for other in range(world.size.hubs):
            if world.equipment_of[one] == world.equipment_of[other]:
                assert facts.repair[one][:transport] == facts.repair[other][:transport]
            if world.feed_of[one] == world.feed_of[other]:
                assert facts.repair[one][transport:] == facts.repair[other][transport:]
    assert len({repairs[0] for repairs in facts.repair}) == len({*world.equipment_of})


@given(seed=SEEDS)
def test_a_response_follows_from_cause_hub_and_site(facts, seed):
    rng = np.random.default_rng(seed)
    incident = draw_incident(facts.world, rng)
    _, label = response_pair(incident, facts, rng)
    crew, _, rest = label.partition(" crew ")
    repair, _, site = rest.rpartition(" at ")
    assert crew == facts.crew_of[incident.hub]
    assert repair == facts.repair[incident.hub][incident.cause]
    assert facts.world.hub_of[facts.world.sites.index(site)] == incident.hub


def test_most_but_not_all_tickets_with_feedback_name_the_cause(datasets):
    named = sum(any(word in CAUSES for word in e.text.split()) for e in datasets["response"].train) / 300
    assert 0.6 < named < 0.8


def reader(text, question, facts):
    """What someone who knows the network answers to a question on a ticket, had from the words alone."""
    world = facts.world
    alarms = read(text, world).alarms
    words = question.rstrip("?").split()
    named = [world.sites.index(word) for word in words if word in world.sites]
    if "hang" in words:
        return "yes" if world.hub_of[named[0]] == world.hub_of[named[1]] else "no"
    codes = [CODES.index(word) for word in words if word in CODES]
    if codes:
        return ", ".join(world.sites[site] for site, code in alarms if code == codes[0])
    if not named:
        listed = ", ".join(world.sites[site] for site, _ in alarms)
        return {"how": {2: "two", 3: "three"}[len(alarms)]}.get(words[0], listed)
    hub = world.hub_of[named[0]]
    known = {
        "equipment": EQUIPMENT[world.equipment_of[hub]],
        "hardware": EQUIPMENT[world.equipment_of[hub]],
        "feed": FEEDS[world.feed_of[hub]],
        "powers": FEEDS[world.feed_of[hub]],
        "crew": facts.crew_of[hub],
        "goes": facts.crew_of[hub],
    }
    return next((answer for word, answer in known.items() if word in words), CODES[dict(alarms).get(named[0], 0)])


def test_every_question_has_one_answer_that_follows_from_ticket_and_network(datasets, facts):
    for example in datasets["qa"].train:
        assert reader(example.text, example.question, facts) == example.label


def test_all_kinds_of_questions_come_up(datasets):
    starts = Counter(" ".join(example.question.split()[:2]) for example in datasets["qa"].train)
    assert len(starts) >= 12
    answers = Counter(example.label for example in datasets["qa"].train)
    assert answers.most_common(1)[0][1] < 0.2 * 300


@given(seed=SEEDS)
def test_questions_are_answered_from_the_incident(facts, seed):
    rng = np.random.default_rng(seed)
    incident = draw_incident(facts.world, rng)
    question, answer = question_pair(incident, facts, rng)
    assert question
    assert answer
    assert answer not in question.rstrip("?").split()


@given(seed=SEEDS)
def test_a_summary_tells_the_facts_and_not_what_was_suspected(facts, seed):
    rng = np.random.default_rng(seed)
    incident = draw_incident(facts.world, rng)
    thread, summary = summary_pair(incident, facts, rng)
    where, done, state = summary.split(", ")
    cause, _, sites = where.partition(" at ")
    assert cause == CAUSES[incident.cause]
    assert sites.split(" and ") == [facts.world.sites[site] for site in sites_hit(incident, facts)]
    assert done == f"{facts.crew_of[incident.hub]} crew {facts.repair[incident.hub][incident.cause]}"
    assert state == ("solved" if "all clear" in thread else "open")
    assert cause in thread
    assert f"{facts.crew_of[incident.hub]} crew" not in thread


@given(seed=SEEDS)
def test_a_log_goes_through_the_hub_in_order_and_clears_the_same_way(facts, seed):
    rng = np.random.default_rng(seed)
    incident = draw_incident(facts.world, rng)
    beginning, rest = log_pair(incident, facts, rng)
    world = facts.world
    words = beginning.split()
    entries = list(zip(words[::3], words[1::3], words[2::3], strict=True))
    hit = [world.sites.index(site) for _, site, what in entries if what != "ok"]
    assert {world.hub_of[site] for site in hit} == {incident.hub}
    assert hit == [site for site in facts.order[incident.hub] if site in hit]
    minutes = [int(minute) for minute, _, what in entries if what != "ok"]
    gaps = [(later - earlier) % 60 for earlier, later in pairwise(minutes)]
    assert gaps == [facts.delay_min[site] for site in hit[1:]]
    cleared = rest.split()
    assert [cleared[place - 1] for place, word in enumerate(cleared) if word == "clear"] == [
        world.sites[site] for site in hit
    ]
    assert f"{facts.crew_of[incident.hub]} crew at {world.sites[hit[0]]}" in rest
    assert facts.repair[incident.hub][incident.cause] in rest
