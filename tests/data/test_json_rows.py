import json

import pytest

from energyaware.data.columns import ColumnMap, ReadOptions
from energyaware.data.json_rows import json_table
from energyaware.data.packed import open_source
from energyaware.data.rows import task_rows
from energyaware.data.source import load_dataset
from energyaware.data.tabular import open_table
from energyaware.errors import DataError

TEXTS = [{"text": f"t{number}", "label": "ab"[number % 2]} for number in range(40)]


def table_of(tmp_path, document, name="a.json"):
    path = tmp_path / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return open_table(path)


def cells(table, *columns):
    return [tuple(values) for _, values in table.rows(columns)]


def squad(**more):
    answers = [{"text": "the fan", "answer_start": 3}, {"text": "fan", "answer_start": 7}]
    questions = [{"id": "1", "question": "what?", "answers": answers} | more, {"question": "why?", "answers": []}]
    paragraphs = [{"context": "the fan failed", "qas": questions}, {"context": "nobody asks", "qas": []}]
    return {"version": "1.1", "data": [{"title": "fans", "paragraphs": paragraphs}]}


@pytest.mark.parametrize("questions", [5, "ab", {"question": "which?"}, [5]])
def test_questions_that_are_no_list_of_objects_are_no_rows(tmp_path, questions):
    document = squad()
    document["data"][0]["paragraphs"].append({"context": "a link is down", "qas": questions})
    names = ("title", "context", "question")
    assert cells(table_of(tmp_path, document), *names) == cells(table_of(tmp_path, squad()), *names)


def test_the_questions_of_squad_are_rows(tmp_path):
    table = table_of(tmp_path, squad(is_impossible=False))
    assert cells(table, "title", "context", "question") == [
        ("fans", "the fan failed", "what?"),
        ("fans", "the fan failed", "why?"),
    ]
    rows, notes = task_rows([table], ColumnMap(), "qa", drop_missing=True)
    assert [(row.example.text, row.example.label) for row in rows] == [("the fan failed", "the fan")]
    assert "1 rows have several reference answers; the first is used" in notes
    assert "1 rows without text, question or answer left out" in notes
    assert notes[0].startswith("each question of the document's paragraphs is a row")
    with pytest.raises(DataError, match=r"object 2 has no answer.*missing=drop"):
        task_rows([table], ColumnMap(), "qa")


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({"columns": ["text", "label"], "index": [7, 9], "data": [["x", 1], ["y", 2]]}, ""),
        ({"columns": ["text", "label"], "data": [["x", 1], ["y", 2]]}, ""),
        ({"text": {"7": "x", "9": "y"}, "label": {"7": 1, "9": 2}}, "the document holds columns, not rows"),
        ({"7": {"text": "x", "label": 1}, "9": {"text": "y", "label": 2}}, ""),
        (
            {"schema": {"fields": [{"name": "text"}]}, "data": [{"text": "x", "label": 1}, {"text": "y", "label": 2}]},
            "the rows are the list 'data' of the document",
        ),
        (
            {
                "took": 3,
                "hits": {"total": {"value": 2}, "hits": [{"text": "x", "label": 1}, {"text": "y", "label": 2}]},
            },
            "the rows are the list 'hits'.'hits' of the document",
        ),
        (
            {"data": {"items": [{"text": "x", "label": 1}, {"text": "y", "label": 2}]}},
            "the rows are the list 'data'.'items' of the document",
        ),
    ],
)
def test_the_shapes_in_which_programs_write_rows(tmp_path, document, note):
    table = table_of(tmp_path, document)
    assert cells(table, "text", "label") == [("x", 1), ("y", 2)]
    assert table.notes == ((note,) if note else ())


def test_lists_that_are_called_after_splits_are_splits(tmp_path):
    document = {"version": 1, "train": TEXTS[:28], "Dev": TEXTS[28:32], "test": TEXTS[32:]}
    table = table_of(tmp_path, document)
    assert table.notes == ("the lists train, Dev, test of the document are its splits",)
    dataset = load_dataset(str(tmp_path / "a.json"))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [28, 4, 8]
    assert {example.text for example in dataset.test} == {row["text"] for row in TEXTS[32:]}


@pytest.mark.parametrize(
    "document",
    [
        {"train": TEXTS[:3], "notes": TEXTS[3:6]},
        {"train": [{"text": "x", "split": "a"}], "test": [{"text": "y"}]},
        {"a": {"rows": TEXTS[:2]}, "b": {"rows": TEXTS[2:4]}, "c": 1},
        {"columns": ["text"], "data": [["x", 1]]},
        {"columns": ["text", "text"], "data": [["x", 1]]},
        {"a": 1, "b": {"c": {"d": {"e": TEXTS}}}},
        [["x", 1], ["y", 2]],
    ],
)
def test_several_lists_and_bare_values_are_not_guessed_at(tmp_path, document):
    with pytest.raises(DataError, match="holds no list of JSON objects, or several"):
        table_of(tmp_path, document)


def test_a_list_of_rows_that_is_called_jsonl_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(TEXTS, indent=1), encoding="utf-8-sig")
    assert cells(open_table(path), "text", "label") == [(row["text"], row["label"]) for row in TEXTS]


@pytest.mark.parametrize("line", ['{"text": "x",}', '// exported\n{"text": "x"}', '{"text": "x"},\n{"text": "y"}'])
def test_what_is_no_json_is_named_by_its_line(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl line 1 is not JSON .*write one JSON object per line"):
        open_table(path)


def test_a_document_is_read_in_the_encoding_that_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('[{"text": "Störung"}]'.encode("cp1252"))
    table = json_table(open_source(path), ReadOptions(encoding="cp1252"))
    assert cells(table, "text") == [("Störung",)]
