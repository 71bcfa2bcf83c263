import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.stats.sessions import MIN_SESSIONS, control_slope, session_spread

values = st.floats(-50, 50)


@given(st.lists(st.tuples(values, values), max_size=30))
def test_the_slope_is_between_0_and_1(pairs):
    assert 0 <= control_slope([value for value, _ in pairs], [control for _, control in pairs]) <= 1


@pytest.mark.parametrize(("true_slope", "expected"), [(0.0, 0.0), (0.4, 0.4), (1.0, 1.0), (1.7, 1.0), (-0.5, 0.0)])
def test_the_slope_is_found_and_cut_at_both_ends(true_slope, expected):
    controls = np.linspace(-0.2, 0.3, 9)
    assert control_slope(2.0 + true_slope * controls, controls) == pytest.approx(expected)


def test_too_few_sessions_or_a_still_candle_say_nothing():
    few = [0.1 * index for index in range(MIN_SESSIONS - 1)]
    assert control_slope(few, [-value for value in few]) == 1.0
    assert control_slope([1.0, 2.0, 3.0, 4.0, 5.0], [0.5] * 5) == 1.0
    assert session_spread(few) is None
    assert session_spread([]) is None


def test_the_spread_by_hand():
    # Steps 1, -1, 3, -3: mean square 5, half of it 2.5.
    assert session_spread([0.0, 1.0, 0.0, 3.0, 0.0]) == pytest.approx(math.sqrt(2.5))


@pytest.mark.parametrize("drift", [0.0, 0.01])
def test_the_spread_recovers_sigma_under_slow_drift(drift):
    rng = np.random.default_rng(2)
    sigma, sessions = 0.05, 20
    histories = sigma * rng.normal(size=(2000, sessions)) + drift * np.arange(sessions)
    squares = [spread**2 for history in histories if (spread := session_spread(history)) is not None]
    # A drift per session adds half its square, which is small beside sigma's.
    assert math.sqrt(np.mean(squares)) == pytest.approx(math.sqrt(sigma**2 + drift**2 / 2), rel=0.03)
    if drift:
        assert np.mean(np.std(histories, axis=1)) > 1.3 * sigma  # what a plain standard deviation would say


def test_one_step_only_widens_the_spread():
    rng = np.random.default_rng(3)
    history = 0.02 * rng.normal(size=20)
    stepped = history + np.where(np.arange(20) < 10, 0.0, 0.3)
    calm, wide = session_spread(history), session_spread(stepped)
    assert calm is not None
    assert wide is not None
    assert calm < wide < 0.3
