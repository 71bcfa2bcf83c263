import numpy as np
import pytest
from scipy import stats

from energyaware.stats.pairwise import Difference, independent, paired


def test_pairs_are_judged_by_students_t():
    values = [0.1, 0.14, 0.08, 0.12]
    found = paired(values)
    reference = stats.ttest_1samp(values, 0)
    interval = reference.confidence_interval()
    assert found.estimate == pytest.approx(0.11)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert (found.low, found.high, found.count) == (pytest.approx(interval.low), pytest.approx(interval.high), 4)


def test_one_pair_has_no_interval_and_equal_ones_a_point():
    assert paired([0.3]) == Difference(0.3, None, None, None, 1)
    assert paired([0.25, 0.25]) == Difference(0.25, 0.25, 0.25, 0.0, 2)
    assert paired([0.0, 0.0]).p_value == 1.0
    with pytest.raises(ValueError, match="no pair"):
        paired([])


def test_rounds_are_judged_by_yuens_test():
    rng = np.random.default_rng(0)
    one, two = rng.normal(0.05, 0.1, 20), rng.normal(0, 0.3, 14)
    found = independent(one, two)
    reference = stats.ttest_ind(one, two, equal_var=False, trim=0.2)
    assert found.p_value == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.count == 34


def test_a_single_round_has_no_interval():
    assert independent([1.0], [0.5, 0.6]) == Difference(pytest.approx(0.45), None, None, None, 3)
    assert independent([1.0, 1.0], [1.0, 1.0]).p_value == 1.0
