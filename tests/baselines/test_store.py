import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.baselines.store import find_baseline, history, load_run, stored_files
from energyaware.config import NEWEST_ANCESTOR
from energyaware.errors import OptionError, StoredRunError
from energyaware.records import SCHEMA_VERSION


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder that belongs to no repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    root = tmp_path / "outside"
    root.mkdir()
    return root


@pytest.fixture
def repository(tmp_path):
    """Commits one, two, three on main, and one on a side branch off two."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    for message in ("one", "two", "three"):
        git(root, "commit", "-q", "--allow-empty", "-m", message)
    git(root, "checkout", "-q", "-b", "side", "HEAD~1")
    git(root, "commit", "-q", "--allow-empty", "-m", "aside")
    git(root, "checkout", "-q", "main")
    return root


@pytest.fixture
def storage(tmp_path):
    return tmp_path / "storage"


# --- reading one file ------------------------------------------------------------------------------------------------


def test_a_stored_run_is_read(tmp_path, stored, bench):
    benchmark = bench(quality={"accuracy": 0.9})
    path = stored(tmp_path / "0001_main.json", [benchmark], commit="abc", branch="main", dirty=True, options={"w": 1})
    run = load_run(path)
    assert run.benchmarks == (benchmark,)
    assert (run.commit, run.branch, run.dirty, run.path) == ("abc", "main", True, str(path))
    assert (run.machine, run.options, run.version) == ({"cpu": "Test CPU"}, {"w": 1}, "0.1")
    assert run.interrupted is False
    assert run.totals.energy_j is None


def test_benchmarks_without_energy_are_left_out(tmp_path, stored, bench):
    path = stored(tmp_path / "0001_main.json", [bench("test_a"), bench("test_b")])
    data = json.loads(path.read_text())
    del data["benchmarks"][0]["energy"]
    path.write_text(json.dumps(data))
    assert [item.name for item in load_run(path).benchmarks] == ["test_b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "truncated or no JSON"),
        ('{"benchmarks": [{"fullname": "t', "truncated or no JSON"),
        ("[" * 200_000, "truncated or no JSON"),
        (b"\xff\xfe\x00", "truncated or no JSON"),
        ("[]", "not an object"),
        ("3", "not an object"),
        ("{}", "no pytest-benchmark file"),
        ('{"benchmarks": 3}', "no pytest-benchmark file"),
        ('{"benchmarks": []}', "no energy data"),
        ('{"benchmarks": [], "energyaware": 5}', "energyaware is not an object"),
        ('{"benchmarks": [], "energyaware": {}}', "schema version None"),
        ('{"benchmarks": [], "energyaware": {"schema_version": 99}}', "schema version 99"),
        ('{"benchmarks": [], "energyaware": {"schema_version": "1"}}', "schema version '1'"),
        ('{"benchmarks": [3], "energyaware": {"schema_version": 1}}', "benchmarks[0] is not an object"),
        ('{"benchmarks": [{"energy": 3}], "energyaware": {"schema_version": 1}}', "benchmarks[0].energy is damaged"),
        ('{"benchmarks": [{"energy": {}}], "energyaware": {"schema_version": 1}}', "benchmarks[0].energy is damaged"),
        ('{"benchmarks": [], "energyaware": {"schema_version": 1, "machine": []}}', "energyaware.machine"),
        ('{"benchmarks": [], "energyaware": {"schema_version": 1, "options": 1}}', "energyaware.options"),
        ('{"benchmarks": [], "energyaware": {"schema_version": 1, "totals": {"energy_j": "x"}}}', "energyaware.totals"),
    ],
)
def test_a_file_that_is_no_run_is_named_with_the_place(tmp_path, content, said):
    assert SCHEMA_VERSION == 1
    path = tmp_path / "0001_main.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoredRunError, match=r"0001_main\.json") as caught:
        load_run(path)
    assert str(path) in caught.value.cause
    assert said in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(StoredRunError, match="cannot be read"):
        load_run(tmp_path / name)


@given(cut=st.integers(0, 10_000))
def test_a_run_cut_off_anywhere_is_an_error_that_names_the_file(tmp_path_factory, stored, bench, cut):
    folder = tmp_path_factory.mktemp("cut")
    path = stored(folder / "0001_main.json", [bench(rounds=2)])
    text = path.read_text()
    path.write_text(text[: cut % len(text)])
    with pytest.raises(StoredRunError, match=r"0001_main\.json"):
        load_run(path)


@pytest.mark.parametrize("commit_info", [None, [], "abc", {}, {"id": None, "branch": None}])
def test_a_run_without_a_commit_is_read(tmp_path, stored, bench, commit_info):
    path = stored(tmp_path / "0001_main.json", [bench()])
    data = json.loads(path.read_text()) | {"commit_info": commit_info}
    path.write_text(json.dumps(data))
    assert (load_run(path).commit, load_run(path).branch) == ("", "")


# --- choosing one ----------------------------------------------------------------------------------------------------


def test_files_are_listed_newest_first_over_all_machines(storage, stored):
    for name in ("Linux-A/0002_b.json", "Linux-A/0010_a.json", "Linux-B/0003_c.json", "notes.json", "Linux-A/x_1.json"):
        stored(storage / name)
    assert [path.name for path in stored_files(storage)] == ["0010_a.json", "0003_c.json", "0002_b.json"]
    assert stored_files(storage / "nowhere") == []


def test_a_value_is_file_then_number_then_name_then_branch(storage, stored, bench, outside, monkeypatch):
    monkeypatch.chdir(outside)
    item = [bench()]
    stored(storage / "M/0003_one.json", item, branch="0003")
    stored(storage / "M/0004_0003.json", item, branch="other")
    stored(storage / "M/0005_two.json", item, branch="one")
    stored(storage / "M/0006_three.json", item, branch="work")
    file = stored(outside / "work", item)

    def chosen(value):
        found = find_baseline(value, storage, outside)
        return Path(found.run.path).name, found.chosen

    assert chosen("work") == ("work", "file work")
    assert chosen(str(file)) == ("work", f"file {file}")
    assert chosen("3") == chosen("0003") == ("0003_one.json", "run 0003")
    assert chosen("one") == ("0003_one.json", "newest run named one")
    file.unlink()
    assert chosen("work") == ("0006_three.json", "newest clean run of work")


def test_the_newest_of_a_name_or_branch_is_chosen(storage, stored, bench, outside):
    for name in ("0001_base", "0002_base", "0003_else"):
        stored(storage / f"M/{name}.json", [bench()], branch="main")
    assert Path(find_baseline("base", storage, outside).run.path).name == "0002_base.json"
    assert Path(find_baseline("main", storage, outside).run.path).name == "0003_else.json"


def test_a_branch_is_also_known_by_the_commit_at_its_tip(storage, stored, bench, repository):
    tip = git(repository, "rev-parse", "side")
    stored(storage / "M/0001_a.json", [bench()], commit=tip, branch="(detached head)")
    assert find_baseline("side", storage, repository).run.commit == tip


def test_a_dirty_or_interrupted_run_stands_for_no_branch(storage, stored, bench, outside):
    stored(storage / "M/0001_a.json", [bench()], branch="main")
    stored(storage / "M/0002_b.json", [bench()], branch="main", dirty=True)
    stored(storage / "M/0003_c.json", [bench()], branch="main", interrupted=True)
    assert Path(find_baseline("main", storage, outside).run.path).name == "0001_a.json"
    # Who asks for one by its number gets it.
    assert find_baseline("2", storage, outside).run.dirty


@pytest.mark.parametrize(
    "value", ["nowhere", "99", "²", "-x", "--output=owned", "$(touch owned)", "../0001_a.json", "9" * 6000, "x" * 6000]
)
def test_a_value_that_means_nothing_lists_what_is_stored(storage, stored, bench, repository, monkeypatch, value):
    monkeypatch.chdir(repository)
    stored(storage / "M/0001_a.json", [bench()])
    with pytest.raises(OptionError, match="no such file") as caught:
        find_baseline(value, storage, repository)
    assert "0001" in caught.value.remedy
    assert not (repository / "owned").exists()


def test_an_empty_storage_says_how_to_store(storage, outside):
    with pytest.raises(OptionError, match="--benchmark-save=NAME"):
        find_baseline("main", storage, outside)
    assert find_baseline(NEWEST_ANCESTOR, storage, outside) is None


def test_a_damaged_file_that_was_asked_for_is_an_error(storage, stored, outside):
    path = stored(storage / "M/0001_a.json")
    path.write_text("{")
    for value in ("1", "a", str(path)):
        with pytest.raises(StoredRunError, match=r"0001_a\.json"):
            find_baseline(value, storage, outside)


def test_the_default_is_the_newest_clean_ancestor(storage, stored, bench, repository):
    one, two, three = reversed(git(repository, "rev-list", "main").split())
    aside = git(repository, "rev-parse", "side")
    stored(storage / "M/0001_a.json", [bench()], commit=one)
    stored(storage / "M/0002_b.json", [bench()], commit=two)
    stored(storage / "M/0003_c.json", [bench()], commit=three, dirty=True)
    stored(storage / "M/0004_d.json", [bench()], commit=three, interrupted=True)
    stored(storage / "M/0005_e.json", [bench()], commit=aside)
    stored(storage / "M/0006_f.json", [], commit=three)
    stored(storage / "M/0007_g.json", [bench()], commit="unversioned")
    stored(storage / "M/0008_h.json").write_text('{"benchmarks": []}')
    stored(storage / "M/0009_i.json").write_text("{")
    found = find_baseline(NEWEST_ANCESTOR, storage, repository)
    assert found.run.commit == two
    assert [text.count("0009_i.json") + text.count("0008_h.json") for text in found.skipped] == [1, 1]
    git(repository, "checkout", "-q", "side")
    assert find_baseline(NEWEST_ANCESTOR, storage, repository).run.commit == aside


def test_the_default_finds_nothing_where_no_ancestor_was_measured(storage, stored, bench, repository):
    stored(storage / "M/0001_a.json", [bench()], commit=git(repository, "rev-parse", "side"))
    assert find_baseline(NEWEST_ANCESTOR, storage, repository) is None


def test_outside_of_git_the_default_is_the_newest_complete_run(storage, stored, bench, outside):
    stored(storage / "M/0001_a.json", [bench()])
    stored(storage / "M/0002_b.json", [bench()])
    stored(storage / "M/0003_c.json", [bench()], interrupted=True)
    found = find_baseline(NEWEST_ANCESTOR, storage, outside)
    assert Path(found.run.path).name == "0002_b.json"
    assert found.chosen == "newest run"


# --- history ---------------------------------------------------------------------------------------------------------


def test_the_history_is_the_branch_up_to_the_baseline_oldest_first(storage, stored, bench):
    for number, branch in enumerate(["main", "main", "side", "main", "main", "main"], 1):
        stored(storage / f"M/000{number}_r.json", [bench()], branch=branch)
    stored(storage / "M/0007_r.json", [bench()], branch="main", interrupted=True)
    baseline = load_run(storage / "M/0005_r.json")
    numbers = [int(Path(run.path).name[:4]) for run in history(storage, baseline)]
    # 6 is newer than the baseline: it may be the very run that is judged.
    assert numbers == [1, 2, 4, 5]
    assert [int(Path(run.path).name[:4]) for run in history(storage, baseline, limit=2)] == [4, 5]


def test_a_damaged_file_does_not_stop_the_history(storage, stored, bench):
    stored(storage / "M/0001_r.json").write_text("{")
    baseline = load_run(stored(storage / "M/0002_r.json", [bench()]))
    assert [run.path for run in history(storage, baseline)] == [baseline.path]
