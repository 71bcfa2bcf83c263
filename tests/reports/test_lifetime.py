from __future__ import annotations

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
    assert "b costs less from 100 requests on [" in lines[3]
    assert "1.11 kJ" in lines[2]
    assert "2.01 kJ" in lines[3]


def test_who_costs_less_for_any_number_is_said():
    assert break_even_text(BreakEven("a", "b", None, None, None)) == "b costs less for any number"
    assert break_even_text(BreakEven("a", "b", 12.0, 3.0, None)).endswith("from 12 requests on [3, ?]")


def test_fine_tunings_show_their_course_and_absent_values_as_dashes():
    whole = Tuning("m-full", "m", (2.0, 2.0), (2.0, 1.0), (2.5, 1.25), 1_500_000, 10**9, 1.25, 2, 4.0)
    torn = Tuning("m-lora", "m", None, (), (), None, None)
    table = tuning_table([whole, torn])
    first, second = table.splitlines()[2:]
    for text in ("2.00 J", "2.000 → 1.000", "2.500 → 1.250", "4.00 J", "1.50 M", "1.00 GB"):
        assert text in first
    assert second.split() == ["m-lora", "0", *(["–"] * 7)]


def test_markdown_is_escaped():
    table = tuning_table([Tuning("a|b", "m", None, (), (), None, None)], MARKDOWN)
    assert "a|b" not in table
