import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.stats.changepoints import ALPHA, Changes, find_changes

NOISE = 0.015
SESSIONS = np.arange(30)


def histories(level, count, seed=0):
    """Histories of 30 sessions with 1.5 % of noise around `level`."""
    rng = np.random.default_rng(seed)
    return [level + NOISE * rng.normal(size=len(SESSIONS)) for _ in range(count)]


def found(level, count, permutations=199):
    return [find_changes(history, permutations=permutations) for history in histories(level, count)]


def test_a_step_of_five_percent_is_found_where_it_is_with_its_size():
    steps = [changes.steps for changes in found(0.05 * (SESSIONS >= 15), 40)]
    single = [item[0] for item in steps if len(item) == 1]
    assert len(single) >= 34
    assert sum(abs(step.index - 15) <= 1 for step in single) >= 0.85 * len(single)
    assert np.mean([step.effect for step in single]) == pytest.approx(0.05, abs=0.005)
    assert sum(step.low <= 0.05 <= step.high for step in single) >= 0.8 * len(single)
    assert all(step.p_value <= ALPHA for step in single)


def test_flat_histories_are_silent():
    alarms = [changes != Changes() for changes in found(0 * SESSIONS, 300)]
    assert np.mean(alarms) <= ALPHA


def test_the_newest_three_sessions_are_enough():
    hits = [any(step.effect > 0 for step in changes.steps) for changes in found(0.05 * (SESSIONS >= 27), 40)]
    assert np.mean(hits) >= 0.8


def test_a_rise_that_was_repaired_is_two_steps():
    level = 0.05 * ((SESSIONS >= 12) & (SESSIONS < 18))
    hits = [changes.steps for changes in found(level, 20) if len(changes.steps) == 2]
    assert len(hits) >= 16
    assert all(up.effect > 0 > down.effect for up, down in hits)


def test_a_slow_drift_is_a_drift():
    drifts = [changes.drift for changes in found(0.003 * SESSIONS, 20) if changes.drift]
    assert len(drifts) >= 17
    assert np.mean([drift.effect for drift in drifts]) == pytest.approx(0.003 * 29, abs=0.01)
    assert sum(drift.low <= 0.087 <= drift.high for drift in drifts) >= 0.8 * len(drifts)


def test_a_staircase_is_no_drift():
    level = 0.08 * (SESSIONS >= 10) + 0.08 * (SESSIONS >= 20)
    hits = [changes.steps for changes in found(level, 20)]
    assert sum(len(steps) == 2 for steps in hits) >= 16


def test_one_disturbed_session_neither_makes_nor_hides_a_step():
    disturbed = 0.5 * (SESSIONS == 21)
    assert np.mean([changes != Changes() for changes in found(disturbed, 40)]) <= 0.1
    hits = [changes.steps for changes in found(disturbed + 0.05 * (SESSIONS >= 10), 20)]
    assert sum(any(abs(step.index - 10) <= 1 for step in steps) for steps in hits) >= 17


values = st.lists(st.floats(-10, 10), max_size=14)


@given(values)
@settings(max_examples=40, deadline=None)
def test_the_same_history_gives_the_same_answer_and_its_mirror_the_opposite(history):
    changes = find_changes(history, permutations=99)
    assert changes == find_changes(history, permutations=99)
    mirrored = find_changes([-value for value in history], permutations=99)
    assert [(step.index, step.effect) for step in mirrored.steps] == [
        (step.index, -step.effect) for step in changes.steps
    ]


@given(values)
@settings(max_examples=40, deadline=None)
def test_steps_lie_inside_in_order_and_levels_have_two_sessions(history):
    places = [0, *(step.index for step in find_changes(history, permutations=99).steps), len(history)]
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(places)) or len(places) == 2


@pytest.mark.parametrize("history", [[], [0.1], [0.1, 0.2], [0.0, 0.0, 1.0], [0.3] * 30])
def test_too_little_or_nothing_moving_is_silent(history):
    assert find_changes(history) == Changes()


def test_a_history_without_noise_keeps_its_step_exact():
    changes = find_changes([0.0] * 8 + [0.05] * 8)
    assert [step.index for step in changes.steps] == [8]
    assert changes.steps[0].effect == pytest.approx(0.05)


def test_a_value_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        find_changes([0.0, math.inf, 0.0, 0.0])
