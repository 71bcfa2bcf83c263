import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from energyaware.stats.ranks import spearman


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=4, max_size=30, unique=True))
def test_any_rising_curve_has_one(values):
    assert spearman(values, [value**3 for value in values], [0] * len(values)) == pytest.approx(1)
    assert spearman(values, [-value for value in values], [0] * len(values)) == pytest.approx(-1)


def test_levels_of_runs_do_not_count():
    assert spearman([1, 2, 3, 1, 2, 3], [11, 12, 13, 1, 2, 3], [0, 0, 0, 1, 1, 1]) == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_one_run_is_scipys_with_ties_too(pairs):
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assume(len({*a}) > 1 and len({*b}) > 1)
    assert spearman(a, b, [0] * len(a)) == pytest.approx(stats.spearmanr(a, b).statistic, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([], [])])
def test_nothing_to_rank(a, b):
    assert spearman(a, b, [0] * len(a)) is None
