import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.config import SORTS
from energyaware.reports.columns import COLUMNS, DROP_ORDER, NAMES, escaped, plain, sorted_rows


@given(st.text(st.characters()))
def test_plain_text_holds_nothing_that_moves_a_terminal(text):
    assert plain(text).isprintable()
    plain(text).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31mred", "\\x1b[31mred"), ("a\nb\t", "a\\x0ab\\x09"), ("\udc80", "\\xdc80"), ("φ é", "φ é")],
)
def test_control_characters_are_made_visible(text, shown):
    assert plain(text) == shown


@given(st.text())
def test_markdown_text_stays_in_its_cell(text):
    shown = escaped(text)
    assert shown.isprintable()
    assert "<" not in shown
    assert "`" not in shown
    # What GitHub reads: a backslash and what it escapes are one letter, and no bar is left over.
    assert "|" not in shown.replace("\\\\", "").replace("\\|", "")


def test_what_may_be_dropped_are_columns_and_the_verdict_stays():
    assert set(DROP_ORDER) < set(NAMES)
    assert {"rank", "variant", "energy", "latency", "accuracy"} == set(NAMES) - set(DROP_ORDER)
    assert len(set(NAMES)) == len(COLUMNS)
    assert all((column.row is None) != (column.task is None) for column in COLUMNS)


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("r", ["b", "a", "broken"]),
        ("energy", ["a", "b", "broken"]),
        ("latency", ["b", "a", "broken"]),
        ("accuracy", ["b", "a", "broken"]),
        ("variant", ["a", "b", "broken"]),
    ],
)
def test_rows_are_sorted_and_those_without_the_value_come_last(bench, ranking_of, sort, names):
    slow = bench("a", 1.0, 0.3)
    slow = dataclasses.replace(
        slow, rounds=tuple(dataclasses.replace(entry, duration_s=0.9) for entry in slow.rounds)
    )  # fmt: skip
    ranking = ranking_of(bench("broken", quality=None, count=0), slow, bench("b", 1.1, 0.9))
    assert [row.name for row in sorted_rows(ranking.rows, sort)] == names
    assert sort in SORTS
