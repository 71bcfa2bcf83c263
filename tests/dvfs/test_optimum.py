import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.dvfs.optimum import optimum, sentences

# Power 20 W + 30 W × (f/2)³ at f GHz for work of 10 s × GHz: the optimum of energy lies inside.
SETTINGS = (500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0)


def curve(scatter=(), work=10_000.0):
    rows = []
    for setting in SETTINGS:
        latency_s = work / setting
        energy_j = (20 + 30 * (setting / 2000) ** 3) * latency_s
        rows += [(setting, energy_j * (1 + noise), latency_s) for noise in (scatter or (0.0,))]
    return rows


def by_hand(key, rows):
    return min(rows, key=key)[0]


def test_the_best_by_energy_by_edp_and_under_a_bound():
    rows = curve()
    found = optimum(rows, slowdown=0.25)
    assert found.energy.setting == by_hand(lambda row: row[1], rows) == 1500.0
    assert found.edp.setting == by_hand(lambda row: row[1] * row[2], rows) == 2000.0
    # 2500 is 20 % slower than 3000, 2000 is 50 % slower.
    assert found.bounded.setting == 2500.0
    assert found.saving == pytest.approx(1 - rows[4][1] / rows[5][1])
    assert found.delay == pytest.approx(0.2)
    assert [point.setting for point in found.points] == list(SETTINGS)
    assert found.points[0].edp_js == pytest.approx(rows[0][1] * rows[0][2])


def test_a_bound_of_nothing_leaves_the_fastest():
    found = optimum(curve(), slowdown=0.0)
    assert (found.bounded.setting, found.bounded.ties) == (3000.0, ())
    assert (found.saving, found.delay) == (0.0, 0.0)


def test_decode_that_hardly_cares_about_the_clock_saves_at_the_lowest():
    """Latency bound by memory: half the clock costs 2 %."""
    rows = [(1000.0, 6.0, 1.02), (1500.0, 8.0, 1.01), (2000.0, 10.0, 1.0)]
    found = optimum(rows, slowdown=0.05)
    assert found.bounded.setting == 1000.0
    assert found.saving == pytest.approx(0.4)
    assert "-40.0 % energy and +2.0 % latency" in sentences(found, "MHz")[2]


def test_one_observation_each_cannot_tell_ties():
    found = optimum(curve())
    assert found.energy.ties is None
    assert "too few observations" in sentences(found, "MHz")[0]


def test_settings_that_cannot_be_told_apart_are_ties():
    wide, narrow = (-0.2, 0.1, -0.05, 0.15), (-0.002, 0.001, 0.0, 0.001)
    assert set(optimum(curve(wide)).energy.ties) >= {1000.0, 2000.0}
    assert optimum(curve(narrow)).energy.ties == ()
    assert sentences(optimum(curve(narrow)), "MHz")[0] == "least energy: 1500 MHz"
    assert "1500 MHz, not to be told from 1000" in sentences(optimum(curve(wide)), "MHz")[0]


def test_equal_settings_without_scatter_are_ties():
    rows = [(1.0, 5.0, 1.0)] * 2 + [(2.0, 5.0, 1.0)] * 2 + [(3.0, 6.0, 1.0)] * 2
    found = optimum(rows)
    assert (found.energy.setting, found.energy.ties) == (1.0, (2.0,))


@pytest.mark.parametrize("rows", [[], [(1.0, 2.0, 3.0)], [(1.0, 2.0, 3.0), (1.0, 2.1, 3.0)]])
def test_one_setting_is_no_choice(rows):
    assert optimum(rows) is None


@pytest.mark.parametrize("row", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, math.nan), (1.0, math.inf, 1.0)])
def test_what_is_no_measurement_is_refused(row):
    with pytest.raises(ValueError, match="not positive and finite"):
        optimum([row, (2.0, 1.0, 1.0)])


def test_a_negative_bound_is_refused():
    with pytest.raises(ValueError, match="bound"):
        optimum(curve(), slowdown=-0.1)


@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 2.0, 3.0]), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=2, max_size=30
    ),
    st.floats(0, 2),
)
def test_the_best_are_observed_settings_and_keep_the_bound(rows, slowdown):
    found = optimum(rows, slowdown)
    if found is None:
        assert len({row[0] for row in rows}) < 2
        return
    points = {point.setting: point for point in found.points}
    assert sum(point.observations for point in found.points) == len(rows)
    assert points[found.energy.setting].energy_j == min(point.energy_j for point in points.values())
    fastest_s = min(point.latency_s for point in points.values())
    assert points[found.bounded.setting].latency_s <= fastest_s * (1 + slowdown) * (1 + 1e-9)
    for best in (found.energy, found.edp, found.bounded):
        assert best.ties is None or best.setting not in best.ties
    assert len(sentences(found, "MHz")) == 3


@settings(max_examples=20)
@given(st.permutations(curve((-0.1, 0.1))))
def test_the_order_of_observations_does_not_matter(rows):
    assert optimum(rows).energy == optimum(curve((-0.1, 0.1))).energy
