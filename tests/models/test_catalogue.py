from __future__ import annotations

import pytest

from energyaware.errors import ModelError
from energyaware.models.catalogue import CATALOGUE, find


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_catalogue_names_are_found_and_fit_into_ids(name):
    assert find(name) == CATALOGUE[name]
    assert CATALOGUE[name].name == name
    assert not set(name) & set("%:/ ")


def test_embedded_models_need_no_hub():
    assert {name for name, spec in CATALOGUE.items() if spec.embedded} == {
        "tiny-gpt2",
        "mini-gpt2",
        "tiny-mistral",
        "mini-mistral",
    }


def test_gpt_j_is_pinned_to_the_revision_with_safetensors():
    assert find("gpt-j-6b").revision == "refs/pr/40"
    assert find("EleutherAI/gpt-j-6b") == find("gpt-j-6b")


def test_any_hub_id_is_taken():
    spec = find("someone/Some-Model_1.5")
    assert spec.hub_id == "someone/Some-Model_1.5"
    assert spec.name == "some-model-1.5"
    assert not spec.embedded


def test_a_local_directory_is_taken(tmp_path):
    (tmp_path / "My Model").mkdir()
    (tmp_path / "My Model" / "config.json").write_text("{}")
    spec = find(str(tmp_path / "My Model"))
    assert spec.path == tmp_path / "My Model"
    assert spec.name == "my-model"
    assert not spec.embedded


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        find(str(tmp_path))


def test_an_unknown_name_gets_close_ones():
    with pytest.raises(ModelError, match=r"did you mean .*mini-gpt2"):
        find("mini-gpt")


@pytest.mark.parametrize("name", ["", "/no/such/directory", "a b", "../x/y"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ModelError, match="unknown model"):
        find(name)
