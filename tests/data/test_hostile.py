"""Whatever stands in a file, reading it gives rows or a DataError of one line that says what to do."""

import contextlib
import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energyaware.data import text_lines
from energyaware.data.columns import ColumnMap
from energyaware.data.features import features_of
from energyaware.data.packed import ByteSource
from energyaware.data.rows import task_rows
from energyaware.data.source import load_dataset
from energyaware.data.tabular import open_table
from energyaware.data.task_columns import TASK_COLUMNS
from energyaware.errors import DataError

fuzz = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
FILES = ("a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt", "a.parquet", "a.feather", "a.zip", "a.csv.gz", "a", "a.csv.xz")

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
keys = st.one_of(st.sampled_from(["text", "label", "question", "options", "answer", "option 1"]), st.text(max_size=8))


def is_fit_to_be_shown(error):
    assert error.cause
    assert error.remedy
    assert str(error).isprintable()


def read(path, task, source=None):
    """Rows or an error fit to be shown; anything else fails the test."""
    try:
        rows, notes = task_rows([open_table(path)], ColumnMap(), task)
    except DataError as error:
        is_fit_to_be_shown(error)
        return []
    assert all(isinstance(note, str) for note in notes)
    for row in rows:
        for part in (row.example.text, row.example.label, row.example.question, *row.example.options):
            part.encode()
            assert "\0" not in part
        assert not row.example.options or row.example.label in row.example.options
    return rows


@pytest.mark.parametrize("name", FILES)
@fuzz
@given(content=st.binary(max_size=300), task=st.sampled_from(sorted(TASK_COLUMNS)))
def test_any_bytes(tmp_path, name, content, task):
    path = tmp_path / name
    path.write_bytes(content)
    read(path, task)


@fuzz
@given(rows=st.lists(st.dictionaries(keys, values, max_size=6), max_size=6), task=st.sampled_from(sorted(TASK_COLUMNS)))
def test_any_json(tmp_path, rows, task):
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    one, other = read(tmp_path / "a.json", task), read(tmp_path / "a.jsonl", task)
    if one:
        assert [row.example for row in one] == [row.example for row in other]


@fuzz
@given(document=values, task=st.sampled_from(sorted(TASK_COLUMNS)))
def test_any_document(tmp_path, document, task):
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    read(tmp_path / "a.json", task)


printable = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@fuzz
@given(
    rows=st.lists(st.tuples(printable, printable), min_size=2, max_size=10),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_csv_that_python_writes_is_read_back(tmp_path, rows, delimiter, end):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    path = tmp_path / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    table = open_table(path)
    # A row without any value is an empty line.
    assert [tuple(values) for _, values in table.rows(("text", "label"))] == [row for row in rows if any(row)]


@fuzz
@given(texts=st.lists(printable.filter(str.strip), min_size=30, max_size=60, unique=True), seed=st.integers(0, 9))
def test_any_texts_are_split_without_loss(tmp_path, texts, seed):
    rows = [{"text": text, "label": "ab"[number % 2]} for number, text in enumerate(texts)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with contextlib.suppress(DataError):  # stripped copies may leave too few rows or one label
        dataset = load_dataset(str(path), seed=seed)
        found = [{e.text for e in split} for split in (dataset.train, dataset.validation, dataset.test)]
        assert set().union(*found) == {text.strip() for text in texts}
        assert sum(map(len, found)) == len(set().union(*found))
        assert dataset == load_dataset(str(path), seed=seed)


def test_a_huge_row_is_cut_counted_and_shown(tmp_path):
    rows = [{"text": f"word{i} " * 200_000 if i == 7 else f"text {i}", "label": "ab"[i % 2]} for i in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    dataset = load_dataset(str(tmp_path / "a.jsonl"))
    assert dataset.notes == ("1 texts cut to their first 20000 characters",)
    assert max(features_of(e.text).characters for e in (*dataset.train, *dataset.test, *dataset.validation)) == 20_000


def test_a_name_that_stands_twice_among_very_many_is_found_at_once(tmp_path):
    """Counting each of them anew would take hours."""
    names = [f"c{number}" for number in range(300_000)] + ["c7"]
    (tmp_path / "a.csv").write_text(",".join(names) + "\n")
    assert open_table(tmp_path / "a.csv").columns[7] == "c7 (1)"
    (tmp_path / "a.jsonl").write_text("{" + ", ".join(f'"{name}": 1' for name in names) + "}\n")
    with pytest.raises(DataError, match="the key 'c7' stands twice"):
        open_table(tmp_path / "a.jsonl")


def test_the_line_that_cannot_be_decoded_is_found_without_reading_a_line_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", 3)
    path = tmp_path / "a.csv"
    source = ByteSource("a.csv", ".csv", lambda: path.open("rb"))
    for content, line in (
        (b"text\n\xc3\xbc\nx\xfc\n", 3),
        ("text\nüüü\n€\n".encode() + b"\xff", 4),
        (b"\xc3\xbc\n\xc3", 2),
        (b"\xfc", 1),
    ):
        path.write_bytes(content)
        assert text_lines._first_undecodable_line(source) == line
