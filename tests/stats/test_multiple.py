import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.stats.multiple import holm_levels

p_values = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.001, 0.002, 0.0025, 0.005, 0.01])), max_size=12)
alphas = st.sampled_from([0.01, 0.05, 0.2])


def brute_force_holm(p: list[float], alpha: float) -> set[int]:
    """Rejects the smallest p again and again, as long as it is within alpha over what is left."""
    left, rejected = set(range(len(p))), set()
    while left:
        smallest = min(left, key=lambda index: p[index])
        if p[smallest] > alpha / len(left):
            break
        rejected.add(smallest)
        left.remove(smallest)
    return rejected


@given(p_values, alphas)
def test_a_hypothesis_is_rejected_where_its_p_value_is_within_its_level(p, alpha):
    levels = holm_levels(p, alpha)
    assert {index for index, value in enumerate(p) if value <= levels[index]} == brute_force_holm(p, alpha)


@given(p_values, alphas)
def test_levels_lie_between_bonferroni_and_alpha(p, alpha):
    for level in holm_levels(p, alpha):
        assert alpha / len(p) <= level <= alpha


def test_by_hand():
    assert holm_levels([0.04, 0.01, 0.03], 0.05) == pytest.approx([0.025, 0.05 / 3, 0.025])
    assert holm_levels([], 0.05) == []
