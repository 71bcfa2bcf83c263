import csv
import io
import json
import math

import pytest

from energyaware.reports.charts import Column, chart_csv, make_chart, packed, present

COLUMNS = (Column("variant", "variant"), Column("energy_j", "energy", "J"), Column("on", "on"))


def chart(rows, **changes):
    plain = {"x": "energy_j", "y": "variant"}
    return make_chart("name", "bars", "Title", "What it shows.", COLUMNS, rows, **(plain | changes))


def test_numbers_are_rounded_and_names_made_visible():
    made = chart([("a\x1b", 1.23456789, True), ("b", 2, None)])
    assert made["rows"] == [["a\\x1b", 1.2346, True], ["b", 2, None]]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_cannot_be_drawn_is_left_out(value):
    assert chart([("a", value, True)]) is None
    assert present(chart([("a", value, True)]), None) == []


@pytest.mark.parametrize("wrong", [{"x": "nowhere"}, {"colour": "variant"}])
def test_an_encoding_that_nobody_draws_is_an_error(wrong):
    with pytest.raises(ValueError, match="cannot be drawn"):
        chart([("a", 1.0, True)], **wrong)


def test_packing_keeps_every_cell():
    made = chart([("a", 1.0, True), ("b", 2.0, False), ("a", 3.0, None)])
    small = json.loads(json.dumps(packed(made)))
    levels = [column.get("levels") for column in small["columns"]]
    assert levels == [["a", "b"], None, None]
    rows = [
        [names[cell] if names and cell is not None else cell for names, cell in zip(levels, row, strict=True)]
        for row in small["rows"]
    ]
    assert rows == made["rows"]


def test_the_csv_has_units_in_its_column_names_and_empty_cells():
    text = chart_csv(chart([("a,b", 1.5, None)]))
    assert list(csv.reader(io.StringIO(text))) == [["variant", "energy_j", "on"], ["a,b", "1.5", ""]]
