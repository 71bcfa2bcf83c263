import pytest

from energyaware.records import Variant
from energyaware.reports.html.pruning import pruning


def test_pruned_rows_stand_against_their_unpruned_model(bench, material_of, table):
    items = [
        bench("a", 2.0, 0.9, variant=Variant("m")),
        bench("b", 1.0, 0.8, variant=Variant("m", "fp32", "depth-50")),
        bench("c", 1.0, 0.8, variant=Variant("other", "fp32", "depth-50")),
    ]
    charts = {chart["name"]: table(chart) for chart in pruning(material_of(*items))["charts"]}
    (energy,) = charts["pruning-energy"]
    assert (energy["variant"], energy["energy_change"]) == ("m-fp32-depth-50", pytest.approx(-0.5))
    assert energy["low"] < energy["energy_change"] < energy["high"]
    (quality,) = charts["pruning-quality"]
    assert quality["quality_change"] == pytest.approx(-0.1)


def test_without_an_unpruned_row_there_is_nothing_to_compare(bench, material_of):
    assert pruning(material_of(bench("a", variant=Variant("m", "fp32", "2of4")))) is None
