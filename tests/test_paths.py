from pathlib import Path

import platformdirs
import pytest

from energyaware.errors import CacheError
from energyaware.paths import CACHE_VARIABLE, cache_dir, exists, expanded, is_dir, is_file, model_place, writable_dir


def test_the_variable_chooses_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "elsewhere"))
    assert cache_dir() == tmp_path / "elsewhere"
    assert not cache_dir().exists()


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, "~/models")
    assert cache_dir() == tmp_path / "models"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_the_platform_chooses(monkeypatch, value):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(CACHE_VARIABLE, value)
    assert cache_dir() == Path(platformdirs.user_cache_dir("energyaware"))


def test_a_writable_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    assert writable_dir(folder, "cache") == folder
    assert writable_dir(folder, "cache") == folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["taken", "taken/below"])
def test_a_folder_that_cannot_be_made_is_named_with_a_remedy(tmp_path, name):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CacheError, match="the report folder") as caught:
        writable_dir(tmp_path / name, "report")
    assert str(tmp_path / name) in caught.value.cause
    assert CACHE_VARIABLE in caught.value.remedy
    assert "--energy-report" in caught.value.remedy


@pytest.mark.parametrize("typed", ["x" * 5000, "a\0b", "~nobody-of-this-name/x", "~a\0b", ""])
def test_what_can_be_no_path_is_none(typed):
    path = expanded(typed)
    if typed:
        assert not exists(path)
        assert not is_dir(path)
    assert not is_file(path)


def test_what_is_there_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    assert is_file(expanded("~/file"))
    assert exists(expanded("~/file"))
    assert is_dir(expanded("~"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mini-gpt2-2of4", "mini-gpt2-2of4"),
        ("owner/model", "owner-model"),
        ("/elsewhere/model", "elsewhere-model"),
        ("../../elsewhere", "elsewhere"),
        ("a\0b\n", "a-b"),
        ("x" * 5000, "x" * 80),
        ("", ""),
    ],
)
def test_a_cached_model_lies_in_the_cache_whatever_its_name_is(tmp_path, name, shown):
    assert model_place(tmp_path, name, "0123456789abcdef0") == tmp_path / "models" / f"{shown}-0123456789abcdef"
