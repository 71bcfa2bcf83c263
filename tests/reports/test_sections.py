from __future__ import annotations

from energyaware.ranking.cut import Cut
from energyaware.reports.sections import cut_line, sections


def test_a_run_of_nothing_special_has_no_sections():
    assert sections((), ()) == ()


def test_sections_come_with_what_was_asked_for():
    found = sections((), (), full=True, requests=10, cuts=[Cut("inference", 1, ("a",), {"a": 1, "b": 2, "c": None})])
    assert [item.title for item in found] == [
        "fine-tuning and 10 requests",
        "pruned in the second stage",
        "Do the papers' conclusions hold here?",
    ]
    assert found[1].lines == ("inference: the 1 best by R go on: a; skipped: b (rank 2), c (no rank)",)
    assert len(found[2].lines) == 5


def test_nobody_skipped_is_said():
    assert cut_line(Cut("g", 3, ("a",), {"a": 1})).endswith("skipped: none")
