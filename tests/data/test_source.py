import builtins
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data import simulator
from energyaware.data.source import load_dataset, parse_source
from energyaware.data.tabular import ColumnMap
from energyaware.errors import DataError


def save(path: Path, header: str = "text,label", rows: int = 40) -> Path:
    extra = header.count(",") - 1
    lines = [f"text {i},{'ab'[i % 2]}" + ",x" * extra for i in range(rows)]
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


def test_a_file_becomes_a_dataset(tmp_path):
    dataset = load_dataset(str(save(tmp_path / "t.csv")))
    assert dataset.name == "t.csv"
    assert dataset.labels == ("a", "b")
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [28, 4, 8]
    assert dataset.ceiling is None
    assert dataset.notes == ()
    assert load_dataset(str(tmp_path / "t.csv"), seed=1).fingerprint != dataset.fingerprint


def test_where_the_file_lies_does_not_change_its_fingerprint(tmp_path):
    (tmp_path / "sub").mkdir()
    prints = {load_dataset(str(save(folder / "t.csv"))).fingerprint for folder in (tmp_path, tmp_path / "sub")}
    assert len(prints) == 1


def test_columns_are_mapped(tmp_path):
    path = save(tmp_path / "t.csv", "body,kind")
    assert len(load_dataset(f"{path}:text=body,label=kind").labels) == 2


@pytest.mark.parametrize("name", ["a:b.csv", "a=b.csv", "x:text=y.csv", "a,label=b.csv", "c:text=body.csv"])
def test_paths_may_hold_the_signs_of_the_grammar(tmp_path, name):
    path = save(tmp_path / name, "body,label")
    assert parse_source(str(path)) == (path, ColumnMap())
    assert parse_source(f"{path}:text=body") == (path, ColumnMap(text="body"))


@pytest.mark.parametrize(
    ("source", "path", "columns"),
    [
        (r"C:\data\t.csv", r"C:\data\t.csv", ColumnMap()),
        (r"C:\data\t.csv:text=body", r"C:\data\t.csv", ColumnMap(text="body")),
        ("t.csv:label=a=b:c,text=x, y", "t.csv", ColumnMap(text="x, y", label="a=b:c")),
        ("t.csv:split=s,group=g", "t.csv", ColumnMap(split="s", group="g")),
        ("t:1=2.csv", "t:1=2.csv", ColumnMap()),
    ],
)
def test_the_grammar_of_column_maps(source, path, columns):
    assert parse_source(source) == (Path(path), columns)


@given(st.dictionaries(st.sampled_from(["text", "label", "split", "group"]), st.text("ab=. ", min_size=1)))
def test_written_maps_are_read_back(entries):
    source = "data.csv" + (":" + ",".join(f"{key}={column}" for key, column in entries.items()) if entries else "")
    assert parse_source(source) == (Path("data.csv"), ColumnMap(**entries))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("netwrok", "unknown dataset 'netwrok'. use network, or a file"),
        ("t.xlsx", "unknown dataset 't.xlsx'"),
        ("missing.csv", r"the data file missing\.csv does not exist"),
        ("missing.csv:text=body", r"the data file missing\.csv does not exist"),
        (".", "is a folder"),
        ("t.csv:txt=body", "unknown key 'txt'. the keys are text, label, split, group"),
        ("t.csv:text=", "names no column for text"),
        ("t.csv:text=a,text=b", "names text more than once"),
        ("t.csv:text=body", r"t\.csv has no column 'body'; its columns are text, label"),
        ("only.csv", r"only\.csv holds only the label 'a'"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "t.csv")
    save(tmp_path / "only.csv", rows=1)
    with pytest.raises(DataError, match=message):
        load_dataset(source)


def test_the_author_s_split_wins_and_a_copy_in_test_leaves_train(tmp_path):
    path = save(tmp_path / "t.csv", rows=0)
    rows = [f"text {i},{'ab'[i % 2]},{'test' if i < 10 else 'train'}" for i in range(40)]
    path.write_text("\n".join(["text,label,part", *rows, "text 3,b,train"]), encoding="utf-8")
    dataset = load_dataset(f"{path}:split=part")
    assert {e.text for e in dataset.test} == {f"text {i}" for i in range(10)}
    assert len(dataset.train) + len(dataset.validation) == 30


def test_truncated_texts_are_noted(tmp_path):
    path = save(tmp_path / "t.csv")
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{'word ' * 10_000},a")
    assert load_dataset(str(path)).notes[0].startswith("1 texts cut to their first")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    real_import = builtins.__import__

    def no_pyarrow(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_pyarrow)
    with pytest.raises(DataError, match=r"needs the package pyarrow\. run `pip install pyarrow`"):
        load_dataset(str(tmp_path / "t.parquet"))


def test_the_catalogue_holds_the_simulator(monkeypatch):
    small = simulator.network_corpus(train=30, validation=5, test=5)
    monkeypatch.setattr(simulator, "network_corpus", lambda: small)
    assert load_dataset("network") is small
