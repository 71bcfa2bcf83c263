import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.stats.sequential import Decision, Plan, decide, planned_looks

LIMIT = math.log(1.05)
# Error rates at which 1500 runs tell a sound test from one that forgot to share them out.
LOOSE = Plan(alpha=0.1, beta=0.1)


def noise(rng, tails, shape):
    """Standard deviation 1, or that of the undisturbed values."""
    if tails == "t3":
        return rng.standard_t(3, shape) / math.sqrt(3)
    draws = rng.normal(size=shape)
    return np.where(rng.random(shape) < 0.05, 8 * draws, draws) if tails == "outliers" else draws


def simulate(plan, spread, effects, tails="normal", runs=1500, seed=0):
    """Verdicts of `runs` suites: one list of verdicts each, in the order of `effects`."""
    rng = np.random.default_rng(seed)
    suite = len(effects)
    found = []
    for _ in range(runs):
        pairs = spread * noise(rng, tails, (suite, plan.looks[-1])) + np.asarray(effects)[:, None]
        decided = decide(plan, dict(enumerate(pairs.tolist())), dict.fromkeys(range(suite), LIMIT))
        found.append([decided[key].verdict for key in range(suite)])
    return found


def at_most(rate, runs):
    """A count that a true rate of `rate` exceeds once in a thousand such tests."""
    return scipy.stats.binom.isf(0.001, runs, rate)


# The promise.


@pytest.mark.parametrize(("spread", "tails"), [(0.02, "normal"), (0.05, "normal"), (0.02, "t3"), (0.02, "outliers")])
def test_a_suite_of_identical_code_rarely_fails(spread, tails):
    found = simulate(LOOSE, spread, [0.0] * 6, tails)
    assert sum("regressed" in verdicts for verdicts in found) <= at_most(LOOSE.alpha, len(found))


@pytest.mark.parametrize("tails", ["normal", "t3", "outliers"])
@pytest.mark.parametrize("spread", [0.005, 0.02, 0.05])
def test_the_limit_rarely_gets_through(spread, tails):
    found = simulate(LOOSE, spread, [LIMIT], tails)
    assert sum(verdicts[0] in ("pass", "improved") for verdicts in found) <= at_most(LOOSE.beta, len(found))


@pytest.mark.parametrize("spread", [0.005, 0.011, 0.02, 0.025])
def test_the_limit_is_caught_among_six_with_99_percent(spread):
    found = simulate(Plan(), spread, [LIMIT, 0, 0, 0, 0, 0], runs=1000)
    assert sum(verdicts[0] == "regressed" for verdicts in found) >= 990


def test_a_wide_spread_is_inconclusive_rather_than_wrong():
    found = simulate(Plan(), 0.05, [LIMIT, 0, 0, 0, 0, 0], runs=500)
    verdicts = [run[0] for run in found]
    assert verdicts.count("pass") + verdicts.count("improved") <= at_most(0.01, 500)
    assert 100 < verdicts.count("inconclusive") < 200


def test_holm_keeps_the_rate_where_some_did_regress():
    found = simulate(LOOSE, 0.011, [0.2, 0.2, 0.2, 0, 0, 0])
    assert sum("regressed" in verdicts[3:] for verdicts in found) <= at_most(LOOSE.alpha, len(found))


def test_a_bound_is_crossed_at_its_level_over_all_looks_and_each_look_at_its_share():
    plan, level = Plan(), 0.05
    rng = np.random.default_rng(1)
    values = rng.normal(size=(100_000, plan.looks[-1]))
    crossed = np.zeros(len(values), dtype=bool)
    for pairs, share, boundary in zip(plan.looks, plan.shares, plan.boundaries(level), strict=True):
        part = values[:, :pairs]
        now = part.mean(axis=1) > boundary * part.std(axis=1, ddof=1) / math.sqrt(pairs)
        assert now.mean() == pytest.approx(level * share, rel=0.12)
        crossed |= now
    assert 0.6 * level < crossed.mean() <= level


# Single decisions.


def test_identical_sides_pass_and_a_certain_increase_regresses_at_the_first_look():
    decided = decide(Plan(), {"same": [0.0] * 4, "limit": [LIMIT] * 4, "less": [-0.2] * 4}, dict.fromkeys(
        ("same", "limit", "less"), LIMIT))  # fmt: skip
    assert [decided[key].verdict for key in ("same", "limit", "less")] == ["pass", "regressed", "improved"]
    assert decided["limit"].low == pytest.approx(LIMIT)
    assert decided["limit"].pairs == 4


def test_a_sure_increase_inside_the_zone_passes_with_its_effect():
    values = [0.0200, 0.0201, 0.0199, 0.0200]
    decision = decide(Plan(), {"a": values}, {"a": LIMIT})["a"]
    assert decision.verdict == "pass"
    assert 0 < decision.low < decision.effect < decision.high < LIMIT


def test_the_interval_by_hand():
    values = [0.01, 0.03, 0.02, 0.04]  # mean 0.025, s = 0.0129, standard error 0.00645
    plan = Plan(looks=(4,), alpha=0.05, beta=0.01)
    decision = decide(plan, {"a": values}, {"a": LIMIT, "b": LIMIT}, closed=["b"])["a"]
    error = scipy.stats.sem(values)
    assert decision.low == pytest.approx(0.025 - scipy.stats.t.isf(0.025, 3) * error)  # half of α: two benchmarks
    assert decision.high == pytest.approx(0.025 + scipy.stats.t.isf(0.01, 3) * error)


def test_needed_pairs_make_the_interval_narrower_than_the_limit():
    rng = np.random.default_rng(2)
    values = rng.normal(0.025, 0.05, size=20)
    decision = decide(Plan(), {"a": values.tolist()}, {"a": LIMIT})["a"]
    assert decision.verdict == "inconclusive"
    spread, share = np.std(values, ddof=1), Plan().shares[-1]

    def width(pairs):
        return 2 * scipy.stats.t.isf(0.01 * share, pairs - 1) * spread / math.sqrt(pairs)

    assert width(20 + decision.needed) <= LIMIT < width(20 + decision.needed - 1)


def test_needed_pairs_of_an_open_benchmark_end_at_a_planned_look():
    decision = decide(Plan(), {"a": [0.0, 0.05, 0.0, 0.05]}, {"a": LIMIT})["a"]
    assert decision.verdict == "open"
    assert decision.pairs + decision.needed in Plan().looks


def test_before_the_first_look_nothing_is_known():
    assert decide(Plan(), {"a": [0.0] * 3}, {"a": LIMIT, "b": LIMIT}) == {"a": Decision("open"), "b": Decision("open")}
    assert decide(Plan(), {}, {"a": LIMIT}, ended=True) == {"a": Decision("inconclusive")}
    assert decide(Plan(), {}, {}) == {}


def test_a_look_waits_for_every_open_benchmark_but_not_for_closed_ones():
    evidence = {"fast": [0.0] * 6, "slow": [0.0] * 3}
    limits = dict.fromkeys(evidence, LIMIT)
    assert decide(Plan(), evidence, limits)["fast"].verdict == "open"
    decided = decide(Plan(), evidence, limits, closed=["slow"])
    assert (decided["fast"].verdict, decided["slow"].verdict) == ("pass", "inconclusive")


def test_a_closed_benchmark_waits_for_the_looks_it_has_pairs_for():
    wide = [0.0, 0.06, 0.0, 0.06, 0.0, 0.06]
    evidence = {"closed": wide, "slow": wide[:4]}
    limits = dict.fromkeys(evidence, LIMIT)
    assert decide(Plan(), evidence, limits, closed=["closed"])["closed"].verdict == "open"
    assert decide(Plan(), {**evidence, "slow": wide}, limits, closed=["closed"])["closed"].verdict == "inconclusive"


def test_when_others_regress_holm_gives_the_rest_more():
    borderline = [0.03, 0.06, 0.06, 0.09]  # t = 4.9, between the bounds for all and for half of α
    level = Plan(looks=(4,), alpha=0.01)
    alone = decide(level, {"a": borderline, "b": [0.0] * 4}, {"a": LIMIT, "b": LIMIT})["a"]
    beside = decide(level, {"a": borderline, "b": [0.3] * 4}, {"a": LIMIT, "b": LIMIT})["a"]
    assert (alone.verdict, beside.verdict) == ("inconclusive", "regressed")
    assert alone.low < 0 < beside.low


# Properties.

suites = st.integers(1, 4).flatmap(
    lambda size: st.lists(
        st.tuples(
            st.floats(-0.1, 0.1),  # effect
            st.floats(0.001, 0.08),  # spread
            st.sampled_from([0.01, LIMIT, 0.2]),  # limit
            st.integers(0, 24),  # pairs now
            st.integers(0, 24),  # pairs later
            st.booleans(),  # closed
        ),
        min_size=size,
        max_size=size,
    )
)
seeds = st.integers(0, 2**32 - 1)


def draw(suite, seed):
    rng = np.random.default_rng(seed)
    return {key: rng.normal(effect, spread, size=48).tolist() for key, (effect, spread, *_) in enumerate(suite)}


@given(suites, seeds)
@settings(max_examples=200, deadline=None)
def test_decisions_are_final(suite, seed):
    values = draw(suite, seed)
    limits = {key: row[2] for key, row in enumerate(suite)}
    closed = [key for key, row in enumerate(suite) if row[5]]
    now = {key: values[key][: row[3]] for key, row in enumerate(suite)}
    later = {key: values[key][: row[3] + (0 if row[5] else row[4])] for key, row in enumerate(suite)}
    before, after = decide(LOOSE, now, limits, closed=closed), decide(LOOSE, later, limits, closed=closed)
    assert {key: after[key] for key, item in before.items() if item.verdict != "open"} == {
        key: item for key, item in before.items() if item.verdict != "open"
    }


@given(suites, seeds)
@settings(deadline=None)
def test_the_order_of_benchmarks_does_not_matter(suite, seed):
    values = draw(suite, seed)
    values[len(suite)] = values[0]  # equal p values
    limits = {**{key: row[2] for key, row in enumerate(suite)}, len(suite): suite[0][2]}
    backwards = dict(reversed(limits.items()))
    assert decide(LOOSE, values, limits) == decide(LOOSE, values, backwards)


@given(suites, seeds, st.sampled_from([0.125, 0.5, 4.0]))
@settings(deadline=None)
def test_only_the_ratio_to_the_limit_matters(suite, seed, factor):
    values = draw(suite, seed)
    limits = {key: row[2] for key, row in enumerate(suite)}
    scaled = decide(
        LOOSE,
        {key: [factor * value for value in row] for key, row in values.items()},
        {key: factor * limit for key, limit in limits.items()},
    )
    plain = decide(LOOSE, values, limits)
    assert {key: (item.verdict, item.pairs, item.needed) for key, item in scaled.items()} == {
        key: (item.verdict, item.pairs, item.needed) for key, item in plain.items()
    }


@given(suites, seeds, st.floats(0, 0.2))
@settings(deadline=None)
def test_costing_more_never_turns_a_failure_into_a_pass(suite, seed, more):
    values = draw(suite, seed)[0]
    limit = {0: suite[0][2]}
    before, after = (decide(LOOSE, {0: row}, limit)[0] for row in (values, [value + more for value in values]))
    if before.verdict == "regressed":
        assert after.verdict == "regressed"
        assert after.pairs <= before.pairs
    if after.verdict in ("pass", "improved"):
        assert before.verdict in ("pass", "improved")
        assert before.pairs <= after.pairs


@given(suites, seeds)
@settings(deadline=None)
def test_the_verdict_can_be_read_off_the_interval(suite, seed):
    limits = {key: row[2] for key, row in enumerate(suite)}
    rounding = 1e-9
    for key, item in decide(LOOSE, draw(suite, seed), limits).items():
        assert item.low < item.effect < item.high
        assert item.pairs in LOOSE.looks
        assert (item.verdict in ("pass", "improved")) == (item.high <= limits[key] + rounding)
        if item.verdict == "improved":
            assert item.high <= rounding
        if item.verdict == "regressed":
            assert item.low >= -rounding
        if item.verdict == "inconclusive":
            assert item.low <= rounding
            assert item.needed > 0
        else:
            assert item.needed is None


# The plan.


@given(st.integers(2, 400))
def test_planned_looks_grow_to_the_budget(most):
    looks = planned_looks(most)
    assert looks[-1] == most
    assert all(later >= 1.2 * earlier for earlier, later in itertools.pairwise(looks))
    assert sum(Plan(looks).shares) == pytest.approx(1)


def test_planned_looks_by_hand():
    assert planned_looks(20) == Plan().looks == (4, 6, 9, 13, 20)
    assert planned_looks(45) == (4, 6, 9, 13, 20, 30, 45)
    assert planned_looks(10) == (4, 6, 10)
    assert planned_looks(3) == (3,)


@pytest.mark.parametrize("looks", [(), (1, 2), (4, 4), (6, 4)])
def test_looks_that_do_not_increase_are_refused(looks):
    with pytest.raises(ValueError, match="looks"):
        Plan(looks)


@pytest.mark.parametrize("rates", [{"alpha": 0}, {"beta": 0.5}, {"alpha": math.nan}])
def test_error_rates_are_checked(rates):
    with pytest.raises(ValueError, match="error rate"):
        Plan(**rates)


def test_one_pair_is_no_plan():
    with pytest.raises(ValueError, match="at least 2"):
        planned_looks(1)


@pytest.mark.parametrize(
    ("evidence", "limits", "match"),
    [
        ({}, {"a": 0.0}, "not above 0"),
        ({}, {"a": math.inf}, "not above 0"),
        ({"a": [math.nan]}, {"a": 0.05}, "not finite"),
        ({"b": [0.0]}, {"a": 0.05}, "no limit"),
    ],
)
def test_bad_input_is_refused(evidence, limits, match):
    with pytest.raises(ValueError, match=match):
        decide(Plan(), evidence, limits)
