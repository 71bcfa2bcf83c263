from dataclasses import replace

from energyaware.ranking.cut import Cut
from energyaware.records import Variant
from energyaware.reports.html.further import further
from energyaware.reports.html.page import render
from energyaware.reports.sections import sections


def test_a_run_without_such_sections_has_none(bench, material_of):
    assert further(material_of(bench("a"))) is None


def test_tables_and_lines_are_those_of_the_terminal(bench, material_of):
    variant = Variant("m-full")
    training = bench(
        variant.id, variant=variant, phase="finetune", features={"epochs": 2.0},
        samples={"training_loss": (0.9, 0.7), "validation_loss": (1.0, 0.8)},
    )  # fmt: skip
    material = material_of(training, bench("m <b>"))
    cuts = [Cut("inference", 1, ("m <b>",), {"m <b>": 1})]
    found = sections(material.run.benchmarks, (), full=True, cuts=cuts)
    material = replace(material, sections=found)
    tuning, cut, conclusions = further(material)["parts"]
    assert tuning["title"] == "Fine-tuning"
    (row,) = (dict(zip(tuning["heads"], cells, strict=True)) for cells in tuning["rows"])
    assert row["variant"] == variant.id
    assert row["validation loss"] == "1.000 → 0.800"
    assert cut["rows"] == []
    assert len(conclusions["lines"]) == 5
    page = render(material)
    assert "the 1 best by R go on: m &lt;b&gt;" in page
    assert "Do the papers&#39; conclusions hold here?" in page
