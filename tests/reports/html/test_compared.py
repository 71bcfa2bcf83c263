"""The page of `energyaware compare`."""

import math
from dataclasses import replace

import pytest

from energyaware.baselines.gate import Judgement
from energyaware.branches.comparison import Comparison
from energyaware.branches.launches import Launch, Pair, Question
from energyaware.branches.verdicts import Standing
from energyaware.records import Reading
from energyaware.reports.html import page
from energyaware.reports.html.compared import compared_page
from energyaware.reports.html.gate import gate

NAME = "t.py::a"


@pytest.fixture
def compared(bench):
    """A comparison of two launches: 10 % and 21 % more, and a count that one launch decides."""

    def pair(factor):
        base = bench("a", count=4)
        dearer = tuple(
            replace(entry, reading=Reading({"cpu": entry.reading.energy_j["cpu"] * factor}, 0.1))
            for entry in base.rounds
        )
        return Pair(base, replace(base, rounds=dearer))

    launches = tuple(Launch({NAME: pair(factor)}, 1.0, 2.0) for factor in (1.1, 1.21))
    judgements = (
        Judgement(NAME, "a", "energy", "energy:5%", "regressed", 0.15, 0.1, 0.2),
        Judgement(NAME, "a", "flops", "flops:0%", "pass", 0.0),
    )
    return Comparison(Question("b" * 40, "h" * 40, (NAME,)), launches, Standing(judgements, ()), False, 3.0, 4.0)


def test_each_launch_is_a_point_and_the_rest_is_provenance(compared, monkeypatch, table):
    pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")
    seen = []
    monkeypatch.setattr(page, "render", lambda material, only, title: seen.append(material) or title)
    assert compared_page("Energy: main → x", compared, {"cpu": "Test CPU"}) == "Energy: main → x"
    content = gate(seen[0])
    intervals, launches = content["charts"]
    assert [row["metric"] for row in table(intervals)] == ["energy", "flops"]
    assert [(row["launch"], row["metric"]) for row in table(launches)] == [(1, "energy"), (2, "energy")]
    assert [row["change"] for row in table(launches)] == pytest.approx([0.1, 0.21], rel=1e-4)
    assert [row["limit"] for row in table(launches)] == [0.05, 0.05]
    assert seen[0].run.totals.energy_j == 4.0
    assert len(seen[0].run.benchmarks[0].rounds) == 8
    assert math.isnan(seen[0].grams(1.0))


def test_the_page_holds_no_ranking_and_escapes_its_title(compared):
    pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")
    text = compared_page("Energy: <main> → x", compared, {"cpu": "Test CPU"})
    assert "<h1>Energy: &lt;main&gt; → x</h1>" in text
    assert 'id="gate"' in text
    assert "Test CPU" in text
    assert 'id="ranking"' not in text
    assert 'id="answer"' not in text
