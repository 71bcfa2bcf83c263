from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data.network_text import misspellings, read, render
from energyaware.data.network_world import CAUSES, CLUES, CODES, EQUIPMENT, FEEDS, WorldSize, build_world
from energyaware.data.simulator import draw_incident, draw_tickets, network_corpus


@pytest.fixture(scope="module")
def world():
    return build_world(0)


@pytest.fixture(scope="module")
def corpus():
    return network_corpus(0, train=600, validation=100, test=200)


def test_same_seed_same_corpus(corpus):
    assert network_corpus(0, train=600, validation=100, test=200) == corpus


def test_other_seed_other_network_and_tickets(corpus):
    other = network_corpus(1, train=600, validation=100, test=200)
    assert other.fingerprint != corpus.fingerprint
    assert build_world(1).sites != build_world(0).sites


def test_fingerprint_sees_every_split(corpus):
    sizes = ((601, 100, 200), (600, 101, 200), (600, 100, 201))
    prints = {network_corpus(0, train=a, validation=b, test=c).fingerprint for a, b, c in sizes}
    assert len(prints | {corpus.fingerprint}) == 4


def test_test_split_does_not_depend_on_the_others_sizes(corpus):
    assert network_corpus(0, train=10, validation=5, test=200).test == corpus.test


def test_splits_share_no_ticket(corpus):
    everything = [*corpus.train, *corpus.validation, *corpus.test]
    assert len(everything) == 900
    assert len({e.text for e in everything}) == 900
    assert len({e.group for e in everything}) == 900
    assert len({e.id for e in everything}) == 900


def test_labels_are_single_words_that_all_occur(corpus):
    assert corpus.labels == CAUSES
    assert {e.label for e in corpus.train} == set(CAUSES)
    assert all(label.isalpha() for label in CAUSES)


def test_ceiling_is_neither_chance_nor_certainty(corpus):
    assert 0.75 < corpus.ceiling < 0.99


def test_no_ceiling_without_test_tickets():
    assert network_corpus(0, train=5, validation=0, test=0).ceiling is None


def test_tickets_tell_neither_cause_nor_hub_nor_equipment(corpus):
    words = {
        word for e in (*corpus.test, *corpus.validation) for word in e.text.replace(",", " ").replace(":", " ").split()
    }
    assert not words & {*CAUSES, *EQUIPMENT, *FEEDS}


def test_some_training_tickets_teach_the_inventory(corpus):
    share = sum(any(word in EQUIPMENT for word in e.text.split()) for e in corpus.train) / len(corpus.train)
    assert 0.4 < share < 0.6


def test_tickets_are_short(corpus):
    assert max(len(e.text.split()) for e in corpus.train) <= 24


@given(seed=st.integers(0, 10_000))
def test_reading_inverts_rendering(world, seed):
    rng = np.random.default_rng(seed)
    incident = draw_incident(world, rng)
    for inventory in (False, True):
        assert read(render(incident.sighting, world, rng, inventory=inventory), world) == incident.sighting


@given(seed=st.integers(0, 10_000))
def test_alarms_of_the_fault_come_from_sites_below_its_hub(world, seed):
    incident = draw_incident(world, np.random.default_rng(seed))
    below = [world.hub_of[site] == incident.hub for site, _ in incident.alarms]
    assert [place for place, own in enumerate(below) if not own] == ([] if incident.stray is None else [incident.stray])
    assert len({site for site, _ in incident.alarms}) == len(incident.alarms)


@given(seed=st.integers(0, 200))
def test_misspellings_never_meet(seed):
    world = build_world(seed)
    spellings = [spelling for name in world.sites for spelling in {name, *misspellings(name)}]
    assert len(spellings) == len(set(spellings))
    assert not set(spellings) & {*CODES, *EQUIPMENT, *FEEDS, *CAUSES}


def test_a_text_of_another_kind_is_refused(world):
    with pytest.raises(ValueError, match="not a ticket"):
        read("the printer is on fire", world)


def test_emissions_and_priors_are_distributions(world):
    assert np.allclose(world.emission.sum(axis=-1), 1)
    assert np.allclose(world.prior.sum(axis=-1), 1)
    assert np.allclose(world.clue.sum(axis=-1), 1)
    assert world.emission.shape == (world.size.hubs, len(CAUSES), len(CODES))
    assert world.clue.shape == (len(CAUSES), len(CLUES))


def test_the_same_code_means_different_causes_on_different_equipment(world):
    typical = world.emission.argmax(axis=1)
    assert all(len(set(typical[:, code])) > 1 for code in range(len(CODES)))


def test_a_world_larger_than_the_names_is_refused():
    with pytest.raises(ValueError, match="sites wanted"):
        build_world(0, WorldSize(hubs=100, sites_per_hub=10))


def test_avoided_texts_do_not_come_up(world):
    first = draw_tickets(world, 3, 50, "a")
    again = draw_tickets(world, 3, 50, "a", avoid={first[0].text})
    assert first[0].text not in {e.text for e in again}
    assert again[0].text == first[1].text
