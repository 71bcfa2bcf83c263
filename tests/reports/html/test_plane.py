import pytest

from energyaware.records import Variant
from energyaware.reports.html.plane import plane


def test_points_have_whiskers_and_the_front_and_the_reference_are_marked(bench, material_of, table):
    scores = {"accuracy": (1.0, 0.0, 1.0, 1.0)}
    items = [
        bench("a", 2.0, 0.75, variant=Variant("m"), scores=scores),
        bench("b", 1.0, 0.7, variant=Variant("m", "bf16")),
        bench("c", 3.0, 0.6, variant=Variant("m", "nf4")),
    ]
    (chart,) = plane(material_of(*items))["charts"]
    rows = {row["variant"]: row for row in table(chart)}
    first = rows["m-fp32"]
    assert first["energy_low_j"] < first["energy_j"] < first["energy_high_j"]
    assert first["energy_j"] == pytest.approx(2.0, rel=0.01)
    # 1.96 · 0.5 / √4, with the sample's standard deviation.
    assert first["quality_high"] - first["quality"] == pytest.approx(0.49, abs=0.01)
    assert rows["m-bf16"]["quality_low"] is None
    assert [name for name, row in rows.items() if row["pareto"]] == ["m-bf16", "m-fp32"]
    assert [name for name, row in rows.items() if row["reference"]] == ["m-fp32"]
    assert (chart["x"], chart["y"], chart["front"], chart["mark"]) == ("energy_j", "quality", "pareto", "reference")


def test_without_quality_there_is_no_plane(bench, material_of):
    assert plane(material_of(bench("a", quality=None))) is None
