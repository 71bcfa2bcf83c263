"""Records with known effects: what was put in must come out."""

import dataclasses
import itertools
import math
import random

import pytest

from energyaware.records import Benchmark, Domain, Reading, Round, Run, Totals, Variant, Work
from energyaware.reports.drivers import ALL_WORK, analyses

CPU = {"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W")}
RAPL = {"cpu": Domain("rapl", "measured", 1e-3, "package-0")}
PRECISION = {"fp32": 1.0, "bf16": 0.4, "nf4": 1.3}
MODEL = {"small": 1.0, "large": 4.0}
PARAMETERS = {"small": 1e6, "large": 4e6}


def benchmark(energy_j, variant, *, task="rca", phase="prefill", candle_j=0.5, noise=(0.99, 1.01), **changes):
    domains = changes.get("domains", CPU)
    candle = Reading(dict.fromkeys(domains, candle_j), 0.1) if candle_j else None
    rounds = tuple(
        Round(1, 0.1, Reading(dict.fromkeys(domains, energy_j * ripple), 0.1), candle) for ripple in noise * 3
    )
    plain = {
        "fullname": f"t.py::{variant.id}{task}{phase}", "name": f"{variant.id}{task}", "group": phase, "task": task,
        "phase": phase, "candle": "matmul/1", "layout": "", "domains": CPU, "rounds": rounds, "variant": variant,
    }  # fmt: skip
    return Benchmark(**(plain | changes))


def run_of(*items, number=1, machine="Test CPU"):
    return Run(items, {"cpu": machine}, {}, Totals(), "0", path=f"{number:04}_run.json")


def grid(seed=0, spread=0.02, speed=1.0, traits=None):
    """Energy per request = 0.01 J × tokens^0.9 × batch^−0.2 × model × precision, and noise."""
    rng = random.Random(seed)
    items = []
    for model, precision, tokens, batch in itertools.product(MODEL, PRECISION, (16, 64, 256), (1, 8)):
        energy = 0.01 * tokens**0.9 * batch**-0.2 * MODEL[model] * PRECISION[precision] * math.exp(rng.gauss(0, spread))
        moment = speed * math.exp(rng.gauss(0, 0.3))  # the machine's, which the candle shows
        items.append(
            benchmark(
                batch * energy * moment, Variant(model, precision), task=f"in {tokens} x{batch}", candle_j=0.5 * moment,
                work=Work(requests=batch, tokens_in=batch * tokens),
                traits=(traits(model, precision, tokens) if traits else {}),
            )
        )  # fmt: skip
    return items


def terms(section):
    return {term.name: term for term in section.fit.terms}


def test_effects_of_simulated_drivers_are_found_within_their_intervals():
    (found,) = analyses([run_of(*grid())])
    (section,) = found.sections
    assert section.kind == "prefill"
    assert section.fit.r2 > 0.99
    truth = {
        "twice the input tokens": 0.9 * math.log(2), "twice the batch size": -0.2 * math.log(2),
        "large instead of small": math.log(4), "bf16 instead of fp32": math.log(0.4),
        "nf4 instead of fp32": math.log(1.3),
    }  # fmt: skip
    assert set(terms(section)) == set(truth)
    for name, effect in truth.items():
        term = terms(section)[name]
        assert term.low < term.estimate < term.high
        assert term.estimate == pytest.approx(effect, abs=0.05)
        assert term.high - term.low < 0.3
    shares = {share.driver: share.average for share in section.fit.shares}
    assert max(shares, key=shares.get) == "input tokens"
    assert section.ranks["input tokens"] > 0.7
    assert section.ranks["batch size"] < 0
    assert section.unknown == {
        "output tokens": "no row has any", "parameters": "not recorded", "character entropy": "not recorded",
        "word entropy": "not recorded", "type-token ratio": "not recorded", "entity density": "not recorded",
    }  # fmt: skip
    assert section.fit.constant == {"pruning": "the same in every row"}


def test_the_level_is_joules_at_the_mean_speed_of_the_run():
    pair = [benchmark(2.0, Variant("a"), candle_j=1.0), benchmark(8.0, Variant("b"), candle_j=4.0)]
    (found,) = analyses([run_of(*pair)])
    (compared,) = found.pairs
    # Both are two candles; the candle's mean is 2 J, so both are 4 J.
    assert compared.difference.estimate == pytest.approx(0, abs=1e-9)


def test_runs_have_levels_of_their_own():
    alone = analyses([run_of(*grid(1))])[0]
    both = analyses([run_of(*grid(1)), run_of(*grid(1, speed=5.0), number=2)])
    (found,) = both
    assert found.runs == ("0001_run", "0002_run")
    for name, term in terms(alone.sections[0]).items():
        assert terms(found.sections[0])[name].estimate == pytest.approx(term.estimate, abs=1e-9)


@pytest.mark.parametrize("change", ["meter", "machine", "device", "power model"])
def test_what_was_not_measured_alike_is_never_pooled(change):
    other = grid(2)
    machine = "Test CPU"
    if change == "meter":
        other = [dataclasses.replace(item, domains=RAPL) for item in other]
    elif change == "device":
        other = [dataclasses.replace(item, traits={"device": "cuda"}) for item in other]
    elif change == "power model":
        domains = {"cpu": dataclasses.replace(CPU["cpu"], detail="9 W")}
        other = [dataclasses.replace(item, domains=domains) for item in other]
    else:
        machine = "Other CPU"
    found = analyses([run_of(*grid(1)), run_of(*other, number=2, machine=machine)])
    assert [analysis.rows for analysis in found] == [36, 36]
    assert [analysis.runs for analysis in found] == [("0001_run",), ("0002_run",)]


def decodes(seed=0):
    """Decoding reads a context cheaply and pays for each token of output."""
    rng = random.Random(seed)
    items = []
    for model, precision, tokens, out in itertools.product(MODEL, PRECISION, (16, 64), (8, 32, 128)):
        energy = (
            0.3 * tokens**0.1 * out**1.0 * MODEL[model] * PRECISION[precision] ** 0.5 * math.exp(rng.gauss(0, 0.02))
        )
        items.append(
            benchmark(
                energy, Variant(model, precision), task=f"in {tokens} out {out}", phase="decode", candle="small-ops/1",
                work=Work(requests=1, tokens_out=out), traits={"input tokens": str(tokens), "output tokens": "1"},
            )
        )  # fmt: skip
    return items


def test_phases_are_a_driver_together_and_are_fitted_apart():
    (found,) = analyses([run_of(*grid(), *decodes())])
    assert [section.kind for section in found.sections] == [
        ALL_WORK, "prefill", "decode"
    ]  # fmt: skip
    whole, prefill, decode = found.sections
    assert "decode instead of prefill" in terms(whole) or "prefill instead of decode" in terms(whole)
    assert whole.notes == ("The effect of output tokens is read from the 36 rows that have any.",)
    assert terms(whole)["twice the output tokens"].estimate == pytest.approx(math.log(2), abs=0.1)
    assert terms(prefill)["twice the input tokens"].estimate == pytest.approx(0.9 * math.log(2), abs=0.03)
    assert terms(decode)["twice the input tokens"].estimate == pytest.approx(0.1 * math.log(2), abs=0.03)
    assert terms(decode)["twice the output tokens"].estimate == pytest.approx(math.log(2), abs=0.03)
    assert found.apart == pytest.approx(1 - whole.fit.r2, abs=0.01)
    assert found.apart > 0.01


def test_one_phase_with_and_without_output_is_two_kinds_of_work():
    written = [
        dataclasses.replace(item, phase="prefill", fullname=f"{item.fullname}w", candle="matmul/1")
        for item in decodes()
    ]
    (found,) = analyses([run_of(*grid(), *written)])
    assert {section.kind for section in found.sections} == {ALL_WORK, "prefill", "prefill without output tokens"}


def ladder(model, precision, tokens):
    return {"parameters": str(PARAMETERS[model]), "architecture": "gpt2"}


def test_parameters_within_one_architecture_are_a_driver_and_two_sizes_have_no_interval():
    (found,) = analyses([run_of(*grid(traits=ladder))])
    term = terms(found.sections[0])["twice the parameters"]
    assert term.estimate == pytest.approx(math.log(2), abs=0.05)
    assert (term.low, term.reason) == (None, "rests on too few models")
    assert found.sections[0].fit.constant["architecture"] == "the same in every row"


def test_parameters_that_go_with_the_model_are_named():
    (found,) = analyses([run_of(*grid(traits=lambda model, *_: {"parameters": str(PARAMETERS[model])}))])
    (item,) = found.sections[0].fit.aliased
    assert (item.driver, item.partners) == ("parameters", ("model",))


def test_features_of_the_text_are_drivers_and_numbers_that_lack_in_some_rows_are_not():
    def traits(model, precision, tokens):
        found = {"word_entropy_bits": {16: "3.0", 64: "4.5", 256: "3.5"}[tokens]}
        return found | ({"type_token_ratio": "0.5"} if model == "small" else {})

    (found,) = analyses([run_of(*grid(traits=traits))])
    section = found.sections[0]
    assert any(name.endswith(" bits more word entropy") for name in terms(section))
    assert section.unknown["type-token ratio"] == "recorded in 18 of 36 rows"
    assert section.unknown["entity density"] == "not recorded"


@pytest.mark.parametrize("value", ["nan", "inf", "-3", "many"])
def test_traits_that_are_no_count_are_unknown(value):
    (found,) = analyses([run_of(*grid(traits=lambda *_: {"parameters": value}))])
    assert found.sections[0].unknown["parameters"] == "not recorded"


def test_too_few_rows_are_a_problem_with_the_number_needed():
    (found,) = analyses([run_of(benchmark(1.0, Variant("a")), benchmark(2.0, Variant("b")))])
    assert found.sections[0].fit is None
    assert found.sections[0].problem == "2 rows are too few: the drivers that vary here need 5"


def test_failed_and_empty_benchmarks_are_left_out_and_counted():
    bad = [
        benchmark(1.0, Variant("a"), outcome="failed", error="no memory"),
        benchmark(1.0, Variant("b"), rounds=()),
        benchmark(1.0, Variant("c")),
    ]
    (found,) = analyses([run_of(*bad)])
    assert (found.rows, found.left_out) == (1, {"its test failed": 1, "no valid reading": 1})
    assert analyses([run_of(*bad[:2])]) == ()


def test_rows_without_a_variant_are_compared_by_their_names():
    items = [benchmark(level, Variant(name)) for name, level in (("x", 1.0), ("y", 2.0))]
    items = [dataclasses.replace(item, variant=None, name=item.variant.model) for item in items]
    (found,) = analyses([run_of(*items)])
    assert [(pair.first, pair.second) for pair in found.pairs] == [("y", "x")]


# --- pairs ---------------------------------------------------------------------------------------------------------


def test_rounds_are_evidence_within_their_launch_only():
    (found,) = analyses([run_of(benchmark(1.0, Variant("a")), benchmark(1.5, Variant("b")))])
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.evidence, pair.count, pair.differs) == (
        "b-fp32", "a-fp32", "rounds", 12, True
    )  # fmt: skip
    assert pair.difference.estimate == pytest.approx(math.log(1.5))


def test_tasks_of_one_launch_are_the_pairs_where_there_are_several():
    ratios = {"rca": 1.5, "qa": 1.6, "response": 1.4}
    items = [benchmark(level, Variant("a"), task=task) for task, level in zip(ratios, (1.0, 5.0, 3.0), strict=True)]
    items += [
        benchmark(level * ratios[task], Variant("b"), task=task)
        for task, level in zip(ratios, (1.0, 5.0, 3.0), strict=True)
    ]
    (found,) = analyses([run_of(*items)])
    (pair,) = found.pairs
    assert (pair.evidence, pair.count) == ("tasks", 3)
    assert pair.difference.estimate == pytest.approx(math.log(1.5 * 1.6 * 1.4) / 3)
    assert pair.difference.low > 0


def test_launches_are_the_replicate_however_many_rounds_and_tasks_they_have():
    runs = []
    for number, ratio in enumerate((1.30, 1.20, 1.25, 1.27), 1):
        items = [benchmark(1.0, Variant("a"), task=task) for task in ("rca", "qa")]
        items += [benchmark(ratio, Variant("b"), task=task) for task in ("rca", "qa")]
        runs.append(run_of(*items, number=number))
    (found,) = analyses(runs)
    (pair,) = found.pairs
    assert (pair.evidence, pair.count, pair.difference.count, pair.differs) == ("launches", 4, 4, True)
    assert math.exp(pair.difference.estimate) == pytest.approx(1.254, abs=0.001)


def test_holm_judges_all_pairs_together():
    """Two launches leave one degree of freedom: what passes alone does not among many."""
    rng = random.Random(0)
    names = [f"m{index}" for index in range(6)]

    def runs(chosen):
        return [
            run_of(*(benchmark(1.5**index * math.exp(noise[name][number]), Variant(name))
                     for index, name in enumerate(chosen)), number=number + 1)
            for number in range(2)
        ]  # fmt: skip

    noise = {name: (rng.gauss(0, 0.01), rng.gauss(0, 0.01)) for name in names}
    (two,) = analyses(runs(names[:2]))
    (six,) = analyses(runs(names))
    assert two.pairs[0].differs
    same = next(pair for pair in six.pairs if {pair.first, pair.second} == {"m0-fp32", "m1-fp32"})
    assert same.difference.p_value == pytest.approx(two.pairs[0].difference.p_value)
    assert not same.differs


def test_variants_that_never_did_the_same_work_are_not_compared():
    items = [benchmark(1.0, Variant("a"), task="rca"), benchmark(2.0, Variant("b"), task="qa")]
    (found,) = analyses([run_of(*items)])
    assert found.pairs == ()


def test_variants_are_ordered_within_their_group():
    items = [
        benchmark(level, Variant(name), phase=phase)
        for phase in ("prefill", "decode")
        for name, level in (("a", 2), ("b", 1), ("c", 3))
    ]
    (found,) = analyses([run_of(*items)])
    ranked = ("b-fp32", "a-fp32", "c-fp32")
    assert found.order == {"prefill": ranked, "decode": ranked}
    assert len(found.pairs) == 6


def test_with_few_variants_rows_judge_lengths_and_the_output_says_so():
    items = [item for item in grid() if item.variant.precision == "fp32" and item.variant.model == "small"]
    (found,) = analyses([run_of(*items)])
    (section,) = found.sections
    term = terms(section)["twice the input tokens"]
    assert term.low < 0.9 * math.log(2) < term.high
    assert section.notes == (
        "Fewer than 4 variants: the intervals of phase, tokens and batch size hold for these alone.",
    )
