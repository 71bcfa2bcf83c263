import json

import pytest

from energyaware.baselines.gate import Judgement
from energyaware.branches.comparison import Comparison
from energyaware.branches.launches import Launch, Pair, Question
from energyaware.branches.verdicts import Standing
from energyaware.reports.comparison import (
    comparison_json,
    comparison_markdown,
    comparison_text,
    github_errors,
    provenance,
    reasons,
)

QUESTION = Question("abc", "def", ("--rounds=6",), ("t.py::test_a",))


def judgement(verdict="regressed", **changes):
    plain = {
        "fullname": "b/t.py::test_a", "row": "test_a", "metric": "energy", "limit": "energy:5%", "verdict": verdict,
        "effect": 0.1, "low": 0.05, "high": 0.15,
    }  # fmt: skip
    return Judgement(**plain | changes)


@pytest.fixture
def compared(bench):
    def make(*judgements, launches=1, unfinished=False, energy_j=2.0):
        launch = Launch({"t.py::test_a": Pair(bench("a"), bench("a", 1.1))}, 3.0, energy_j)
        failed = Launch({"t.py::test_a": Pair(base_error="no")}, 3.0)
        standing = Standing(judgements, ())
        return Comparison(QUESTION, (*[launch] * launches, failed), standing, unfinished, 90.0, energy_j)

    return make


def test_text_shows_verdict_reason_and_cost(compared):
    found = compared(judgement(), judgement("inconclusive", row="test_b", reason="about 3 more would"))
    text = comparison_text("Energy: a → b", found)
    assert text.startswith("Energy: a → b\n")
    assert "REGRESSED" in text
    assert "+5.0 % … +15.0 %" in text
    assert "test_b energy:5%: inconclusive, about 3 more would" in text
    assert text.endswith("2 launches; energy estimated (cpu: cpu-time); the comparison took 1.5 min and 2.00 J")


def test_joules_that_nobody_read_are_not_claimed(compared):
    assert provenance(compared(launches=0, energy_j=None)) == (
        "1 launch; nothing could be measured; the comparison took 1.5 min"
    )


def test_a_budget_that_ended_is_a_reason(compared):
    assert reasons(compared(judgement())) == []
    assert reasons(compared(judgement(), unfinished=True)) == ["the budget ended before everything was decided"]


def test_names_break_out_of_neither_table_nor_line(compared):
    hostile = "x|y<script>\x1b[2J\n::error::`z`"
    found = compared(judgement(row=hostile, fullname=hostile, reason=hostile))
    text = comparison_text(hostile, found)
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("::")]
    markdown = comparison_markdown(hostile, found)
    assert "\x1b" not in markdown
    assert "<script>" not in markdown
    assert "`" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {rows[0].count("|")}
    (line,) = github_errors([judgement(fullname="a,b:c%\n::stop::x.py::test", effect=None)])
    assert line.startswith("::error file=a%2Cb%3Ac%25\\x0a,title=energy::a,b:c%25\\x0a::stop::x.py")


def test_github_reads_limit_and_change_as_they_are():
    assert github_errors([judgement()]) == [
        "::error file=b/t.py,title=energy::b/t.py::test_a: energy:5%25 regressed (+10.0 %25)"
    ]


def test_json_holds_everything(compared):
    data = json.loads(comparison_json(compared(judgement())))
    assert data["question"]["base"] == "abc"
    assert data["judgements"][0]["effect"] == 0.1
    assert len(data["launches"]) == 2
    assert data["launches"][0]["pairs"]["t.py::test_a"]["head"]["rounds"]
    assert data["energy_j"] == 2.0
