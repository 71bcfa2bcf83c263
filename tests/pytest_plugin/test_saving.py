"""Run files that are written whole, under numbers of their own."""

import json
import os
from types import SimpleNamespace

import pytest
from pytest_benchmark.storage.file import FileStorage

from energyaware.baselines import run_bytes
from energyaware.pytest_plugin.saving import RunFiles


class Logger:
    def __init__(self):
        self.lines = []

    def info(self, text, **_):
        self.lines.append(text)


@pytest.fixture
def benchmarks(tmp_path):
    """What `RunFiles` uses of pytest-benchmark's session."""
    logger = Logger()
    storage = FileStorage(tmp_path / "storage", logger, default_machine_id="machine")
    return SimpleNamespace(storage=storage, json=str(tmp_path / "out.json"), logger=logger, save_json=None)


def names(benchmarks):
    return sorted(str(path.relative_to(benchmarks.storage.path)) for path in benchmarks.storage.path.rglob("*.json"))


def test_numbers_go_on_from_the_highest_wherever_it_lies(benchmarks):
    files = RunFiles(benchmarks)
    benchmarks.storage.save({"a": 1}, "first")
    (benchmarks.storage.path / "0007_old.json").write_text("{}")
    benchmarks.storage.save({"a": 2}, "second")
    assert names(benchmarks) == ["0007_old.json", "machine/0001_first.json", "machine/0008_second.json"]
    assert json.loads((benchmarks.storage.path / "machine" / "0008_second.json").read_text()) == {"a": 2}
    assert files.problems == []
    assert benchmarks.logger.lines[-1].startswith("Saved benchmark data in: ")


def test_there_is_a_run_after_the_ten_thousandth(benchmarks):
    RunFiles(benchmarks)
    folder = benchmarks.storage.path / "machine"
    folder.mkdir()
    for name in ("9999_a.json", "10000_b.json"):
        (folder / name).write_text("{}")
    benchmarks.storage.save({}, "b")
    assert "machine/10001_b.json" in names(benchmarks)


def test_what_cannot_be_written_is_a_problem_with_a_remedy_and_leaves_nothing(benchmarks, monkeypatch, tmp_path):
    files = RunFiles(benchmarks)
    benchmarks.storage.save({}, "first")
    (tmp_path / "out.json").mkdir()  # a folder in the way of the file
    benchmarks.save_json({})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    benchmarks.storage.save({}, "second")
    assert names(benchmarks) == ["machine/0001_first.json"]
    assert [path.name for path in (benchmarks.storage.path / "machine").iterdir()] == ["0001_first.json"]
    assert "out.json cannot be written" in files.problems[0]
    assert "--benchmark-json" in files.problems[0]
    assert "0002_second.json cannot be written (No space left on device). Make room" in files.problems[1]
    assert "--benchmark-storage" in files.problems[1]


def test_a_run_that_nobody_would_read_again_is_written_and_told(benchmarks, monkeypatch, tmp_path):
    files = RunFiles(benchmarks)
    monkeypatch.setattr(run_bytes, "MOST_BYTES", 100)
    benchmarks.storage.save({"benchmarks": [{"name": "short"}]}, "first")
    assert files.too_large == []
    long = {"benchmarks": [{"name": "long" * 50}]}
    benchmarks.storage.save(long, "second")
    benchmarks.save_json(long)
    assert json.loads((benchmarks.storage.path / "machine" / "0002_second.json").read_text()) == long
    assert json.loads((tmp_path / "out.json").read_text()) == long
    assert files.problems == []
    assert ["0002_second.json has" in files.too_large[0], "out.json has" in files.too_large[1]] == [True, True]


def test_a_storage_that_is_gone_is_a_problem_too(benchmarks, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    files = RunFiles(benchmarks)
    benchmarks.storage.path = tmp_path / "file"
    benchmarks.storage.save({}, "first")
    assert "cannot be written" in files.problems[0]


def test_a_file_that_pytest_benchmark_has_opened_itself_is_written_by_name(benchmarks, tmp_path):
    with (tmp_path / "opened.json").open("wb") as benchmarks.json:
        RunFiles(benchmarks).save_json({"a": 1})
    assert json.loads((tmp_path / "opened.json").read_text()) == {"a": 1}


def test_another_kind_of_storage_stays_as_it_is(benchmarks):
    saved = []
    benchmarks.storage = SimpleNamespace(save=lambda *given: saved.append(given))
    RunFiles(benchmarks)
    benchmarks.storage.save({}, "x")
    assert saved == [({}, "x")]
