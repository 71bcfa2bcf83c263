import pytest

from energyaware.data.columns import ColumnMap, ReadOptions
from energyaware.data.delimited import delimited_table, find_delimiter
from energyaware.data.packed import open_source
from energyaware.data.rows import task_rows
from energyaware.data.tabular import open_table
from energyaware.errors import DataError


def save(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(path, *columns, **reading):
    return [tuple(values) for _, values in open_table(path, ReadOptions(**reading)).rows(columns)]


@pytest.mark.parametrize("first", ["sep=;\r\n", "SEP=;\r\n", "\r\n", ";;\r\n", ""])
def test_lines_above_a_table_that_hold_no_value_are_not_its_header(tmp_path, first):
    path = save(tmp_path / "a.csv", first + "Nr;Text\r\n1;Pegel -3,5 dBm\r\n;;\r\n2;Pegel\r\n;\r\n")
    assert cells(path, "Nr", "Text") == [("1", "Pegel -3,5 dBm"), ("2", "Pegel")]


def test_line_numbers_count_the_line_that_names_the_delimiter(tmp_path):
    path = save(tmp_path / "a.csv", "sep=;\ntext;label\nx;1\ny\n")
    with pytest.raises(DataError, match="line 4 has 1 values, the header has 2"):
        cells(path, "text")


def test_empty_values_behind_the_last_column_are_none(tmp_path):
    path = save(tmp_path / "a.txt", "text;label\nx;1;\ny;2;;\n")
    assert cells(path, "text", "label") == [("x", "1"), ("y", "2")]
    assert find_delimiter(open_source(path), ReadOptions()) == (";", True)
    with pytest.raises(DataError, match="line 2 has 3 values, the header has 2"):
        cells(save(tmp_path / "b.csv", "text;label\nx;1;z\n"), "text")


def test_columns_of_one_name_are_numbered(tmp_path):
    path = save(tmp_path / "jira.csv", "Summary,Comment,Labels,Comment\nx,first,l,second\n")
    assert open_table(path).columns == ("Summary", "Comment (1)", "Labels", "Comment (2)")
    for text, found in (("Comment *", "first\nsecond"), ("Summary|Comment (2)", "x\nsecond")):
        rows, _ = task_rows([open_table(path)], ColumnMap(text=text, label="Labels"), "rca")
        assert [row.example.text for row in rows] == [found]
    with pytest.raises(DataError, match=r"no column 'Comment'; .*did you mean 'Comment \([12]\)'"):
        task_rows([open_table(path)], ColumnMap(text="Comment", label="Labels"), "rca")


def test_columns_that_cannot_be_told_apart_are_refused(tmp_path):
    path = save(tmp_path / "a.csv", "a,a,a (1)\n1,2,3\n")
    with pytest.raises(DataError, match=r"more than one column 'a .1.'"):
        open_table(path)


def test_spaces_before_quotes_are_no_values(tmp_path):
    path = save(tmp_path / "a.csv", 'id, text, label\n1, "x, y", "b"\n')
    assert cells(path, "text", "label") == [("x, y", "b")]
    spaced = save(tmp_path / "b.txt", "a b\n1 2\n")
    table = delimited_table(open_source(spaced), ReadOptions(), " ")
    assert [values for _, values in table.rows(("a", "b"))] == [["1", "2"]]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path, encoding):
    path = save(tmp_path / "a.csv", "text,label\nx,1\n".encode("utf-8-sig"))
    assert cells(path, "text", encoding=encoding) == [("x",)]
    marked = save(tmp_path / "b.csv", "text,label\nx,1\n".encode("utf-16"))
    assert cells(marked, "text", encoding="utf-16-le") == [("x",)]


def test_a_table_that_excel_exports_in_german(tmp_path):
    lines = ["sep=;", "Nr;Meldung;Dauer h;Ursache;", '1;"Größe ""A"";', '-3,5 dBm";0,25;Überlast;', ";;;;"]
    path = save(tmp_path / "a.csv", "\r\n".join(lines).encode("cp1252"))
    assert cells(path, "Meldung", "Ursache", encoding="cp1252") == [('Größe "A";\r\n-3,5 dBm', "Überlast")]
