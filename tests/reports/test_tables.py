from dataclasses import replace

import pytest

from energyaware.baselines.gate import Judgement
from energyaware.ranking.score import Ranking
from energyaware.records import RoundState, Totals, Variant, Work
from energyaware.reports.columns import COLUMNS
from energyaware.reports.tables import (
    MARKDOWN,
    TERMINAL,
    gate_table,
    ranking_notes,
    ranking_table,
    remarks,
    totals_line,
)


def grams(energy_j):
    return energy_j * 1e-4


ALWAYS = [column for column in COLUMNS if not column.optional]


def lines_of(text):
    return [line.rstrip() for line in text.splitlines()]


def test_every_column_is_shown_where_there_is_room(bench, ranking_of):
    ranking = ranking_of(bench("a", 1.0, 0.8, work=Work(requests=2, tokens_out=10)), bench("b", 2.0, 0.9))
    header, _, first, second = lines_of(ranking_table(ranking, grams))
    for column in ALWAYS:
        assert column.title in header
    for shown in ("1", "a", "501 mJ ±", "100 mJ", "estimated", "100 ms", "0.800", "µg", "1.000", "◆"):
        assert shown in first
    assert "b" in second
    assert second.split()[0] == "2"


@pytest.mark.parametrize("width", [160, 120, 100, 80, 60])
def test_the_table_fits_by_dropping_columns(bench, ranking_of, width):
    ranking = ranking_of(bench("mini-gpt2", 1.0, 0.8), bench("mini-mistral", 2.0, 0.9))
    text = ranking_table(ranking, grams, width=width)
    assert max(map(len, text.splitlines())) <= width
    for title in ("rank", "variant", "energy/request", "latency", "quality"):
        assert title in text


def test_what_cannot_fit_is_still_whole(bench, ranking_of):
    ranking = ranking_of(bench("x" * 90))
    text = ranking_table(ranking, grams, width=40)
    assert "x" * 90 in text
    assert "CO₂e" not in text


def test_the_user_chooses_columns_and_their_order(bench, ranking_of):
    text = ranking_table(ranking_of(bench("a")), grams, names=["energy", "variant"], width=3)
    assert lines_of(text)[0].split() == ["energy/request", "variant"]
    assert lines_of(text)[2].endswith("a")


def test_the_trivial_reader_stands_beside_the_quality(bench, ranking_of):
    known = bench("a", quality=0.8, trivial_quality={"accuracy": 0.25, "other": 0.3})
    head, _, first, second = lines_of(ranking_table(ranking_of(known, bench("b", quality=0.7)), grams))
    assert "quality  trivial" in head
    assert "0.800    0.250" in first
    assert "0.700    –" in second
    assert "trivial" not in ranking_table(ranking_of(bench("b")), grams)


def test_a_variant_has_one_line_per_task_and_its_scores_once(bench, ranking_of):
    ranking = ranking_of(*(bench(task, task=task, variant=Variant("m", "bf16")) for task in ("rca", "qa")))
    _, _, first, second = lines_of(ranking_table(ranking, grams, names=["rank", "variant", "task", "r"]))
    assert first.split()[:3] == ["1", "m-bf16", "rca"]
    assert second.split() == ["qa"]


def test_what_is_absent_is_a_dash_and_never_a_zero(bench, ranking_of):
    ranking = ranking_of(bench("a", quality=None, count=0, domains={}))
    line = lines_of(ranking_table(ranking, grams))[2]
    assert "0" not in line
    # Everything but the name, the task and the empty Pareto cell.
    assert line.split() == ["–", "a", "rca", *["–"] * (len(ALWAYS) - 4)]


def test_names_cannot_move_the_terminal(bench, ranking_of):
    text = ranking_table(ranking_of(bench("evil\x1b[2J\nname", task="t\rask")), grams)
    assert "\x1b" not in text
    assert "\r" not in text
    assert "evil\\x1b[2J\\x0aname" in text
    assert len(text.splitlines()) == 3


def test_markdown_cells_are_escaped(bench, ranking_of):
    text = ranking_table(ranking_of(bench("<script>|x", task="a|b")), grams, style=MARKDOWN)
    assert "<script>" not in text
    header, rule, line = text.splitlines()
    assert line.replace("\\|", "").count("|") == header.count("|") == rule.count("|") == len(ALWAYS) + 1


@pytest.mark.parametrize("style", [TERMINAL, MARKDOWN])
def test_an_empty_ranking_is_a_header(style):
    text = ranking_table(Ranking("", (), 0.5, (), False, ""), grams, width=200, style=style)
    assert all(column.title in text for column in ALWAYS)


def test_notes_say_what_the_numbers_rest_on(bench, ranking_of):
    ranking = ranking_of(
        bench("a", 1.0, 0.5, notes=("zeros run dense",)), bench("b", 4.0, 0.9, discarded={"cpu: zero": 2})
    )
    notes = " ".join(ranking_notes(ranking, Totals(intensity_g_per_kwh=400.0, intensity_source="a table")))
    for said in (
        "w = 0.5", "Energy is estimated (cpu: cpu-time)", "cpu: 4 W per core: a table", "divided by the candle",
        "share a rank", "Best by weight: b for w in [0.00, 0.35], a for w in [0.35, 1.00]", "400 g/kWh (a table)",
        "a: zeros run dense", "b: rounds discarded (2 × cpu: zero)",
    ):  # fmt: skip
        assert said in notes


def test_a_note_of_every_row_is_said_once(bench, ranking_of):
    ranking = ranking_of(*(bench(name, notes=("masked",)) for name in "ab"))
    assert "all: masked" in ranking_notes(ranking, Totals())


def test_notes_without_quality_explain_the_missing_r(bench, ranking_of):
    assert "Ranked by energy alone" in ranking_notes(ranking_of(bench("a", quality=None)), Totals())[0]


def test_remarks_name_who_has_no_rank_and_why(bench, ranking_of):
    ranking = ranking_of(bench("a"), bench("b\n", outcome="failed", error="ValueError: \x1b[1mno"))
    assert remarks(ranking) == ["b\\x0a: error: ValueError: \\x1b[1mno"]


def test_the_gate_table_shows_a_noisy_an_exact_and_a_quality_verdict():
    text = gate_table([
        Judgement("t::a", "a", "energy", "energy:5%", "regressed", 0.5, 0.3, 0.7, 0.2, 1.0, 1.5),
        Judgement("t::a", "a", "flops", "flops:0%", "pass", 0.0, None, None, None, 1e9, 1e9),
        Judgement("t::a", "a", "accuracy", "accuracy:3pp", "improved", -0.02, -0.03, -0.01, None, 0.9, 0.92),
        Judgement("t::b\x1b", "b\x1b", "energy", "energy:5%", "missing", reason="gone"),
    ])  # fmt: skip
    energy, flops, accuracy, missing = [line.split("  ") for line in text.splitlines()[2:]]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in (energy, flops, accuracy, missing)]
    assert cells[0] == ["REGRESSED", "a", "energy:5%", "1.00 J", "1.50 J", "+50.0 %", "+30.0 % … +70.0 %", "+20.0 %"]
    assert cells[1] == ["pass", "a", "flops:0%", "1.00 GFLOP", "1.00 GFLOP", "+0.0 %", "–", "–"]
    # The effect is a drop: two points better, between one and three.
    assert cells[2] == ["improved", "a", "accuracy:3pp", "0.900", "0.920", "+2.0 pp", "+1.0 pp … +3.0 pp", "–"]
    assert cells[3] == ["missing", "b\\x1b", "energy:5%", "–", "–", "–", "–", "–"]


def test_the_gate_table_of_nothing_is_its_header():
    assert gate_table([]).split()[:3] == ["verdict", "benchmark", "limit"]


def test_the_totals_in_one_line():
    full = Totals(1234.0, "estimated", 61.4, 0.137, 400.0, "a table", 0.25)
    assert totals_line(full) == (
        "this run spent 1.23 kJ (estimated), 137 mg CO₂e in 61 s; 25.0 % of it went to measuring"
    )
    absent = totals_line(Totals())
    assert "energy of the whole run –" in absent
    assert "0" not in absent


def test_disturbed_rounds_are_counted_and_strangers_on_the_gpu_named(bench, ranking_of):
    calm, busy = RoundState(0.01, 0.02), RoundState(0.0, 0.3, foreign_gpu_processes=(4711,))
    rounds = bench("a").rounds
    marked = tuple(replace(entry, state=busy if index < 2 else calm) for index, entry in enumerate(rounds))
    notes = ranking_notes(ranking_of(bench("a", rounds=marked)), Totals())
    assert any("2 of 6 rounds (33 %) under contention" in note and "4711" in note for note in notes)
    quiet = tuple(replace(entry, state=calm) for entry in rounds)
    assert not any("contention" in note for note in ranking_notes(ranking_of(bench("a", rounds=quiet)), Totals()))


def test_no_drop_of_a_quality_is_no_negative_zero():
    text = gate_table([Judgement("t::a", "a", "accuracy", "accuracy:3pp", "pass", 0.0, 0.0, 0.0, None, 0.9, 0.9)])
    assert "+0.0 pp" in text
    assert "-0.0" not in text
