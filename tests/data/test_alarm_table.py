import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data.alarm_table import alarm_rows, alarm_values, is_alarm_table, ticket_text
from energyaware.data.columns import ColumnMap
from energyaware.data.source import load_dataset
from energyaware.data.tabular import open_table
from energyaware.errors import DataError

MICROWAVE = Path(__file__).parents[3] / "shared" / "data" / "microwave_failures.csv"


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def table(path: Path, extra: tuple[str, ...] = ()) -> Path:
    """63 patterns of six alarms, each in two rows that differ by a second and read the same."""
    patterns = [[100 * (i >> bit & 1) for bit in range(6)] for i in range(1, 64)]
    rows = [
        ",".join(str(value + (twin and value > 0)) for value in p) + f",{p[0] // 100}"
        for p in patterns
        for twin in (0, 1)
    ]
    return write(path, ",".join(f"alarm_{bit}" for bit in range(6)) + ",label", [*rows, *extra])


def test_text_groups_alarms_by_how_long_they_were_active():
    assert ticket_text({"3": 900, "7": 12, "9": 300, "11": 900}) == "steady 3 11 long 9 short 7"
    assert ticket_text({"3": 60, "4": 61, "5": 899}) == "long 4 5 short 3"
    assert ticket_text({}) == "no alarm"


@given(st.dictionaries(st.integers(0, 200).map(str), st.floats(0.5, 1000), max_size=20))
def test_text_names_every_active_alarm_once(active_s):
    words = ticket_text(active_s).split()
    assert sorted(word for word in words if word.isdecimal()) == sorted(active_s)
    assert len(words) <= len(active_s) + 3


@pytest.mark.parametrize(
    ("columns", "mapped", "expected"),
    [
        (("alarm_0", "alarm_x", "label"), ColumnMap(), True),
        (("alarm_0", "cause"), ColumnMap(label="cause"), True),
        (("alarm_0", "label", "site"), ColumnMap(group="site"), True),
        (("alarm_0", "label", "site"), ColumnMap(), False),
        (("alarm_0", "alarm_1"), ColumnMap(), False),
        (("label",), ColumnMap(), False),
        (("alarm_0", "label"), ColumnMap(text="alarm_0"), False),
        (("text", "label"), ColumnMap(), False),
    ],
)
def test_which_tables_are_alarm_tables(columns, mapped, expected):
    assert is_alarm_table(columns, mapped) is expected


def test_rows_that_read_the_same_are_no_duplicates_but_share_a_group(tmp_path):
    dataset = load_dataset(str(table(tmp_path / "a.csv", extra=("100,0,0,0,0,0,1", "100,0,0,0,0,0.0,1"))))
    everything = (*dataset.train, *dataset.validation, *dataset.test)
    assert len(everything) == 126
    assert dataset.notes == (
        "2 exact duplicates of another row dropped, 126 rows are left",
        "126 rows make 63 different texts; rows of one text stay in one split",
    )
    assert all(len({e.group for e in everything if e.text == text}) == 1 for text in {e.text for e in everything})


def test_label_split_and_group_columns_can_be_mapped(tmp_path):
    bits = [",".join(str(900 * (i >> bit & 1)) for bit in range(6)) for i in range(40)]
    rows = [f"{bits[i]},{'ab'[i % 2]},{'test' if i < 10 else 'train'},site {i // 4}" for i in range(40)]
    path = write(tmp_path / "a.csv", ",".join(f"alarm_{bit}" for bit in range(6)) + ",cause,part,site", rows)
    dataset = load_dataset(f"{path}:label=cause,split=part,group=site")
    assert dataset.labels == ("a", "b")
    assert {e.text for e in dataset.test} == {"no alarm", "steady 0", "steady 1", "steady 0 1", "steady 2"} | {
        "steady 0 2",
        "steady 1 2",
        "steady 0 1 2",
        "steady 3",
        "steady 0 3",
    }
    # Site 2 holds the rows 8 to 11: two of them are the author's test rows, so the other two leave train.
    assert len(dataset.train) + len(dataset.validation) == 28


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "", "high"])
def test_a_value_that_is_no_duration_is_refused_with_its_line(tmp_path, value):
    path = write(tmp_path / "a.csv", "alarm_0,alarm_1,label", ["1,2,0", f"1,{value},1"])
    with pytest.raises(DataError, match=r"a\.csv line 3 holds .* in column 'alarm_1'"):
        list(alarm_rows(open_table(path), ColumnMap()))


@pytest.mark.skipif(
    not MICROWAVE.is_file(), reason="the microwave table is not ours and lies beside the repository only"
)
def test_microwave_table_loses_its_duplicates():
    dataset = load_dataset(str(MICROWAVE))
    splits = (dataset.train, dataset.validation, dataset.test)
    everything = [e for split in splits for e in split]
    assert len(everything) == len({e.id for e in everything}) == 1135
    assert [sum(e.label == label for e in everything) for label in dataset.labels] == [473, 273, 122, 267]
    assert dataset.notes[0].startswith("534 exact duplicates")
    assert 0.19 < len(dataset.test) / 1135 < 0.22
    texts = [{e.text for e in split} for split in splits]
    assert not (texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2])
    with MICROWAVE.open(newline="") as file:
        assert len(list(csv.reader(file))) == 1670


def test_the_numbers_behind_the_tickets_are_found_by_id(tmp_path):
    path = table(tmp_path / "a.csv")
    dataset, values = load_dataset(str(path)), alarm_values(path)
    for example in dataset.test:
        active = {str(place): seconds for place, seconds in enumerate(values[example.id]) if seconds}
        assert ticket_text(active) == example.text
    assert len(values) == 126


def test_numbers_of_a_file_without_alarms_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no alarm_\* columns"):
        alarm_values(write(tmp_path / "a.csv", "text,label", ["x,y"]))
