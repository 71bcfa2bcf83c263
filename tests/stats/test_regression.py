"""Known effects, simulated and found again."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from energyaware.stats.regression import MIN_SPARE_ROWS, Driver, TooFewRowsError, fit

effects = st.floats(-3, 3, allow_nan=False)


def number(name, values, clusters=None, by="variant"):
    values = [float(value) for value in values]
    return Driver(name, {f"twice the {name}": values}, clusters or list(range(len(values))), by)


def factor(name, labels, clusters=None):
    levels = list(dict.fromkeys(labels))
    columns = {f"{level} instead of {levels[0]}": [float(label == level) for label in labels] for level in levels[1:]}
    return Driver(name, columns, clusters or list(range(len(labels))))


def grid():
    """Tokens × batch × precision, each combination once."""
    rows = [(tokens, batch, precision) for tokens in (5, 6, 7, 8) for batch in (0, 2, 3) for precision in "abc"]
    return (list(column) for column in zip(*rows, strict=True))


@settings(max_examples=30, deadline=None)
@given(effects, effects, effects, effects, st.floats(-20, 20))
def test_effects_without_noise_are_found_exactly(by_tokens, by_batch, b, c, level):
    tokens, batch, precision = grid()
    y = [
        level + by_tokens * t + by_batch * n + {"a": 0.0, "b": b, "c": c}[p]
        for t, n, p in zip(tokens, batch, precision, strict=True)
    ]
    drivers = [number("tokens", tokens), number("batch", batch), factor("precision", precision)]
    found = fit(y, drivers, ["run"] * len(y))
    assert [term.estimate for term in found.terms] == pytest.approx([by_tokens, by_batch, b, c], abs=1e-8)
    assert found.residual_sd == pytest.approx(0, abs=1e-8)
    if max(map(abs, (by_tokens, by_batch, b, c))) > 1e-3:
        assert found.r2 == pytest.approx(1)
    assert sum(share.average for share in found.shares) == pytest.approx(found.r2, abs=1e-6)


def test_shares_of_drivers_that_cross_are_their_own_variance():
    tokens, batch, _ = grid()
    y = [t + 2 * n for t, n in zip(tokens, batch, strict=True)]
    found = fit(y, [number("tokens", tokens), number("batch", batch)], [0] * len(y))
    own = np.var(tokens), 4 * np.var(batch)
    for share, variance in zip(found.shares, own, strict=True):
        assert share.average == pytest.approx(variance / sum(own))
        assert share.alone == pytest.approx(variance / sum(own))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=2))
def test_the_level_of_a_run_or_meter_changes_no_effect(levels):
    tokens, batch, precision = grid()
    rng = np.random.default_rng(3)
    y = 0.9 * np.array(tokens) + rng.normal(0, 0.1, len(tokens))
    half = len(y) // 2
    blocks = ["one"] * half + ["two"] * (len(y) - half)
    shifted = y + np.array([levels[0]] * half + [levels[1]] * (len(y) - half))
    drivers = [number("tokens", tokens), number("batch", batch), factor("precision", precision)]
    before, after = fit(y, drivers, blocks), fit(shifted, drivers, blocks)
    for one, other in zip(before.terms, after.terms, strict=True):
        assert other.estimate == pytest.approx(one.estimate, abs=1e-9)
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-8)
    assert after.r2 == pytest.approx(before.r2)


def test_single_rows_as_clusters_give_hc2():
    tokens, batch, _ = grid()
    rng = np.random.default_rng(1)
    y = rng.normal(0, np.abs(tokens))
    found = fit(y, [number("tokens", tokens), number("batch", batch)], [0] * len(y))
    reference = OLS(y, np.column_stack([np.ones(len(y)), tokens, batch])).fit(cov_type="HC2")
    for term, estimate, error in zip(found.terms, reference.params[1:], reference.bse[1:], strict=True):
        assert term.estimate == pytest.approx(estimate)
        half = float(stats.t.isf(0.025, term.degrees)) * error
        assert (term.low, term.high) == pytest.approx((estimate - half, estimate + half))


def test_two_groups_alike_have_the_degrees_of_freedom_of_a_t_test():
    labels = ["a"] * 6 + ["b"] * 6
    y = np.random.default_rng(0).normal(size=12)
    (term,) = fit(y, [factor("group", labels)], [0] * 12).terms
    reference = stats.ttest_ind(y[6:], y[:6])
    assert term.degrees == pytest.approx(10)
    assert term.p_value == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval()
    assert (term.low, term.high) == pytest.approx((interval.low, interval.high))


def test_equal_clusters_are_worth_one_row_each():
    """Balanced clusters within which the driver is fixed: the test is a t test on the clusters' means."""
    rng = np.random.default_rng(2)
    clusters = [index for index in range(8) for _ in range(5)]
    labels = ["a" if index < 4 else "b" for index in clusters]
    y = rng.normal(size=8)[clusters] + rng.normal(0, 0.1, 40)
    (term,) = fit(y, [factor("group", labels, clusters)], [0] * 40).terms
    means = [y[np.array(clusters) == index].mean() for index in range(8)]
    reference = stats.ttest_ind(means[4:], means[:4])
    assert term.degrees == pytest.approx(6)
    assert term.p_value == pytest.approx(reference.pvalue)


def test_intervals_cover_where_rows_of_a_variant_err_together():
    """Three of twelve variants have the level: where plain errors cover far too seldom, these must not."""
    rng = np.random.default_rng(4)
    clusters = [index for index in range(12) for _ in range(6)]
    labels = ["rare" if index < 3 else "usual" for index in clusters]
    tokens = list(range(6)) * 12
    draws, inside, plain = 200, 0, 0
    for _ in range(draws):
        y = 0.9 * np.array(tokens) + rng.normal(0, 1, 12)[clusters] + rng.normal(0, 0.2, 72)
        drivers = [number("tokens", tokens, clusters), factor("kind", labels[::-1], clusters)]
        term = fit(y, drivers, [0] * 72).terms[1]
        inside += term.low <= 0 <= term.high
        simple = OLS(y, np.column_stack([np.ones(72), tokens, np.array(labels[::-1]) == "rare"])).fit()
        plain += simple.conf_int()[2][0] <= 0 <= simple.conf_int()[2][1]
    assert plain / draws < 0.8
    assert 0.92 <= inside / draws <= 0.995


def test_what_rests_on_one_cluster_has_an_estimate_and_no_interval():
    clusters = ["x", "x", "x", "y", "y", "z", "z", "w", "w"]
    labels = ["a", "a", "a", "b", "b", "b", "b", "c", "c"]
    y = [1.0, 1.1, 0.9, 2, 2.2, 2.1, 1.9, 3, 3.3]
    terms = {term.name: term for term in fit(y, [factor("kind", labels, clusters)], [0] * 9).terms}
    only = terms["c instead of a"]
    assert only.estimate == pytest.approx(2.15)
    assert (only.low, only.high, only.p_value) == (None, None, None)
    assert only.reason in ("rests on the variant x alone", "rests on too few variants")


def test_a_driver_that_does_not_vary_is_not_estimable_and_says_why():
    tokens = [1, 2, 3, 4, 1, 2, 3, 4]
    blocks = ["one"] * 4 + ["two"] * 4
    drivers = [number("tokens", tokens), number("batch", [1] * 8), factor("site", [*"aaaabbbb"])]
    found = fit([float(t) for t in tokens], drivers, blocks)
    assert found.constant == {"batch": "the same in every row", "site": "the same in all rows of each run"}
    assert [term.driver for term in found.terms] == ["tokens"]


def test_drivers_that_cannot_be_told_apart_are_named():
    sizes = [1, 1, 1, 2, 2, 2, 4, 4, 4]
    models = [*"aaabbbccc"]
    tokens = [1, 2, 3] * 3
    drivers = [number("tokens", tokens), factor("model", models), number("parameters", sizes)]
    found = fit([float(size) for size in sizes], drivers, [0] * 9)
    (item,) = found.aliased
    assert (item.driver, item.partners, item.r2) == ("parameters", ("model",), 1.0)
    assert {term.driver for term in found.terms} == {"tokens", "model"}


def test_drivers_that_nearly_move_together_are_named_once():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=40)
    drivers = [
        number("tokens", tokens),
        number("entropy", tokens + rng.normal(0, 0.1, 40)),
        number("batch", rng.normal(size=40)),
    ]
    (item,) = fit(tokens, drivers, [0] * 40).close
    assert (item.driver, item.partners) == ("tokens", ("entropy",))
    assert 0.95 < item.r2 < 1


def test_too_few_rows_say_how_many_are_needed():
    drivers = [number("tokens", [1, 2, 3, 4])]
    with pytest.raises(TooFewRowsError) as raised:
        fit([1.0, 2.0, 3.0, 4.0], drivers, [0] * 4)
    assert (raised.value.rows, raised.value.needed) == (4, 2 + MIN_SPARE_ROWS)


@pytest.mark.parametrize("y", [[], [1.0, 2.0]])
def test_columns_of_another_length_are_refused(y):
    with pytest.raises(ValueError, match="as many values as rows"):
        fit(y, [number("tokens", [1, 2, 3])], [0] * len(y))


def test_without_a_driver_there_is_a_level_and_nothing_explained():
    found = fit([1.0, 2.0, 3.0, 4.0], [], [0] * 4)
    assert (found.r2, found.terms, found.shares) == (0, (), ())
    assert found.residual_sd == pytest.approx(math.sqrt(5 / 3))
