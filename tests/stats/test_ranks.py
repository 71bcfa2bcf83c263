import pytest
from hypothesis import given, settings
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


def test_one_run_is_scipys():
    a, b = [3, 1, 4, 1, 5, 9, 2], [2, 7, 1, 8, 2, 8, 1]
    assert spearman(a, b, [0] * 7) == pytest.approx(stats.spearmanr(a, b).statistic)


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([], [])])
def test_nothing_to_rank(a, b):
    assert spearman(a, b, [0] * len(a)) is None
