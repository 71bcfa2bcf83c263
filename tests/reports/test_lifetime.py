from __future__ import annotations

from dataclasses import replace

from energyaware.ranking.lifetime import Amount, BreakEven, Cost
from energyaware.ranking.tuning import Tuning
from energyaware.reports.lifetime import break_even_text, lifetime_table, tuning_table
from energyaware.reports.tables import MARKDOWN

CHEAP_TO_TRAIN = Cost("a", Amount(10.0, 1.0), Amount(2.0, 0.1), 0.9)
CHEAP_TO_RUN = Cost("b", Amount(110.0, 1.0), Amount(1.0, 0.1), None)


def test_the_cheapest_stands_first_and_the_others_tell_their_break_even():
    lines = lifetime_table([CHEAP_TO_TRAIN, CHEAP_TO_RUN], 1000).splitlines()
    assert lines[2].startswith("b ")
    assert lines[2].rstrip().endswith("–")
    assert lines[3].startswith("a ")
    assert "costs more from 100 on [" in lines[3]
    assert "1.11 kJ" in lines[2]
    assert "2.01 kJ" in lines[3]


def test_who_costs_less_for_any_number_is_said():
    never = BreakEven("a", "b", None, None, None)
    assert break_even_text(never, "a") == "costs more for any number"
    assert break_even_text(never, "b") == "costs less for any number"
    same_training = BreakEven("a", "b", 0.0, 0.0, 3.0)
    assert break_even_text(same_training, "a") == "costs less for any number"
    assert break_even_text(same_training, "b") == "costs more for any number"


def test_break_even_is_told_from_the_side_of_the_row():
    point = BreakEven("a", "b", 12_345.0, 3.0, None)
    assert break_even_text(point, "a") == "costs less from 12.3 k on [3, ?]"
    assert break_even_text(point, "b") == "costs more from 12.3 k on [3, ?]"


def test_fine_tunings_show_their_course_and_absent_values_as_dashes():
    whole = Tuning("m-full", "m", (2.0, 2.0), (2.0, 1.0), (2.5, 1.25), 1_500_000, 10**9, 1.25, 2, 4.0)
    torn = Tuning("m-lora", "m", None, (), (), None, None)
    table = tuning_table([whole, torn])
    first, second = table.splitlines()[2:]
    for text in ("2.00 J", "2.000 → 1.000", "2.500 → 1.250", "4.00 J", "1.50 M", "1.00 GB"):
        assert text in first
    assert second.split() == ["m-lora", "0", *(["–"] * 7)]


def test_narrow_terminals_get_fewer_columns_and_keep_what_matters():
    tunings = [Tuning("mini-gpt2-full-fp32", "m", (2.0,) * 4, (2.0,) * 4, (2.5,) * 4, 1_500_000, 10**9, 1.25, 2, 4.0)]
    table = tuning_table(tunings, width=80)
    assert max(map(len, table.splitlines())) <= 80
    assert "2.500 → 2.500" in table
    assert "J/epoch" in table
    costs = [replace(CHEAP_TO_TRAIN, row="mini-gpt2-lora-bf16-2of4"), replace(CHEAP_TO_RUN, row="mini-gpt2-full-fp32")]
    table = lifetime_table(costs, 1000, width=80)
    assert max(map(len, table.splitlines())) <= 80
    assert "costs more from 100 on" in table


def test_markdown_is_escaped():
    table = tuning_table([Tuning("a|b", "m", None, (), (), None, None)], MARKDOWN)
    assert "a|b" not in table
