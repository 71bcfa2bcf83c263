import math

from energyaware.reports.drivers import Analysis, Section
from energyaware.reports.html.drivers import drivers
from energyaware.stats.regression import Fit, Share, Term


def analysis(**changes):
    fit = Fit(
        rows=9, unknowns=2, r2=0.9, residual_sd=0.1, residual_squares=0.1, total_squares=1.0,
        terms=(
            Term("precision", "nf4 instead of fp32", math.log(2), math.log(1.5), math.log(2.5)),
            Term("model", "b instead of a", 0.0, -900.0, 900.0),
        ),
        shares=(Share("precision", 0.7, 0.6), Share("model", None, 0.1)),
        constant={}, aliased=(), close=(),
    )  # fmt: skip
    sections = (Section("prefill", 9, fit), Section("decode", 1, None, "1 rows are too few"))
    return Analysis({}, ("0001",), 9, sections, None, (), {}, {})


def test_effects_are_factors_and_those_with_endless_intervals_are_named_instead(material_of, table):
    content = drivers(material_of(analyses=[analysis()]))
    effects, shares = (table(chart) for chart in content["charts"])
    assert abs(effects[0]["factor"] - 2) < 1e-4
    assert [row["effect"] for row in effects] == ["nf4 instead of fp32"]
    assert "prefill: the rows do not tell the effect of b instead of a." in content["text"]
    assert [row["share"] for row in shares] == [0.7, 0.1]
    assert content["text"][-1] == "decode: not fitted, 1 rows are too few."


def test_without_an_analysis_there_is_no_section(material_of):
    assert drivers(material_of()) is None
