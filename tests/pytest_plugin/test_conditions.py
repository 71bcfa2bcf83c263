"""What must be the same before a run goes on. That git counts is tried in test_resume."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from energyaware.config import EnergyConfig
from energyaware.meters.replay import ReplayMeter
from energyaware.pytest_plugin.conditions import _text, conditions

METER = ReplayMeter([{"cpu": 1.0}])


@pytest.fixture
def settings():
    return EnergyConfig(
        measure=True, suite="quick", meter="auto", models=(), device="auto", data="network", weight=0.5, compare=None,
        limits=(), strict=False, sort="r", columns=(), report_dir=None, core_watts=None, net=False, country=None,
        rounds=None,
    )  # fmt: skip


@pytest.fixture
def found(pytestconfig, settings):
    def at(**changes):
        return conditions(pytestconfig, replace(settings, **changes), METER, ())

    return at


def test_every_value_is_text_and_the_same_twice(found):
    first = found()
    assert first == found()
    assert all(isinstance(item, str) for pair in first.items() for item in pair)
    assert {"energyaware", "meter of cpu", "--energy-rounds", "tests", "machine python", "numpy"} <= first.keys()


def test_an_option_that_shapes_measurements_counts(found):
    assert found(rounds=7)["--energy-rounds"] == "7"
    assert found(models=("a", "b"))["--energy-models"] == "a,b"
    assert found(net=True) != found()


def test_the_versions_of_all_packages_that_measure_count_and_the_page_names_them(found):
    packages = ["pytest-benchmark", "numpy", "torch", "transformers", "bitsandbytes", "torchao", "peft", "datasets"]
    assert found().keys() >= set(packages)
    page = Path(__file__).parents[2] / "docs" / "resume.md"
    assert f"| versions | energyaware, {', '.join(packages)} |" in page.read_text(encoding="utf-8")


def test_values_that_may_be_secrets_are_not_kept(pytestconfig, found, monkeypatch):
    def told(*overrides):
        monkeypatch.setattr(pytestconfig.option, "override_ini", list(overrides))
        return found(data="logs.zip:password=mellon,text=body")

    first = told("token=mellon", "energy_data=logs.zip:password=mellon,text=body")
    assert "mellon" not in str(first)
    assert "-o energy_data" not in first  # it counts as --energy-data does
    assert first["-o token"] != told("token=friend")["-o token"]
    assert told("token=mellon") == first


def test_an_option_that_only_shows_does_not(found, tmp_path):
    shown = {"weight": 0.1, "sort": "energy", "columns": ("rank",), "country": "FRA", "strict": True, "resume": True}
    assert found(compare="main", report_dir=tmp_path, **shown) == found()


def test_data_and_models_given_by_path_count_by_what_lies_there(found, tmp_path):
    data, model = tmp_path / "data.csv", tmp_path / "model"
    data.write_text("a,b\n")
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    before = found(data=str(data), models=(str(model),))
    assert found(data=str(data), models=(str(model),)) == before
    data.write_text("a,c,d\n")
    os.utime(model / "model.safetensors", (1, 1))
    after = found(data=str(data), models=(str(model),))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"files of --energy-data {data}", f"files of --energy-models {model}"}


@pytest.mark.parametrize("name", ["x" * 5000, "", "no/such/place", "owner/model"])
def test_a_name_that_is_no_path_has_no_files(found, name):
    assert not any(key.startswith("files of") for key in found(data=name))


def test_threads_count(found, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    assert found()["OMP_NUM_THREADS"] == "17"


def test_files_below_a_folder_count_but_neither_hidden_ones_nor_the_runs_own(pytestconfig, settings, tmp_path):
    model, own = tmp_path / "model", tmp_path / "model" / "runs"
    for name in ("deep/er/weights.bin", ".cache/seen", "runs/0001_a.json"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text("a")

    def found():
        return conditions(pytestconfig, replace(settings, models=(str(model),)), METER, (own,))

    before = found()
    for name in (".cache/more", "runs/0002_b.json"):
        (model / name).write_text("b")
    assert found() == before
    (model / "deep/er/weights.bin").write_text("bc")
    assert found()[f"files of --energy-models {model}"] != before[f"files of --energy-models {model}"]


def test_where_git_cannot_tell_what_changed_nothing_is_the_same(found, monkeypatch):
    from energyaware.pytest_plugin import conditions as module

    monkeypatch.setattr(module.git, "commit_of", lambda root, name: "abc")
    monkeypatch.setattr(module.git, "output", lambda *_: None)
    first, second = found(), found()
    assert first["uncommitted changes"].startswith("unknown to git")
    assert first["uncommitted changes"] != second["uncommitted changes"]


def test_an_option_of_somebody_else_is_the_same_text_in_every_process():
    class Thing:
        pass

    assert _text(Thing()) == _text(Thing())
    assert _text({"b", "a"}) == "['a', 'b']"
    assert _text(["x", 1]) == "['x', 1]"


def test_a_run_that_may_use_fewer_processors_is_another(found, monkeypatch):
    before = found()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert found() == before | {"processors that may be used": "3"}
