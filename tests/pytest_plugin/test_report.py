"""`--energy-report`: files after a run."""

import pytest

from energyaware.reports.html import page
from energyaware.reports.schema import stored_schema


def test_a_run_leaves_a_page_beside_markdown_and_csv(measure, suite):
    pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")
    result = measure("--energy-report=out")
    assert result.ret == 0
    assert sorted(path.name for path in (suite.path / "out").iterdir()) == ["energy.csv", "energy.html", "energy.md"]
    result.stdout.fnmatch_lines(["*energy.html*"])
    assert "test_mine" in (suite.path / "out" / "energy.html").read_text(encoding="utf-8")


def test_the_head_of_a_stored_run_has_exactly_the_members_of_the_schema(measure, stored):
    measure("--benchmark-save=base")
    of_a_cluster = {"nodes"}
    assert set(stored()["energyaware"]) == set(stored_schema()["$defs"]["EnergyAware"]["properties"]) - of_a_cluster


def test_without_jinja2_the_rest_is_written_and_the_remedy_said(measure, suite, monkeypatch):
    monkeypatch.setattr(page, "available", lambda: False)
    result = measure("--energy-report=out")
    assert result.ret == 0
    assert sorted(path.name for path in (suite.path / "out").iterdir()) == ["energy.csv", "energy.md"]
    result.stdout.fnmatch_lines(["*energy.html is left out*"])


def test_the_page_holds_the_verdicts(measure, suite):
    pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")
    measure("--benchmark-save=base")
    result = measure("--energy-compare=base", "--energy-fail=energy:5%", "--energy-report=out")
    assert result.ret == 0
    assert 'id="gate"' in (suite.path / "out" / "energy.html").read_text(encoding="utf-8")
