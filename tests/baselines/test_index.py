import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.baselines import store
from energyaware.baselines.index import INDEX_NAME, Facts, RunIndex, quick_facts
from energyaware.baselines.store import facts_of, find_baseline, history, load_run
from energyaware.config import NEWEST_ANCESTOR
from energyaware.errors import StoredRunError


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder that belongs to no repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    root = tmp_path / "outside"
    root.mkdir()
    return root


@pytest.fixture
def storage(tmp_path, stored, bench):
    """Ten runs; every other one of `main`."""
    folder = tmp_path / "storage"
    for number in range(1, 11):
        stored(folder / f"M/{number:04}_r.json", [bench()], branch="main" if number % 2 else "side")
    return folder


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were opened for their facts, and of those that were loaded."""
    quick, loaded = [], []

    def counted_quick(path):
        quick.append(path.name)
        return quick_facts(path)

    def counted_load(path):
        loaded.append(path.name)
        return load_run(path)

    monkeypatch.setattr(store, "quick_facts", counted_quick)
    monkeypatch.setattr(store, "load_run", counted_load)
    return quick, loaded


def test_the_newest_fitting_run_is_found_without_reading_older_ones(storage, outside, reads):
    quick, loaded = reads
    assert find_baseline("main", storage, outside).run.path.endswith("0009_r.json")
    assert quick == ["0010_r.json", "0009_r.json"]
    assert loaded == ["0009_r.json"]


def test_a_second_search_reads_nothing_but_the_run_it_finds(storage, outside, reads):
    quick, loaded = reads
    first = find_baseline("main", storage, outside)
    quick.clear()
    loaded.clear()
    assert find_baseline("main", storage, outside) == first
    assert (quick, loaded) == ([], ["0009_r.json"])


def test_a_branch_that_nobody_stored_reads_each_file_once_and_loads_none(storage, outside, reads):
    quick, loaded = reads
    for _ in range(2):
        with pytest.raises(store.OptionError):
            find_baseline("nowhere", storage, outside)
    assert len(quick) == 10
    assert loaded == []


def test_the_history_loads_only_its_own_runs(storage, reads):
    _, loaded = reads
    baseline = load_run(storage / "M/0007_r.json")
    assert [run.path[-11:-7] for run in history(storage, baseline)] == ["0001", "0003", "0005", "0007"]
    assert sorted(loaded) == ["0001_r.json", "0003_r.json", "0005_r.json", "0007_r.json"]


def test_a_file_that_changed_is_read_again(storage, outside, reads, stored, bench):
    quick, _ = reads
    find_baseline("main", storage, outside)
    quick.clear()
    path = stored(storage / "M/0009_r.json", [bench()], branch="another")
    assert find_baseline("main", storage, outside).run.path.endswith("0007_r.json")
    assert path.name in quick


def test_a_file_that_is_gone_is_forgotten(storage, outside):
    find_baseline("main", storage, outside)
    (storage / "M/0010_r.json").unlink()
    (storage / "M/0009_r.json").unlink()
    find_baseline("main", storage, outside)
    assert "0010_r" not in (storage / INDEX_NAME).read_text()


def damages(content: bytes):
    digest, _, body = content.partition(b"\n")
    return {
        "empty": b"",
        "cut off": content[:-20],
        "another content": digest + b"\n" + body.replace(b'"main"', b'"evil"'),
        "no JSON": digest + b"\nnonsense",
        "bytes": b"\xff\xfe\x00" * 50,
        "deep": b"[" * 200_000,
        "another version": digest + b"\n" + body.replace(b'"index_version":1', b'"index_version":9'),
    }


@pytest.mark.parametrize("how", list(damages(b"a\nb")))
def test_a_damaged_index_is_made_again(storage, outside, how):
    expected = find_baseline("main", storage, outside)
    index = storage / INDEX_NAME
    whole = index.read_bytes()
    index.write_bytes(damages(whole)[how])
    assert find_baseline("main", storage, outside) == expected
    assert index.read_bytes() == whole


@given(content=st.binary(max_size=400))
def test_no_index_makes_a_search_fail(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("storage")
    (folder / INDEX_NAME).write_bytes(content)
    run = folder / "0001_a.json"
    run.write_text("{}")
    with RunIndex(folder, [run], lambda path: Facts(problem="read")) as index:
        assert index.facts(run).problem == "read"


def test_an_index_that_lies_is_overruled_by_the_run_itself(storage, outside):
    files = store.stored_files(storage)
    with RunIndex(storage, files, lambda path: Facts(branch="side", benchmarks=1)) as index:
        for path in files:
            index.facts(path)
    assert find_baseline("side", storage, outside).run.path.endswith("0010_r.json")
    with pytest.raises(store.OptionError):
        find_baseline("main", storage, outside)  # what is hidden stays hidden until its file changes …
    history(storage, load_run(storage / "M/0010_r.json"))  # … or somebody loads it
    assert find_baseline("main", storage, outside).run.branch == "main"


def test_a_storage_that_cannot_be_written_can_be_searched(storage, outside, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("energyaware.baselines.index.replace_file", full)
    assert find_baseline("main", storage, outside).run.branch == "main"
    assert not (storage / INDEX_NAME).exists()


@pytest.mark.parametrize(
    "own", [{}, {"interrupted": True}, {"options": {"shard": "2/4"}}, {"options": {"shard": None}}]
)
def test_a_quick_look_sees_what_a_strict_reading_sees(tmp_path, stored, bench, own):
    path = stored(tmp_path / "0001_a.json", [bench("a"), bench("b")], commit="abc", branch="main", dirty=True, **own)
    assert quick_facts(path) == facts_of(load_run(path))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 200_000, b'{"benchmarks": []}', b"[]"])
def test_what_a_quick_look_cannot_tell_is_left_to_a_strict_reading(tmp_path, content):
    path = tmp_path / "0001_a.json"
    path.write_bytes(content)
    assert quick_facts(path) is None
    assert store._facts(path).problem.startswith(("the stored run", str(path)))


def test_a_part_of_a_run_stands_for_nothing(tmp_path, stored, bench, outside):
    folder = tmp_path / "parts"
    stored(folder / "0001_a.json", [bench()], branch="main")
    part = stored(folder / "0002_b.json", [bench()], branch="main", options={"shard": "1/2"})
    assert find_baseline("main", folder, outside).run.path.endswith("0001_a.json")
    assert find_baseline(NEWEST_ANCESTOR, folder, outside).run.path.endswith("0001_a.json")
    assert [run.path[-11:] for run in history(folder, load_run(part))] == ["0001_a.json"]
    assert find_baseline("2", folder, outside).run.options["shard"] == "1/2"


def test_a_file_of_a_gigabyte_is_refused_by_its_size(tmp_path):
    path = tmp_path / "0001_a.json"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 30)  # takes no room on the disk
    with pytest.raises(StoredRunError, match="1074 MB") as caught:
        load_run(path)
    assert "another baseline" in caught.value.remedy
    assert "1074 MB" in store._facts(path).problem


def test_numbers_go_on_past_four_digits(tmp_path, stored, bench, outside):
    folder = tmp_path / "many"
    for number in (9_998, 9_999, 10_000, 10_001, 123_456):
        stored(folder / f"M/{number}_r.json", [bench()], branch="main")
    data = json.loads((folder / "M/123456_r.json").read_text())
    assert data["datetime"]
    assert find_baseline("10001", folder, outside).chosen == "run 10001"
    assert find_baseline("main", folder, outside).run.path.endswith("123456_r.json")
