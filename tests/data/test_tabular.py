import csv
import json
import tracemalloc

import pytest

from energyaware.data.tabular import MAX_TEXT_CHARACTERS, ColumnMap, iter_rows, read_header, text_rows
from energyaware.errors import DataError


def save(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(path, **columns):
    return [(row.example.text, row.example.label) for row in text_rows(path, ColumnMap(**columns))]


def parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def three_rows(request, tmp_path):
    """The same rows in each format; the columns stand in another order than they are asked for."""
    rows = [("1", 'a, "quoted"\nline', "x"), ("2", "b", "y"), ("3", "ü", "x")]
    path = tmp_path / f"t.{request.param}"
    if request.param == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("label", "text", "part"), *rows])
    elif request.param == "jsonl":
        objects = [{"label": int(label), "text": text, "part": part} for label, text, part in rows]
        save(path, "\n\n".join(map(json.dumps, objects)))
    else:
        labels, contents, parts = zip(*rows, strict=True)
        parquet(path, label=[int(label) for label in labels], text=contents, part=parts)
    return path


def test_every_format_gives_the_same_rows(three_rows):
    assert read_header(three_rows) == ("label", "text", "part")
    assert texts(three_rows) == [('a, "quoted"\nline', "1"), ("b", "2"), ("ü", "3")]
    assert [values for _, values in iter_rows(three_rows, ["part", "label"])] == [["x", "1"], ["y", "2"], ["x", "3"]]


def test_every_format_names_the_columns_that_exist(three_rows):
    with pytest.raises(DataError, match="no column 'body' and no column 'kind'; its columns are label, text, part"):
        texts(three_rows, text="body", label="kind")


def test_ids_name_the_content_not_the_file(three_rows, tmp_path):
    other = save(tmp_path / "other.csv", "label,text\n9,b\n")
    ids = [row.example.id for row in text_rows(three_rows, ColumnMap())]
    assert len(set(ids)) == 3
    assert next(text_rows(other, ColumnMap())).example.id == ids[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.jsonl", "\n\n", "is empty"),
        ("a.csv", "text,label\nx,y\nx,y,z\n", r"line 3 has 3 values, the header has 2"),
        ("a.csv", "text,label\nx\n", r"line 2 has 1 values, the header has 2"),
        ("a.csv", 'text,label\n"x,y\n', "line 2 is not CSV"),
        ("a.csv", "text;label\nx;y\n", "does not separate its columns by commas"),
        ("a.csv", "text,label,text\nx,y,z\n", "more than one column 'text'"),
        ("a.csv", "text,label\nx,y\n ,y\n", "line 3 has an empty text in column 'text'"),
        ("a.csv", "text,label\nx, \n", "line 2 has no label"),
        ("a.csv", b"text,label\nx,y\n\xfcber,y\n", r"line 3 is not UTF-8"),
        ("a.jsonl", b'{"text": "x", "label": "y"}\n{"text": "\xfc"}\n', r"line 2 is not UTF-8"),
        ("a.csv", b"\xff\xfet\0e\0x\0t\0", r"line 1 is not UTF-8"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": \n', r"line 2 is not JSON \(Expecting value\)"),
        ("a.jsonl", '{"text": "x", "label": 1}\n[1]\n', "line 2 is not a JSON object"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "x"}\n', "line 2 has no 'label'; it has text"),
        ("a.jsonl", '{"text": ["x"], "label": 1}\n', "line 1 holds list in 'text', not text"),
        ("a.jsonl", '{"text": "x", "label": null}\n', "line 1 has no label"),
        ("a.jsonl", '{"text": ' + "[" * 100_000, "line 1 is not JSON"),
        ("a.parquet", "PAR1 no", "cannot be read as Parquet"),
        ("a.xlsx", "x", r"extension '\.xlsx'. convert it to one of \.csv, \.jsonl, \.parquet"),
        ("a", "x", "has no extension"),
    ],
)
def test_damaged_files_are_refused_with_their_line(tmp_path, name, content, message):
    path = save(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as raised:
        texts(path)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_parquet_names_the_row_of_a_missing_or_nested_value(tmp_path):
    missing = parquet(tmp_path / "a.parquet", text=["x", None], label=[1, 2])
    with pytest.raises(DataError, match=r"a\.parquet row 2 has an empty text"):
        texts(missing)
    nested = parquet(tmp_path / "b.parquet", text=[["x"]], label=[1])
    with pytest.raises(DataError, match=r"b\.parquet row 1 holds list in 'text'"):
        texts(nested)


def test_byte_order_mark_and_empty_lines_are_no_content(tmp_path):
    path = save(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\r\n\r\nx,y\r\n")
    assert texts(path) == [("x", "y")]


def test_split_names_are_understood(tmp_path):
    path = save(tmp_path / "a.csv", "text,label,part\nx,1,Training\ny,1,dev\nz,1,test\n")
    assert [row.split for row in text_rows(path, ColumnMap(split="part"))] == ["train", "validation", "test"]
    with pytest.raises(DataError, match="line 2 belongs to the unknown split 'held out'"):
        list(text_rows(save(tmp_path / "b.csv", "text,label,part\nx,1,held out\n"), ColumnMap(split="part")))


def test_long_texts_keep_their_beginning_and_their_identity(tmp_path):
    long = "word " * 100_000
    limit = csv.field_size_limit()
    path = save(tmp_path / "a.csv", f"text,label\n{long},1\n{long}end,1\nshort,1\n")
    one, other, short = text_rows(path, ColumnMap())
    assert one.example.text == other.example.text == long[:MAX_TEXT_CHARACTERS]
    assert one.example.id != other.example.id
    assert (one.truncated, other.truncated, short.truncated) == (True, True, False)
    assert csv.field_size_limit() == limit


def test_columns_that_nobody_asked_for_are_not_kept_in_memory(tmp_path):
    path = save(tmp_path / "a.csv", "text,label,blob\n" + "".join(f"t{i},1,{'x' * 10_000}\n" for i in range(2_000)))
    tracemalloc.start()
    assert sum(1 for _ in text_rows(path, ColumnMap())) == 2_000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < path.stat().st_size / 10
