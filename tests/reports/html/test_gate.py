import pytest

from energyaware.baselines.gate import Judgement
from energyaware.reports.html.gate import gate


@pytest.mark.parametrize(
    ("metric", "limit", "baseline", "expected"),
    [
        ("energy", "energy:5%", 2.0, 0.05),
        ("energy", "energy:0.2J", 2.0, 0.1),
        ("energy", "energy:0.2J", None, None),
        ("accuracy", "accuracy:3pp", 0.9, 0.03),
        ("mine", "mine:1", 1.0, None),
    ],
)
def test_the_limit_stands_on_the_scale_of_the_change(material_of, table, metric, limit, baseline, expected):
    item = Judgement("t::a", "a", metric, limit, "regressed", 0.2, 0.1, 0.3, baseline=baseline)
    (chart,) = gate(material_of(judgements=[item]))["charts"]
    (row,) = table(chart)
    assert row["limit"] == (expected if expected is None else pytest.approx(expected))
    assert (row["change"], row["low"], row["high"], row["verdict"]) == (0.2, 0.1, 0.3, "regressed")


def test_energy_is_shown_first_and_what_got_worse_is_listed_first(material_of, table):
    items = [
        Judgement("t::a", "a", "accuracy", "accuracy:3pp", "pass", 0.0),
        Judgement("t::a", "a", "energy", "energy:5%", "pass", 0.0),
        Judgement("t::b", "b", "energy", "energy:5%", "regressed", 0.2),
    ]
    content = gate(material_of(judgements=items))
    assert [row["metric"] for row in table(content["charts"][0])] == ["energy", "energy", "accuracy"]
    assert [item["verdict"] for item in content["verdicts"]] == ["regressed", "pass", "pass"]


def test_what_could_not_be_compared_is_listed_with_its_reason(material_of):
    item = Judgement("t::a", "a", "energy", "energy:5%", "missing", reason="the baseline has no such benchmark")
    content = gate(material_of(judgements=[item]))
    assert content["charts"] == []
    assert content["verdicts"][0]["reason"] == "the baseline has no such benchmark"
    assert content["text"] == ["Baseline: 0001_main.json.", "1 missing."]
    assert gate(material_of()) is None
