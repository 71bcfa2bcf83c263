import datetime
import struct

import pytest

from energyaware.data.columns import ColumnMap
from energyaware.data.rows import task_rows
from energyaware.data.tabular import open_table
from energyaware.errors import DataError

pa = pytest.importorskip("pyarrow")


def columns(rows=1100):
    return pa.table(
        {
            "label": pa.array(["ab"[i % 2] for i in range(rows)]).dictionary_encode(),
            "text": pa.array([f"t{i}" for i in range(rows)], pa.large_string()),
            "turns": [[{"say": f"hello {i}"}, {"say": f"bye {i}"}] for i in range(rows)],
            "fields": pa.array([[("body", f"b{i}")] for i in range(rows)], pa.map_(pa.string(), pa.string())),
            "options": [[{"label": k, "text": f"o{i}{k}"} for k in "ABC"] for i in range(rows)],
            "right": ["ABC"[i % 3] for i in range(rows)],
            "at": [datetime.datetime(2024, 1, 1)] * rows,
            "blob": [b"\xff"] * rows,
        }
    )


@pytest.fixture(params=["parquet", "feather", "arrow", "stream.arrow"])
def nested(request, tmp_path):
    path = tmp_path / f"t.{request.param}"
    if request.param == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(columns(), path)
    elif request.param == "feather":
        import pyarrow.feather as feather

        feather.write_feather(columns(), path)
    else:
        new = pa.ipc.new_stream if request.param.startswith("stream") else pa.ipc.new_file
        with new(path, columns().schema) as writer:
            writer.write_table(columns(), max_chunksize=600)
    return path


def examples(path, task="rca", **mapped):
    rows, _ = task_rows([open_table(path)], ColumnMap(**mapped), task)
    return [row.example for row in rows]


def test_columns_of_every_type_are_read(nested):
    plain = examples(nested)
    assert [(e.text, e.label) for e in plain] == [(f"t{i}", "ab"[i % 2]) for i in range(1100)]
    assert examples(nested, text="turns.1.say")[7].text == "bye 7"
    assert examples(nested, text="turns.*.say")[7].text == "hello 7\nbye 7"
    assert examples(nested, text="fields.body")[7].text == "b7"
    assert examples(nested, text="text|fields.body|at")[7].text == "t7\nb7\n2024-01-01 00:00:00"
    chosen = examples(nested, "choice", question="text", options="options", label="right")[7]
    assert (chosen.text, chosen.question, chosen.options, chosen.label) == ("", "t7", ("o7A", "o7B", "o7C"), "o7B")
    with pytest.raises(DataError, match="row 1 holds bytes in 'blob'"):
        examples(nested, text="blob")


def test_damaged_and_empty_files_are_refused(tmp_path):
    for name in ("a.feather", "a.arrow", "a.ipc", "a.parquet"):
        (tmp_path / name).write_bytes(b"ARROW1 no")
        with pytest.raises(DataError, match=r"cannot be read as (Arrow|Parquet)"):
            open_table(tmp_path / name)
    (tmp_path / "old.feather").write_bytes(b"FEA1....")
    with pytest.raises(DataError, match=r"feather file of version 1.* write it as Parquet"):
        open_table(tmp_path / "old.feather")
    with pa.ipc.new_file(tmp_path / "none.arrow", pa.schema([])):
        pass
    with pytest.raises(DataError, match="is empty"):
        open_table(tmp_path / "none.arrow")
    twice = pa.table([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    with pa.ipc.new_file(tmp_path / "twice.arrow", twice.schema) as writer:
        writer.write_table(twice)
    with pytest.raises(DataError, match="more than one column 'text'"):
        open_table(tmp_path / "twice.arrow")


def test_names_and_values_that_python_cannot_hold_are_damage(tmp_path):
    path = tmp_path / "t.arrow"
    with pa.ipc.new_file(path, pa.table({"texts": ["x"]}).schema) as writer:
        writer.write_table(pa.table({"texts": ["x"]}))
    path.write_bytes(path.read_bytes().replace(b"texts", b"\x92\x92\x92\x92\x92"))
    with pytest.raises(DataError, match="cannot be read as Arrow"):
        open_table(path)
    late = pa.table({"text": pa.array([2**40], type=pa.timestamp("s")), "label": ["a"]})
    with pa.ipc.new_file(path, late.schema) as writer:
        writer.write_table(late)
    with pytest.raises(DataError, match="is damaged after row 0"):
        list(open_table(path).rows(("text", "label")))


def test_offsets_that_lead_out_of_the_file_are_damage(tmp_path):
    path = tmp_path / "t.arrow"
    table = pa.table({"text": ["abc", "defg"], "label": ["a", "b"]})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    offsets = struct.pack("<3i", 0, 3, 7)
    for wrong in ((0, 7, 3), (0, 3, 2**30), (2**30, 3, 7)):
        path.write_bytes(path.read_bytes().replace(offsets, struct.pack("<3i", *wrong)))
        with pytest.raises(DataError, match="is damaged after row 0"):
            list(open_table(path).rows(("text", "label")))
        offsets = struct.pack("<3i", *wrong)


def test_a_file_that_ends_early_names_its_last_row(tmp_path):
    path = tmp_path / "t.arrow"
    with pa.ipc.new_stream(path, columns().schema) as writer:
        writer.write_table(columns(), max_chunksize=500)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    with pytest.raises(DataError, match=r"t\.arrow is damaged after row 500"):
        examples(path)


@pytest.mark.usefixtures("no_pyarrow")
def test_without_pyarrow_it_is_said_what_to_install(tmp_path):
    (tmp_path / "t.feather").write_bytes(b"ARROW1")
    with pytest.raises(DataError, match=r"needs the package pyarrow\. run `pip install pyarrow`"):
        open_table(tmp_path / "t.feather")
