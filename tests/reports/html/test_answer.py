import re

import pytest

from energyaware.records import Variant
from energyaware.reports.html.answer import answer


def facts(content):
    return {fact["name"]: fact["text"] for fact in content["facts"]}


def test_it_says_what_to_deploy_what_that_saves_and_what_it_rests_on(bench, material_of):
    items = [bench("a", 2.0, 0.9, variant=Variant("m")), bench("b", 1.0, 0.88, variant=Variant("m", "bf16"))]
    content = answer(material_of(*items))
    assert content["title"] == "Deploy m-bf16"
    assert content["reference"] == "m-fp32"
    said = facts(content)
    assert re.fullmatch(
        r"50\.0 % \(49\.8 % … 50\.2 %\) of the energy of m-fp32, each divided by the candle beside its rounds",
        said["saves"],
    )
    assert said["quality"] == "0.880 (accuracy), -2.0 percentage points against m-fp32"
    assert (
        said["how sure"]
        == "first in 100 % of runs drawn from this launch's rounds and examples; every other row lies behind it"
    )
    assert said["joules are"] == "estimated (cpu: cpu-time)"
    assert said["rank by"] == "R at w = 0.5"


def test_without_quality_energy_alone_is_said(bench, material_of):
    content = answer(material_of(bench("a", 2.0, None), bench("b", 1.0, None)))
    assert content["title"] == "b needs the least energy"
    assert "quality" not in facts(content)
    assert "saves" not in facts(content)


def test_without_a_reference_the_saving_is_unknown(bench, material_of):
    items = [bench("a", 1.0, 0.9, variant=Variant("m", "bf16")), bench("b", 3.0, 0.5, variant=Variant("m", "nf4"))]
    assert facts(answer(material_of(*items)))["saves"].startswith("unknown")


def test_the_reference_may_be_the_best(bench, material_of):
    items = [bench("a", 1.0, 0.9, variant=Variant("m")), bench("b", 3.0, 0.5, variant=Variant("m", "nf4"))]
    assert facts(answer(material_of(*items)))["saves"].startswith("nothing")


def test_a_best_row_that_costs_more_saves_nothing(bench, material_of):
    items = [bench("a", 1.0, 0.6, variant=Variant("m")), bench("b", 1.2, 0.9, variant=Variant("m", "bf16"))]
    said = facts(answer(material_of(*items, weight=0.1)))["saves"]
    assert said.startswith("nothing: it needs 20.0 % (")
    assert "more energy than m-fp32" in said


def test_the_quality_that_is_lost_has_the_interval_of_paired_examples(bench, material_of):
    ids = ("1", "2", "3", "4")
    items = [
        bench("a", 2.0, 0.75, variant=Variant("m"), scores={"accuracy": (1.0, 1.0, 1.0, 0.0)}, example_ids=ids),
        bench("b", 1.0, 0.5, variant=Variant("m", "bf16"), scores={"accuracy": (1.0, 1.0, 0.0, 0.0)}, example_ids=ids),
    ]
    # One of four changes: 1.96 · 0.5 / √4.
    assert facts(answer(material_of(*items)))["quality"] == (
        "0.500 (accuracy), -25.0 (-74.0 … +24.0) percentage points against m-fp32"
    )


def test_what_is_deployed_answers_requests_even_if_tuning_was_measured_first(bench, material_of):
    tuned = bench("t", 1.0, 0.9, variant=Variant("m-tuned"), phase="finetune", group="finetune")
    served = bench("s", 1.0, 0.9, variant=Variant("m"), group="inference")
    assert answer(material_of(tuned, served))["variant"] == "m-fp32"
    assert answer(material_of(tuned))["variant"] == "m-tuned-fp32"


def test_ties_are_named(bench, material_of):
    content = answer(material_of(bench("a", 1.0, 0.8), bench("b", 1.0, 0.8)))
    assert "cannot be told from" in facts(content)["how sure"]


@pytest.mark.parametrize("items", [[], ["empty"]])
def test_nothing_ranked_is_no_answer(bench, material_of, items):
    assert answer(material_of(*(bench(name, count=0) for name in items))) is None
