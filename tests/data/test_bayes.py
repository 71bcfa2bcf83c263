from __future__ import annotations

import numpy as np
import pytest

from energyaware.data.bayes import ceiling, posterior, posterior_of_sighting, reliability
from energyaware.data.network_text import Sighting, render
from energyaware.data.network_world import CAUSES, build_world
from energyaware.data.simulator import draw_incident, draw_tickets


@pytest.fixture(scope="module")
def world():
    return build_world(0)


@pytest.fixture(scope="module")
def tickets(world):
    return draw_tickets(world, 7, 4000, "calibration")


def test_posterior_is_a_distribution(world, tickets):
    for ticket in tickets[:100]:
        probabilities = posterior(ticket.text, world)
        assert probabilities.shape == (len(CAUSES),)
        assert probabilities.sum() == pytest.approx(1)
        assert (probabilities >= 0).all()


def test_wording_and_typos_change_nothing(world):
    rng = np.random.default_rng(0)
    sighting = draw_incident(world, rng).sighting
    expected = posterior_of_sighting(sighting, world)
    for _ in range(50):
        assert np.array_equal(posterior(render(sighting, world, rng), world), expected)


def test_order_of_the_alarms_changes_nothing(world):
    rng = np.random.default_rng(1)
    for _ in range(20):
        sighting = draw_incident(world, rng).sighting
        turned = Sighting(sighting.alarms[::-1], sighting.clue)
        assert np.allclose(posterior_of_sighting(turned, world), posterior_of_sighting(sighting, world))


def test_calibrated_within_sampling_error(world, tickets):
    bins = reliability(tickets, world)
    assert sum(b.count for b in bins) == len(tickets) * len(CAUSES)
    # Ten bins at 4 standard errors: a calibrated reader fails one seed in 1500; the seed is fixed.
    for b in bins:
        assert abs(b.true - b.said) < 4 * b.standard_error, b


def test_calibration_notices_a_wrong_reader(world, tickets):
    strangers = build_world(0, type(world.size)(first_code=0.5, second_code=0.3))
    worst = max(abs(b.true - b.said) / b.standard_error for b in reliability(tickets, strangers))
    assert worst > 5


def test_enumeration_agrees_with_counting(world):
    """Of the generator's own draws that tell one and the same thing, causes occur as often as the posterior says."""
    rng = np.random.default_rng(5)
    counts: dict[Sighting, list[int]] = {}
    site = {(hub, code): (world.sites_of(hub)[0], code) for hub in range(world.size.hubs) for code in range(16)}
    for _ in range(30_000):
        incident = draw_incident(world, rng)
        if len(incident.alarms) == 2 and incident.stray is None:
            # Sites below one hub are alike, so all of them may stand for one.
            codes = tuple(sorted(code for _, code in incident.alarms))
            key = Sighting(tuple(site[incident.hub, code] for code in codes), incident.clue)
            counts.setdefault(key, [0] * len(CAUSES))[incident.cause] += 1
    often, found = max(counts.items(), key=lambda item: sum(item[1]))
    total = sum(found)
    expected = posterior_of_sighting(often, world)
    for cause in range(len(CAUSES)):
        error = np.sqrt(max(expected[cause] * (1 - expected[cause]), 1e-3) / total)
        assert abs(found[cause] / total - expected[cause]) < 4 * error


def test_ceiling_is_the_best_readers_accuracy(world, tickets):
    expected = np.mean([posterior(ticket.text, world).max() for ticket in tickets])
    error = np.sqrt(expected * (1 - expected) / len(tickets))
    assert abs(ceiling(tickets, world) - expected) < 4 * error


def test_an_impossible_sighting_is_refused(world):
    far = [world.sites_of(hub)[0] for hub in range(3)]
    with pytest.raises(ValueError, match="cannot come"):
        posterior_of_sighting(Sighting(tuple((site, 0) for site in far), 0), world)
