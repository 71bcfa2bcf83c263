import dataclasses

import pytest

from energyaware.records import Variant
from energyaware.reports.html.precision import precision


def test_precisions_come_in_their_order_with_energy_carbon_and_quality(bench, material_of, table):
    items = [bench(name, variant=Variant("m", name)) for name in ("nf4", "fp32", "bf16")]
    pruned = bench("p", variant=Variant("m", "fp32", "2of4"))
    content = precision(material_of(*items, pruned))
    charts = {chart["name"]: table(chart) for chart in content["charts"]}
    assert [row["precision"] for row in charts["precision-energy"]] == ["fp32", "bf16", "nf4"]
    assert charts["precision-carbon"][0]["carbon_g"] == pytest.approx(1e-4, rel=0.01)
    assert charts["precision-quality"][0]["quality"] == 0.8


def test_one_precision_is_nothing_to_compare(bench, material_of):
    assert precision(material_of(bench("a", variant=Variant("m")))) is None


def test_carbon_without_an_intensity_is_left_out(bench, material_of):
    items = [bench(name, variant=Variant("m", name)) for name in ("fp32", "bf16")]
    material = dataclasses.replace(material_of(*items), grams=lambda _: float("nan"))
    assert "precision-carbon" not in [chart["name"] for chart in precision(material)["charts"]]
