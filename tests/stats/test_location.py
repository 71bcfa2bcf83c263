import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from energyaware.stats.location import Estimate, log_values, trimmed_mean

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(numbers, st.floats(0, 0.49))
def test_the_centre_is_scipys_trimmed_mean(values, trim):
    estimate = trimmed_mean(values, trim)
    assert estimate.centre == pytest.approx(scipy.stats.trim_mean(values, trim), rel=1e-9, abs=1e-6)
    assert estimate.count == len(values)


def test_yuens_standard_error_by_hand():
    # n = 10, cut 2 at each end: winsorised 3 3 3 4 5 6 7 8 8 8, mean 5.5, squared deviations sum to 42.5, h = 6.
    values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100]
    assert trimmed_mean(values) == Estimate(pytest.approx(5.5), pytest.approx(math.sqrt(42.5 / (6 * 5))), 10, 5)


def test_without_a_trim_it_is_the_classical_standard_error():
    values = [1.0, 4.0, 2.5, 8.0]
    estimate = trimmed_mean(values, 0.0)
    assert estimate.standard_error == pytest.approx(scipy.stats.sem(values))
    assert estimate.centre == pytest.approx(np.mean(values))


def test_a_fifth_of_wild_values_at_one_end_moves_nothing():
    calm = [10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 10.02, 9.98]
    low, wild = trimmed_mean([*calm, 11.0, 12.0]), trimmed_mean([*calm, 1e9, 1e12])
    assert wild == low


def test_one_value_has_no_standard_error():
    assert trimmed_mean([3.0]) == Estimate(3.0, None, 1)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="no value"):
        trimmed_mean([])


@given(numbers, st.randoms(use_true_random=False))
def test_the_order_of_values_does_not_matter(values, rng):
    shuffled = list(values)
    rng.shuffle(shuffled)
    assert trimmed_mean(shuffled) == trimmed_mean(values)


def test_the_standard_error_is_right_on_average():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(4000, 20))
    estimates = [trimmed_mean(sample) for sample in samples]
    true_spread = np.std([estimate.centre for estimate in estimates])
    assert np.mean([estimate.standard_error for estimate in estimates]) == pytest.approx(true_spread, rel=0.05)


def test_log_values():
    assert log_values([1.0, math.e]) == pytest.approx([0.0, 1.0])


def test_the_interval_is_students():
    estimate = trimmed_mean([1.0, 2.0, 3.0, 4.0, 5.0])  # cut 1 at each end: h = 3, two degrees of freedom
    assert estimate.half_width == pytest.approx(4.302653 * estimate.standard_error, rel=1e-6)
    assert trimmed_mean([1.0]).half_width is None
