"""What the command prints, writes and returns; the comparison itself is in tests/branches."""

import json
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from energyaware.baselines.gate import Judgement
from energyaware.branches.comparison import Comparison
from energyaware.branches.launches import Question
from energyaware.branches.verdicts import Standing
from energyaware.cli import compare, main
from energyaware.errors import StoredRunError
from energyaware.reports.html import page


def judgement(verdict="pass", effect=0.01, **changes):
    plain = {"fullname": "b/test_x.py::test_a", "row": "test_a", "metric": "energy", "limit": "energy:5%"}
    return Judgement(**plain | {"verdict": verdict, "effect": effect, "low": -0.01, "high": 0.02} | changes)


class Compared:
    """Stands in for the comparison: remembers what it was asked, and answers."""

    def __init__(self):
        self.judgements = (judgement(),)
        self.unfinished = False
        self.error = None

    def __call__(self, settings, repository, folder, journal, janitor, meter, progress):
        self.settings = settings
        journal.begin(Question("b", "h", ()))
        self.journal = journal
        progress.preparing("checking \x1b[2Jmain out")
        progress.begin(1, Standing((), ()), 0, 60.0, 3.0)
        progress.begin(2, Standing(self.judgements, ("b/test_x.py::test_a",)), 2, 120.0, 4.0)
        progress.round("b/test_x.py::test_a", 1)
        if self.error is not None:
            raise self.error
        question = Question("b", "h", ())
        return Comparison(question, (), Standing(self.judgements, ()), self.unfinished, 90.0, 12.0)


@pytest.fixture
def compared(tmp_path, monkeypatch):
    monkeypatch.setenv("ENERGYAWARE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "repository_root", lambda folder: tmp_path)
    monkeypatch.setattr(compare, "best_available", lambda watts: None)
    stand_in = Compared()
    monkeypatch.setattr(compare, "compare", stand_in)
    return stand_in


@pytest.mark.parametrize(
    ("verdict", "status", "strict"),
    [
        ("pass", 0, 0), ("improved", 0, 0), ("regressed", 1, 1), ("inconclusive", 0, 1), ("incomparable", 0, 1),
        ("missing", 0, 1),
    ],
)  # fmt: skip
def test_the_exit_status_follows_the_verdict(compared, capsys, verdict, status, strict):
    compared.judgements = (judgement(verdict),)
    assert main(["compare", "main"]) == status
    assert main(["compare", "main", "--strict"]) == strict
    out = capsys.readouterr().out
    assert out.count("FAILED: b/test_x.py::test_a") == status + strict


def test_options_reach_the_comparison(compared):
    options = ["--rounds=4", "--launches=9", "--max-minutes=2", "--max-joules=5", "--fail=energy:3%", "--fail=flops:0%"]
    more = ["--benchmarks-from=own", "--prepare=pip install .", "--resume", "--", "bench", "-k", "x", "--", "y"]
    main(["compare", "main", "feature", *options, *more])
    found = compared.settings
    assert (found.base, found.head, found.rounds, found.launches, found.max_s, found.max_j) == (
        "main", "feature", 4, 9, 120.0, 5.0,
    )  # fmt: skip
    assert found.limits == ("energy:3%", "flops:0%")
    assert (found.benchmarks_from, found.prepare, found.resume) == ("own", "pip install .", True)
    assert found.pytest_arguments == ("bench", "-k", "x", "--", "y")


def test_without_options_the_working_tree_and_the_limits_of_the_ini_file(compared):
    main(["compare", "main"])
    assert (compared.settings.head, compared.settings.limits, compared.settings.prepare) == (None, (), "")
    assert compared.settings.max_j == float("inf")


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--rounds=1", "--rounds=1 is under 2"),
        ("--launches=0", "--launches=0 is under 2"),
        ("--max-minutes=nan", "--max-minutes=nan is not above 0"),
        ("--max-joules=-1", "--max-joules=-1 is not above 0"),
        ("--fail=enrgy:5%", "unknown metric 'enrgy'"),
        ("--report=file/inside", "cannot be written"),
    ],
)
def test_mistakes_are_one_line_and_status_2(compared, capsys, tmp_path, option, named):
    (tmp_path / "file").write_text("")
    assert main(["compare", "main", option]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1


def test_a_ref_that_begins_with_a_dash_is_no_option_of_git(compared, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--upload-pack=x"])
    assert caught.value.code == 2


def test_report_and_json_are_written(compared, tmp_path, capsys):
    compared.judgements = (judgement("regressed", 0.1, fullname="b/test_x.py::test_a[a|b]"),)
    main(["compare", "main", "--report=out/deep", "--json=raw/found.json"])
    text = (tmp_path / "out" / "deep" / "compare.md").read_text()
    assert text.startswith("## Energy: main → working tree\n")
    assert "REGRESSED" in text
    raw = json.loads((tmp_path / "raw" / "found.json").read_text())
    assert raw["judgements"][0]["verdict"] == "regressed"
    assert "report: " in capsys.readouterr().out
    if not page.available():
        pytest.skip("the page needs Jinja2: pip install 'energyaware[report]'")
    shown = (tmp_path / "out" / "deep" / "compare.html").read_text(encoding="utf-8")
    assert "<h1>Energy: main → working tree</h1>" in shown
    assert "regressed" in shown


def test_without_jinja2_the_rest_is_written_and_the_remedy_said(compared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(page, "available", lambda: False)
    main(["compare", "main", "--report=out"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["compare.md"]
    assert "energyaware[report]" in capsys.readouterr().out


def test_github_gets_annotations_only_there(compared, monkeypatch, capsys):
    compared.judgements = (judgement("regressed", 0.1),)
    main(["compare", "main"])
    assert "::error" not in capsys.readouterr().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    main(["compare", "main"])
    assert "::error file=b/test_x.py,title=energy::" in capsys.readouterr().out


def test_the_journal_is_kept_while_more_launches_would_decide_more(compared, capsys):
    main(["compare", "main"])
    assert not compared.journal.path.exists()
    compared.unfinished = True
    main(["compare", "main"])
    assert compared.journal.path.exists()
    out = capsys.readouterr().out
    assert "the budget ended before everything was decided" in out
    assert "--resume with a larger --max-minutes" in out


def test_the_journal_is_kept_on_an_error_and_while_interrupted(compared, capsys):
    compared.error = StoredRunError("no room \x1b[2J", "make some")
    assert main(["compare", "main"]) == 2
    assert compared.journal.path.exists()
    compared.error = KeyboardInterrupt()
    assert main(["compare", "main"]) == 130
    assert compared.journal.path.exists()
    error = capsys.readouterr().err
    assert "interrupted. No launch had finished" in error
    assert "\x1b" not in error


def test_progress_is_a_line_per_launch_where_nobody_watches(compared, capsys):
    main(["compare", "main"])
    assert capsys.readouterr().err.splitlines() == [
        "checking \\x1b[2Jmain out",
        "launch 1: starting, 1 min left, 3.00 J spent",
        "launch 2: 1 of 2 decided, test_a +1.0 % [-1.0 %, +2.0 %], 2 min left, 4.00 J spent",
    ]


def test_progress_says_how_many_joules_are_left(compared, capsys):
    main(["compare", "main", "--max-joules=10"])
    assert "launch 1: starting, 1 min left, 7.00 J left" in capsys.readouterr().err


def test_progress_on_a_terminal_is_one_line_that_is_overwritten(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    live = compare.LiveLine(float("inf"))
    live.begin(1, Standing((), ()), 0, 60.0, None)
    live.round("b/test_x.py::test_\x1b[2J", 3)
    live.clear()
    error = capsys.readouterr().err
    assert "\n" not in error
    lines = error.split("\r\x1b[K")
    assert lines[0] == lines[-1] == ""
    assert lines[1] == "launch 1: starting, 1 min left · test_\\x1b[2J 3"[:39]


def test_sigterm_unwinds_like_ctrl_c(compared, monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def killed(*arguments):
        compared(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        return SimpleNamespace()  # not reached

    monkeypatch.setattr(compare, "compare", killed)
    assert main(["compare", "main"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before
