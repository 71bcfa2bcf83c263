import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.config import SORTS
from energyaware.records import Ceiling, Work
from energyaware.reports.columns import COLUMNS, DROP_ORDER, NAMES, escaped, plain, sorted_rows
from energyaware.reports.tables import ranking_table


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![seen](http://x/y.png)", "![seen]\\(http:\\//x/y.png)"),
        ("[a]: http://x", "\\[a]: http:\\//x"),
        ("see https://x.example or WWW.x.example", "see https:\\//x.example or WWW\\.x.example"),
        ("awww. C:/x", "awww. C:/x"),
        ("test_a[10]: fine (really)", "test_a[10]: fine (really)"),
    ],
)
def test_markdown_text_is_no_link_and_no_image(text, shown):
    assert escaped(text) == shown


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


def test_phases_show_percentiles_rates_and_shares_of_the_ceiling(bench, ranking_of):
    item = bench(
        "decode",
        work=Work(flops=10**9, read_bytes=4 * 10**8, tokens_out=20),
        samples={"tpot_s": (0.010, 0.020, 0.030)},
        ceiling=Ceiling(flops_per_s=1e11, bytes_per_s=8e9),
    )
    (row,) = ranking_of(item).rows
    cells = {column.name: column.task(row.details[0], lambda _: 0.0) for column in COLUMNS if column.task}
    # A call takes 0.1 s.
    assert cells["rate"] == "200 /s"
    assert cells["tpot"] == "20.0 ms / 29.0 ms"
    assert (cells["mfu"], cells["mbu"]) == ("10.0 %", "50.0 %")
    assert cells["ttft"] == "–"


def test_what_no_row_has_takes_no_column(bench, ranking_of):
    text = ranking_table(ranking_of(bench("a")), lambda _: 0.0)
    assert "MFU" not in text
    assert "first token" not in text
    assert "MFU" in ranking_table(ranking_of(bench("a")), lambda _: 0.0, names=("variant", "mfu"))
