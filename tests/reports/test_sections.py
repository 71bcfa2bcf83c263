from __future__ import annotations

from energyaware.ranking.cut import Cut
from energyaware.records import Variant
from energyaware.reports.sections import cut_line, sections
from energyaware.reports.tables import TERMINAL


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


def test_broken_variants_do_not_pass_for_frugal_ones(bench):
    model = "m-full"
    good, broken = Variant(model), Variant(model, pruning="depth-50")
    training = bench(good.id, variant=good, phase="finetune", features={"epochs": 4.0})
    answers = [
        bench(item.id, energy, quality, variant=item, trivial_quality={"accuracy": 0.2})
        for item, energy, quality in ((good, 2.0, 0.9), (broken, 1.0, 0.1))
    ]
    (_, found) = sections([training, *answers], (), requests=10)
    assert found.table is not None
    assert broken.id not in found.table(TERMINAL, None)
    assert found.lines[-1].endswith(f"trivial baseline: {broken.id}")
    (_, found) = sections([training, answers[1]], (), requests=10)
    assert found.table is None
    assert found.lines[0].endswith(broken.id)


def test_nobody_skipped_is_said():
    assert cut_line(Cut("g", 3, ("a",), {"a": 1})).endswith("skipped: none")
