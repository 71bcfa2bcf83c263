import csv
import gzip
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data import network_tasks, simulator
from energyaware.data import source as source_module
from energyaware.data.columns import ColumnMap, ReadOptions
from energyaware.data.source import Source, load_dataset, parse_source, shown
from energyaware.errors import DataError

TELEQNA = Path(__file__).parents[3] / "shared" / "data" / "TeleQnA.zip"


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
    assert parse_source(str(path)) == Source(str(path))
    assert parse_source(f"{path}:text=body") == Source(str(path), columns=ColumnMap(text="body"))


@pytest.mark.parametrize(
    ("source", "location", "columns"),
    [
        (r"C:\data\t.csv", r"C:\data\t.csv", ColumnMap()),
        (r"C:\data\t.csv:text=body", r"C:\data\t.csv", ColumnMap(text="body")),
        ("t.csv:label=a=b:c,text=x, y", "t.csv", ColumnMap(text="x, y", label="a=b:c")),
        ("t.csv:split=s,group=g", "t.csv", ColumnMap(split="s", group="g")),
        ("t:1=2.csv", "t:1=2.csv", ColumnMap()),
        ("t.csv:context=c,answer=a,question=q", "t.csv", ColumnMap(text="c", label="a", question="q")),
        ("t.csv:options=a|b c|d,reference=r", "t.csv", ColumnMap(options="a|b c|d", label="r")),
    ],
)
def test_the_grammar_of_column_maps(source, location, columns):
    assert parse_source(source) == Source(location, columns=columns)


@given(
    st.dictionaries(
        st.sampled_from(["text", "label", "question", "options", "split", "group"]), st.text("ab=. |*", min_size=1)
    )
)
def test_written_maps_are_read_back(entries):
    source = "data.csv" + (":" + ",".join(f"{key}={column}" for key, column in entries.items()) if entries else "")
    assert parse_source(source) == Source("data.csv", columns=ColumnMap(**entries))


EXAM = "q,a,b,right\n" + "".join(f"what is {i}?,yes {i},no {i},b\n" for i in range(40))


def test_a_map_says_what_the_rows_are_for(tmp_path):
    path = tmp_path / "exam.csv"
    path.write_text(EXAM)
    dataset = load_dataset(f"{path}:task=choice,question=q,options=a|b,answer=right")
    assert dataset.task == "choice"
    assert all(one.options[1] == one.label == f"no {one.question.split()[-1][:-1]}" for one in dataset.test)
    asked = load_dataset(f"{path}:question=q,options=a|b,answer=right", "choice")
    assert asked.fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("columns", "task", "message"),
    [
        ("task=choice,question=q,options=a|b,answer=right", "qa", "task=choice, but qa is asked for"),
        ("task=chioce,text=q", None, "no data can be read for the task 'chioce'"),
        ("question=q,answer=right", None, "add task=qa or task=choice to the map"),
        ("question=q,options=a|b,answer=right", "qa", "the task qa has no options. add task=choice to the map"),
        ("text=question,label=right", None, "for another task: task=NAME"),
    ],
)
def test_a_map_for_another_task_is_an_error_that_names_the_way_out(tmp_path, columns, task, message):
    path = tmp_path / "exam.csv"
    path.write_text(EXAM)
    with pytest.raises(DataError) as raised:
        load_dataset(f"{path}:{columns}", task)
    assert message in str(raised.value)


def test_a_map_says_how_to_read():
    parsed = parse_source("t.txt:delimiter=,,text=1,header=no,quotes=no,encoding=cp1252,password=a,b,missing=drop")
    assert parsed.columns == ColumnMap(text="1")
    assert parsed.reading == ReadOptions(",", False, "no", "cp1252", "a,b", drop_missing=True)
    assert parse_source("t.txt:delimiter=tab").reading.delimiter == "\t"
    assert parse_source("t.zip:member=a/b.csv,subset=s").reading == ReadOptions(member="a/b.csv", subset="s")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf:owner/name", Source("owner/name", hub=True)),
        ("hf:owner/name@refs/pr/1:text=body", Source("owner/name@refs/pr/1", True, ColumnMap(text="body"))),
        ("owner/name:text=body", Source("owner/name", columns=ColumnMap(text="body"))),
    ],
)
def test_ids_of_the_hub_take_a_map_too(source, expected):
    assert parse_source(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("netwrok", "unknown dataset 'netwrok'. use network, a file"),
        ("t.xls", "unknown dataset 't.xls'"),
        ("missing.csv", r"the data file missing\.csv does not exist"),
        ("missing.csv:text=body", r"the data file missing\.csv does not exist"),
        ("deep/er/missing.jsonl", r"the data file deep/er/missing\.jsonl does not exist"),
        ("missing/file.csv", r"the data file missing/file\.csv does not exist"),
        (".", r"is a folder without a file per split; it holds only\.csv, t\.csv, unlike\.csv. name a file in it"),
        ("t.csv:text=body,lable=label", "lable is no key of a map .they are text, context"),
        ("unlike.csv", "unlike.csv has 40 labels in 40 distinct rows; none is left for .*holds the class"),
        ("t.csv:txt=body", "unknown key 'txt'. the keys are text, context, label"),
        ("t.csv:text=", "names no column for text, in 't.csv:text='"),
        ("t.csv:text=a,text=b", "names text more than once"),
        ("t.csv:label=a,answer=b", "names label more than once .answer is another word for it."),
        ("t.csv:text=body", r"t\.csv has no column 'body'; its columns are text, label"),
        ("t.csv:text=txet", "did you mean 'text'?"),
        ("t.csv:question=text", "the task rca has no question"),
        ("t.csv:encoding=klingon", "knows no text encoding 'klingon'"),
        ("t.csv:encoding=rot13", "knows no text encoding 'rot13'"),
        ("t.csv:delimiter=ab", "'ab' is no delimiter"),
        ("t.csv:header=maybe", "header=maybe says nothing we know, in .*use header=yes or header=no"),
        ("only.csv", r"only\.csv holds only the label 'a'"),
        ("hf:no id at all", "'no id at all' is no id of the hub"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "t.csv")
    save(tmp_path / "only.csv", rows=1)
    unlike = [f"text {i},answer {i}" for i in range(40)]
    (tmp_path / "unlike.csv").write_text("\n".join(["text,label", *unlike]), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_dataset(source)


def test_unknown_tasks_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"for the task 'poetry'. use one of rca, response"):
        load_dataset(str(save(tmp_path / "t.csv")), "poetry")


def test_passwords_are_not_shown():
    assert shown("a.zip:password=se,cret,text=b") == "a.zip:password=…,text=b"
    assert shown("a.zip:text=b,password=secret") == "a.zip:text=b,password=…"
    with pytest.raises(DataError) as raised:
        load_dataset("a.zip:password=secret,header=x")
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(parse_source("a.zip:password=secret"))


def test_a_folder_with_a_file_per_split_is_one_dataset(tmp_path):
    folder = tmp_path / "my data"
    folder.mkdir()
    for name, first, rows in (("train-v2.csv", 0, 30), ("dev.csv", 30, 6), ("test.csv", 36, 4)):
        lines = [f"text {i},{'ab'[i % 2]}" for i in range(first, first + rows)]
        (folder / name).write_text("\n".join(["body,label", *lines]), encoding="utf-8")
    (folder / "README.md").write_text("about", encoding="utf-8")
    dataset = load_dataset(f"{folder}:text=body")
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [30, 6, 4]
    assert dataset.name == "my data"
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"inner/{path.name}")
    zipped = load_dataset(f"{tmp_path / 'all.zip'}:text=body")
    assert zipped.fingerprint == dataset.fingerprint
    assert len(load_dataset(f"{tmp_path / 'all.zip'}:text=body,member=inner/train-v2.csv").test) == 6


@pytest.mark.parametrize("packed_as", ["zip", "gz"])
def test_all_splits_together_may_unpack_to_the_limit_and_no_further(tmp_path, monkeypatch, packed_as):
    names = ("test.csv", *(f"train-{number}.csv" for number in range(4)))
    files = {
        name: "\n".join(["text,label", *(f"text {i:03} of {name},{'ab'[i % 2]}" for i in range(40))]).encode()
        for name in names
    }
    path = tmp_path / f"all.{packed_as}"
    if packed_as == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        path.mkdir()
        for name, content in files.items():
            (path / f"{name}.gz").write_bytes(gzip.compress(content))
    size = sum(map(len, files.values()))
    monkeypatch.setattr(source_module, "MAX_UNPACKED_BYTES", size)
    assert load_dataset(str(path)).test
    monkeypatch.setattr(source_module, "MAX_UNPACKED_BYTES", size - 1)
    with pytest.raises(DataError, match=r"train-3\.csv(\.gz)? unpacks to more than .* which other splits leave of"):
        load_dataset(str(path))


def test_shards_of_one_split_are_one_table(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(2):
        lines = [f"text {i},{'ab'[i % 2]}" for i in range(20 * shard, 20 * shard + 20)]
        (folder / f"train-{shard}-of-2.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    dataset = load_dataset(str(folder))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [28, 4, 8]


def test_validation_is_tested_on_where_there_is_no_test(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]},{'dev' if i < 10 else 'train'}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label,part", *rows]), encoding="utf-8")
    dataset = load_dataset(f"{tmp_path / 't.csv'}:split=part")
    assert {e.text for e in dataset.test} == {f"text {i}" for i in range(10)}
    assert dataset.validation
    assert dataset.notes[0] == "no row is marked test; the rows of validation are tested on"


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


@pytest.mark.usefixtures("no_pyarrow")
def test_parquet_without_pyarrow_says_what_to_install(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"needs the package pyarrow\. run `pip install pyarrow`"):
        load_dataset(str(tmp_path / "t.parquet"))


def test_the_catalogue_holds_the_simulator(monkeypatch):
    small = simulator.network_corpus(train=30, validation=5, test=5)
    monkeypatch.setattr(simulator, "network_corpus", lambda: small)
    monkeypatch.setattr(network_tasks, "network_tasks", lambda: {"qa": small})
    assert load_dataset("network") is small
    assert load_dataset("network", "qa") is small
    with pytest.raises(DataError, match="the embedded data has no task 'choice'"):
        load_dataset("network", "choice")


ROWS = [
    {
        "text": f"ticket {i} about board {i}",
        "question": f"what failed in {i}?",
        "reference": f"board {i} failed",
        "option 1": f"board {i}",
        "option 2": "power",
        "option 3": "",
        "answer": ("option 1" if i % 3 else "option 2"),
    }
    for i in range(40)
]


@pytest.mark.parametrize("task", ["response", "summarization", "qa", "generation", "choice"])
@pytest.mark.parametrize("extension", ["json", "jsonl", "csv"])
def test_every_task_reads_every_format(tmp_path, task, extension):
    path = tmp_path / f"t.{extension}"
    if extension == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        lines = "\n".join(map(json.dumps, ROWS))
        path.write_text(lines if extension == "jsonl" else json.dumps(ROWS), encoding="utf-8")
    answer = {"generation": "", "choice": ",answer=answer"}.get(task, ",answer=reference")
    dataset = load_dataset(f"{path}:text=text{answer}", task, seed=3)
    assert dataset.task == task
    assert dataset.labels == ()
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [29, 3, 8]
    for example in (*dataset.train, *dataset.test):
        number = example.text.split()[1]
        assert example.question == (f"what failed in {number}?" if task in ("qa", "choice") else "")
        assert example.options == ((f"board {number}", "power") if task == "choice" else ())
        expected = {"generation": "", "choice": f"board {number}" if int(number) % 3 else "power"}
        assert example.label == expected.get(task, f"board {number} failed")


def test_one_context_stays_in_one_split(tmp_path):
    rows = [{"context": f"page {i // 5}", "question": f"q {i}", "answer": f"a {i}"} for i in range(100)]
    (tmp_path / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    dataset = load_dataset(str(tmp_path / "t.json"), "qa")
    contexts = [{e.text for e in split} for split in (dataset.train, dataset.validation, dataset.test)]
    assert sum(map(len, contexts)) == 20
    assert len(dataset.test) == 20


@pytest.mark.skipif(not TELEQNA.is_file(), reason="TeleQnA is not ours and lies beside the repository only")
def test_teleqna_is_read_from_its_archive(monkeypatch):
    pytest.importorskip("pyzipper")
    # Its published password, which keeps the text out of training sets rather than secret.
    monkeypatch.setenv("ENERGYAWARE_DATA_PASSWORD", "teleqnadataset")
    before = set(TELEQNA.parent.iterdir())
    dataset = load_dataset(str(TELEQNA), "choice")
    everything = (*dataset.train, *dataset.validation, *dataset.test)
    assert len(everything) == 9997
    assert all(example.label in example.options and example.question for example in everything)
    assert {len(example.options) for example in everything} == {2, 3, 4, 5}
    assert "5 answers repeat the option that they number with other words; the number counts" in dataset.notes
    questions = [{e.question for e in split} for split in (dataset.train, dataset.validation, dataset.test)]
    assert not (questions[0] & questions[1] | questions[0] & questions[2] | questions[1] & questions[2])
    assert set(TELEQNA.parent.iterdir()) == before


@pytest.mark.parametrize("location", ["~nobody-of-this-name", "x" * 5000, "a\0b"])
def test_a_location_that_can_be_no_path_is_refused_as_an_absent_one(location):
    for source in (location, f"{location}:text=a"):
        assert parse_source(source).location == location
        with pytest.raises(DataError):
            load_dataset(source)
