"""A run file as bytes."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.baselines import run_bytes, store
from energyaware.baselines.index import INDEX_NAME, quick_facts
from energyaware.baselines.store import facts_of, find_baseline, load_run
from energyaware.errors import StoredRunError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text() | st.just("benchmarks"), VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_what_is_written_is_read_back_in_the_same_order(run, benchmarks):
    run = {"benchmarks": benchmarks, **run} if not run.get("benchmarks") else {**run, "benchmarks": benchmarks}
    found = json.loads(run_bytes.encode(run))
    assert found == run
    assert list(found) == list(run)


def test_each_benchmark_has_a_line_without_spaces():
    run = {"machine_info": {"a": [1, 2]}, "benchmarks": [{"name": "a b", "data": [0.5, 0.25]}, {"name": "c"}]}
    assert run_bytes.encode(run).decode().splitlines() == [
        "{",
        '"machine_info":{"a":[1,2]},',
        '"benchmarks":[',
        '{"name":"a b","data":[0.5,0.25]},',
        '{"name":"c"}',
        "]",
        "}",
    ]
    assert json.loads(run_bytes.encode({})) == {}
    assert json.loads(run_bytes.encode({"benchmarks": []})) == {"benchmarks": []}


def test_types_of_others_are_written_as_asked():
    run = {"benchmarks": [{"params": {1}}]}
    written = run_bytes.encode(run, lambda value, **how: json.dumps(value, default=list, **how))
    assert json.loads(written) == {"benchmarks": [{"params": [1]}]}


def test_a_compact_run_is_read_as_any(tmp_path, stored, bench):
    path = stored(tmp_path / "0001_a.json", [bench("a"), bench("b")], commit="abc", branch="main")
    before, spaced = load_run(path), path.stat().st_size
    path.write_bytes(run_bytes.encode(json.loads(path.read_text())))
    assert load_run(path) == before
    assert quick_facts(path) == facts_of(before)
    assert path.stat().st_size < spaced


@pytest.mark.parametrize(("size", "whole"), [(0, True), (9, True), (10, True), (11, False), (5_000_000, False)])
def test_no_more_is_read_than_asked_for(tmp_path, size, whole):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    assert run_bytes.read(path, 10) == (b"x" * size if whole else None)


def test_a_file_of_several_pieces_is_read_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3_000_000))
    assert run_bytes.read(path) == path.read_bytes()


def test_a_link_to_a_device_without_end_is_refused(tmp_path, monkeypatch, stored, bench):
    """It says that it has no bytes."""
    monkeypatch.setattr(run_bytes, "MOST_BYTES", 5_000_000)
    storage = tmp_path / "storage"
    stored(storage / "M/0001_a.json", [bench()], branch="main")
    (storage / "M/0002_b.json").symlink_to("/dev/zero")
    with pytest.raises(StoredRunError, match="no end in sight, more than the 5 MB"):
        load_run(storage / "M/0002_b.json")
    assert quick_facts(storage / "M/0002_b.json") is None
    assert find_baseline("main", storage, tmp_path).run.path.endswith("0001_a.json")
    (storage / INDEX_NAME).unlink()
    monkeypatch.setattr("energyaware.baselines.index._MOST_BYTES", 5_000_000)
    (storage / INDEX_NAME).symlink_to("/dev/zero")
    assert find_baseline("main", storage, tmp_path).run.path.endswith("0001_a.json")


def test_a_file_that_will_not_be_read_is_told_with_a_remedy(tmp_path):
    assert run_bytes.too_large(tmp_path / "a.json", run_bytes.MOST_BYTES) == ""
    said = run_bytes.too_large(tmp_path / "a.json", run_bytes.MOST_BYTES + 1)
    assert "a.json has 268 MB, more than the 268 MB" in said
    assert "--energy-shard" in said
    with (tmp_path / "a.json").open("wb") as file:
        os.truncate(file.fileno(), run_bytes.MOST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(StoredRunError, match="268 MB"):
        store.load_run(tmp_path / "a.json")
