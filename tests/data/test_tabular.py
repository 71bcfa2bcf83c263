import bz2
import csv
import gzip
import json
import lzma
import tracemalloc
import unicodedata
import zipfile

import pytest

from energyaware.data import json_rows, text_lines
from energyaware.data.columns import ColumnMap, ReadOptions
from energyaware.data.rows import MAX_TEXT_CHARACTERS, task_rows
from energyaware.data.tabular import open_table
from energyaware.errors import DataError


def save(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path, task="rca", *, reading=None, **columns):
    return task_rows([open_table(path, reading)], ColumnMap(**columns), task)[0]


def texts(path, *, reading=None, **columns):
    return [(row.example.text, row.example.label) for row in rows_of(path, reading=reading, **columns)]


def parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(params=["csv", "tsv", "jsonl", "json", "parquet", "csv.gz", "jsonl.bz2", "tsv.xz", "json.zip"])
def three_rows(request, tmp_path):
    """The same rows in each format; the columns stand in another order than they are asked for."""
    rows = [("1", 'a, "quoted"\nline', "x"), ("2", "b", "y"), ("3", "ü", "x")]
    extension, _, packing = request.param.partition(".")
    path = tmp_path / f"t.{extension}"
    if extension in ("csv", "tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if extension == "csv" else "\t")
            writer.writerows([("label", "text", "part"), *rows])
    elif extension in ("jsonl", "json"):
        objects = [{"label": int(label), "text": text, "part": part} for label, text, part in rows]
        save(path, json.dumps(objects) if extension == "json" else "\n\n".join(map(json.dumps, objects)))
    else:
        labels, contents, parts = zip(*rows, strict=True)
        parquet(path, label=[int(label) for label in labels], text=contents, part=parts)
    packed = tmp_path / f"t.{request.param}"
    if packing == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(path, "inner/t.json")
            archive.writestr("__MACOSX/inner/._t.json", "rubbish")
    elif packing:
        packed.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[packing].compress(path.read_bytes()))
    return packed


def test_every_format_gives_the_same_rows(three_rows):
    table = open_table(three_rows)
    assert table.columns == ("label", "text", "part")
    assert texts(three_rows) == [('a, "quoted"\nline', "1"), ("b", "2"), ("ü", "3")]
    rows = [list(map(str, values)) for _, values in table.rows(["part", "label"])]
    assert rows == [["x", "1"], ["y", "2"], ["x", "3"]]


def test_every_format_names_the_columns_that_exist(three_rows):
    with pytest.raises(DataError, match="no column 'body' and no column 'kind'; its columns are label, text, part"):
        texts(three_rows, text="body", label="kind")


def test_ids_name_the_content_not_the_file(three_rows, tmp_path):
    other = save(tmp_path / "other.csv", "label,text\n9,b\n")
    ids = [row.example.id for row in rows_of(three_rows)]
    assert len(set(ids)) == 3
    assert rows_of(other)[0].example.id == ids[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text;label\nhello, you;1\nbye, you;2\n"),
        ("a.csv", "text|label\nhello, you|1\nbye, you|2\n"),
        ("a.csv", "text\tlabel\nhello, you\t1\nbye, you\t2\n"),
        ("a.tsv", "text\tlabel\nhello, you\t1\nbye, you\t2\n"),
        ("a.txt", "text;label\r\nhello, you;1\r\nbye, you;2\r\n"),
        ("a.data", "text|label\nhello, you|1\nbye, you|2\n"),
        ("a", '{"text": "hello, you", "label": 1}\n{"text": "bye, you", "label": 2}'),
        ("a.json", '{"text": "hello, you", "label": 1}\n{"text": "bye, you", "label": 2}'),
        ("a.ndjson", '{"text": "hello, you", "label": 1}\n{"text": "bye, you", "label": 2}'),
        ("a.txt", '[{"text": "hello, you", "label": 1},\n {"text": "bye, you", "label": 2}]'),
        ("a.json", '{"x": {"text": "hello, you", "label": 1}, "y": {"text": "bye, you", "label": 2}}'),
        ("a.json", '{"text": {"0": "hello, you", "1": "bye, you"}, "label": {"0": 1, "1": 2}}'),
        ("a.json", '{"text": ["hello, you", "bye, you"], "label": [1, 2]}'),
        ("a.json", '{"version": 1, "data": [{"text": "hello, you", "label": 1}, {"text": "bye, you", "label": 2}]}'),
        ("a.json", '{"data": [{"text": "hello, you", "label": 1}, {"text": "bye, you", "label": 2}]}'),
        ("a.csv", 'text,label\r\n\r\n"hello, you",1\r\n"bye, you",2\r\n'.encode("utf-8-sig")),
        ("a.csv", 'text\tlabel\r\n"hello, you"\t1\r\n"bye, you"\t2\r\n'.encode("utf-16")),
        ("a.csv", 'text,label\r"hello, you",1\r"bye, you",2\r'),
    ],
)
def test_formats_are_told_by_how_they_begin(tmp_path, name, content):
    assert texts(save(tmp_path / name, content)) == [("hello, you", "1"), ("bye, you", "2")]


def test_what_was_decided_is_said(tmp_path):
    assert open_table(save(tmp_path / "a.csv", "a,b\n1,2\n")).notes == ()
    assert open_table(save(tmp_path / "b.csv", "a;b\n1;2\n")).notes == ("values are separated by semicolons",)
    assert open_table(save(tmp_path / "c.txt", "one, two\nthree\n")).notes == ("each line is one text",)
    assert "the rows are the list 'd'" in open_table(save(tmp_path / "d.json", '{"d": [{"a": 1}], "v": 2}')).notes[0]


def test_a_log_is_one_text_per_line(tmp_path):
    path = save(tmp_path / "node.log", "[12:00:01] link down\n\n[12:00:02] link up, speed 10\n")
    rows, notes = task_rows([open_table(path)], ColumnMap(), "generation")
    assert [row.example.text for row in rows] == ["[12:00:01] link down", "[12:00:02] link up, speed 10"]
    assert notes == ["each line is one text"]
    regular = save(tmp_path / "regular.log", "up, 1\ndown, 2\n")
    assert open_table(regular).columns == ("text",)
    assert open_table(save(tmp_path / "json.log", '{"text": "x"}\n{"text": "y"}')).columns == ("text",)
    commas = save(tmp_path / "even.txt", "a, b\nc, d\n")
    assert open_table(commas).columns == ("a", "b")
    assert open_table(commas, ReadOptions(delimiter="")).columns == ("text",)
    with pytest.raises(DataError, match=r"its columns are a, b .read as a table .*delimiter=none reads lines"):
        texts(commas)


def test_a_file_without_header_has_numbered_columns(tmp_path):
    path = save(tmp_path / "a.csv", "1,hello\n2,bye\n")
    assert texts(path, reading=ReadOptions(header=False), text="2", label="1") == [("hello", "1"), ("bye", "2")]
    with pytest.raises(DataError, match=r"its columns are 1, hello.*without a header row: header=no"):
        texts(path, text="2")


def test_quotes_may_mean_nothing(tmp_path):
    path = save(tmp_path / "a.tsv", 'text\tlabel\n"open quote\t1\nsecond "line"\t2\n')
    with pytest.raises(DataError, match="quotes=no"):
        texts(path)
    assert texts(path, reading=ReadOptions(quotes="no")) == [('"open quote', "1"), ('second "line"', "2")]


def test_quotes_may_be_written_with_a_backslash(tmp_path):
    path = save(tmp_path / "a.csv", 'text,label\n"say \\"hi\\", you",1\nplain,2\n')
    with pytest.raises(DataError, match="quotes=backslash"):
        texts(path)
    assert texts(path, reading=ReadOptions(quotes="backslash")) == [('say "hi", you', "1"), ("plain", "2")]


def test_the_turns_of_a_thread_are_joined(tmp_path):
    path = save(tmp_path / "a.jsonl", '{"dialogue": ["a: hi", "b: yes"], "summary": "greeting"}')
    rows, notes = task_rows([open_table(path)], ColumnMap(), "summarization")
    assert rows[0].example.text == "a: hi\nb: yes"
    assert "1 texts were lists, joined line by line" in notes


def test_another_encoding_is_read_where_it_is_named(tmp_path):
    path = save(tmp_path / "a.csv", "text,label\nTürausfall,Störung\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"a\.csv line 2 is not UTF-8 .*encoding=latin-1, encoding=cp1252"):
        texts(path)
    assert texts(path, reading=ReadOptions(encoding="cp1252")) == [("Türausfall", "Störung")]
    with pytest.raises(DataError, match="is not ascii"):
        texts(path, reading=ReadOptions(encoding="ascii"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.tsv", "", "is empty"),
        ("a.jsonl", "\n\n", "is empty"),
        ("a.json", " \n", "is empty"),
        ("a.json", "[]", "holds no list of JSON objects"),
        ("a.json", "[1, 2]", "holds no list of JSON objects"),
        ("a.json", "null", "holds no list of JSON objects"),
        ("a.json", '{"a": [{"text": 1}], "b": [{"text": 1}, {"text": 2}]}', "holds no list of JSON objects"),
        ("a.json", '[{"text": "x",\n "label": 1', r"is not JSON \(.*, line 2 column"),
        ("a.json", '[{"text": "x", "text": "y"}]', "the key 'text' stands twice"),
        ("a.jsonl", '{"text": "x", "label": 1, "label": 2}', "line 1 is not JSON .the key 'label' stands twice"),
        ("a.json", "[" * 100_000, "is not JSON .it is nested too deeply"),
        ("a.csv", "text,label\nx,y\nx,y,z\n", r"line 3 has 3 values, the header has 2"),
        ("a.csv", "text,label\nx\n", r"line 2 has 1 values, the header has 2"),
        ("a.csv", 'text,label\n"x,y\n', "line 2 is not CSV"),
        ("a.csv", "text,label,text\nx,y,z\n", r"no column 'text'; its columns are text .1., label, text .2."),
        ("a.csv", b"PK\x03\x04\x14\0xl", "is an Excel workbook .*whatever its name says. save the sheet as CSV"),
        ("a.txt", b"\xd0\xcf\x11\xe0\xa1", "is an old Excel workbook"),
        ("a.json", b"\x1f\x8b\x08\0", "is packed by gzip, .*call it .gz"),
        ("a", b"%PDF-1.7", "is a PDF document"),
        ("a.csv", "text,label\nx,y\n ,y\n", "line 3 has an empty text in column 'text'"),
        ("a.csv", "text,label\nx, \n", "line 2 has no label"),
        ("a.csv", f"text,label\nx,{'y' * 300}\n", "line 2 has a label of 300 characters"),
        ("a.csv", b"text,label\nx,y\n\xfcber,y\n", r"line 3 is not UTF-8"),
        ("a.csv", b"text,label\nx,y\nnul\0,y\n", r"line 3 holds a NUL character"),
        ("a.csv", "text,label\nx,y\n".encode("utf-16-le"), r"line 1 holds a NUL character.*encoding=utf-16-le"),
        ("a.csv", "text,label\nx,y\n".encode("utf-16")[:-1], "is not utf-16"),
        ("a.jsonl", b'{"text": "x", "label": "y"}\n{"text": "\xfc"}\n', r"line 2 is not UTF-8"),
        ("a.jsonl", '{"text": "x\\u0000", "label": "y"}', "line 1 holds a NUL character in 'text'"),
        ("a.jsonl", '{"text": "x\\ud800", "label": "y"}', "line 1 holds half of a surrogate pair in 'text'"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": \n', r"line 2 is not JSON \(Expecting value"),
        ("a.jsonl", '{"text": "x", "label": 1}\n[1]\n', "line 2 is not a JSON object"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "x"}\n', "line 2 has no label"),
        ("a.jsonl", '{"text": [["x"]], "label": 1}\n', "line 1 holds list in 'text', not text"),
        ("a.jsonl", '{"text": [], "label": 1}\n', "line 1 has an empty text"),
        ("a.jsonl", '{"text": {"body": "x"}, "label": 1}\n', r"holds an object in 'text'.*is text\.KEY"),
        ("a.jsonl", '{"text": "x", "label": ["y"]}\n', r"holds list in 'label'.*is label\.0"),
        ("a.jsonl", '{"text": "x", "label": null}\n', "line 1 has no label"),
        ("a.jsonl", '{"text": "x", "label": NaN}\n', "line 1 has no label"),
        ("a.jsonl", '{"text": ' + "[" * 100_000, "line 1 is not JSON"),
        ("a.parquet", "PAR1 no", "cannot be read as Parquet"),
        ("a.xlsx", "x", r"is a \.xlsx file, which is not read. save the sheet as CSV"),
        ("a.pkl", "x", "a pickle can run code"),
        ("a.bin", b"\x01\0\x02", r"is not a text file. convert it to one of \.csv"),
        ("a.csv.gz", "no", "cannot be unpacked"),
        ("a.csv.xz", "no", "cannot be unpacked"),
        ("a.zip", "no", "is a damaged archive"),
        ("a", "x", "has no column 'label'; its columns are text"),
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
    nested = parquet(tmp_path / "b.parquet", text=[{"x": "y"}], label=[1])
    with pytest.raises(DataError, match=r"b\.parquet row 1 holds an object in 'text'"):
        texts(nested)


def test_a_damaged_parquet_page_is_named(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=[f"text {i} " * 50 for i in range(5000)], label=list(range(5000)))
    content = bytearray(path.read_bytes())
    content[2000:6000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet is damaged after row"):
        texts(path)


def test_parts_of_objects_are_reached_by_dots(tmp_path):
    rows = '[{"data": {"body": {"raw": "x"}}, "kind": "a"}, {"data": {"body": {"raw": "y"}}, "kind": "b"}]'
    assert texts(save(tmp_path / "a.json", rows), text="data.body.raw", label="kind") == [("x", "a"), ("y", "b")]
    chat = '{"m": [{"role": "user", "content": "x"}, {"role": "bot", "content": "y"}]}'
    assert texts(save(tmp_path / "a.jsonl", chat), text="m.0.content", label="m.-1.content") == [("x", "y")]
    with pytest.raises(DataError, match="line 1 has no label"):
        texts(save(tmp_path / "a.jsonl", chat), text="m.0.content", label="m.2.content")
    path = parquet(tmp_path / "a.parquet", **{"a.b": ["x"], "c": [{"d": 1}]})
    assert texts(path, text="a.b", label="c.d") == [("x", "1")]


def test_names_of_columns_may_differ_in_case_and_outer_spaces(tmp_path):
    assert texts(save(tmp_path / "a.csv", "Text, Label \nx,1\n")) == [("x", "1")]
    with pytest.raises(DataError, match="no column 'label'"):
        texts(save(tmp_path / "b.csv", "text,Label,LABEL\nx,1,2\n"))
    decomposed = unicodedata.normalize("NFD", "Störung")
    assert texts(save(tmp_path / "c.csv", f"{decomposed},label\nx,1\n"), text="störung") == [("x", "1")]


def test_split_names_are_understood(tmp_path):
    path = save(tmp_path / "a.csv", "text,label,part\nx,1,Training\ny,1,dev\nz,1,test\n")
    assert [row.split for row in rows_of(path, split="part")] == ["train", "validation", "test"]
    with pytest.raises(DataError, match="line 2 belongs to the unknown split 'held out'"):
        rows_of(save(tmp_path / "b.csv", "text,label,part\nx,1,held out\n"), split="part")


def test_long_texts_keep_their_beginning_and_their_identity(tmp_path):
    long = "word " * 200_000
    limit = csv.field_size_limit()
    path = save(tmp_path / "a.csv", f"text,label\n{long},1\n{long}end,1\nshort,1\n")
    rows, notes = task_rows([open_table(path)], ColumnMap(), "rca")
    one, other, short = (row.example for row in rows)
    assert one.text == other.text == long[:MAX_TEXT_CHARACTERS]
    assert one.id != other.id
    assert short.text == "short"
    assert notes == [f"2 texts cut to their first {MAX_TEXT_CHARACTERS} characters"]
    assert csv.field_size_limit() == limit


def test_one_endless_line_and_one_endless_document_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_lines, "MAX_LINE_CHARACTERS", 1 << 20)
    for name, content in (
        ("a.csv", "text,label\nx,y\n" + "z" * (1 << 21)),
        ("a.jsonl", '{"text": "' + "z" * (1 << 21)),
    ):
        with pytest.raises(DataError, match="has more than 1 Mi characters"):
            texts(save(tmp_path / name, content))
    monkeypatch.setattr(json_rows, "MAX_DOCUMENT_CHARACTERS", 1 << 20)
    with pytest.raises(DataError, match=r"is one JSON document of more than 1 Mi characters.*\.jsonl"):
        texts(save(tmp_path / "a.json", '[{"text":\n' * (1 << 17)))


def test_columns_that_nobody_asked_for_are_not_kept_in_memory(tmp_path):
    path = save(tmp_path / "a.csv", "text,label,blob\n" + "".join(f"t{i},1,{'x' * 10_000}\n" for i in range(2_000)))
    tracemalloc.start()
    assert len(rows_of(path)) == 2_000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < path.stat().st_size / 10
