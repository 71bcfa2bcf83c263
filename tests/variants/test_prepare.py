from __future__ import annotations

import json

import pytest

from energyaware.examples import Dataset
from energyaware.models.catalogue import ModelSpec, find
from energyaware.variants import prepare as module
from energyaware.variants.prepare import prepare, prepare_multitask

CORPUS = Dataset("network", "0" * 64, ("a", "b"), (), (), ())
QA = Dataset("questions", "1" * 64, (), (), (), (), task="qa")


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Nothing is trained: what would be is listed, and each stage names its directory."""
    made = []

    def stage(name):
        def ensure(first, *rest):
            made.append((name, first, rest[0]))
            return tmp_path / name

        return ensure

    monkeypatch.setattr(module, "network_corpus", lambda: CORPUS)
    for name in ("ensure_trained", "ensure_finetuned", "ensure_multitask"):
        monkeypatch.setattr(module, name, stage(name))
    return made


def test_the_embedded_corpus_needs_one_stage(calls, tmp_path):
    assert prepare(find("tiny-t5"), CORPUS, tmp_path).source == str(tmp_path / "ensure_trained")
    assert [name for name, *_ in calls] == ["ensure_trained"]


def test_other_data_of_any_task_come_on_top(calls, tmp_path):
    assert prepare(find("tiny-t5"), QA, tmp_path).source == str(tmp_path / "ensure_finetuned")
    assert calls[1] == ("ensure_finetuned", tmp_path / "ensure_trained", QA)


def test_the_mix_repeats_causes_even_where_they_are_not_asked_for(calls, tmp_path):
    prepared = prepare_multitask(find("tiny-gpt2"), {"qa": QA}, tmp_path)
    assert prepared.source == str(tmp_path / "ensure_multitask")
    assert calls[1] == ("ensure_multitask", tmp_path / "ensure_trained", {"rca": CORPUS, "qa": QA})


def test_data_of_ones_own_for_causes_take_the_corpus_place(calls, tmp_path):
    mine = Dataset("mine", "2" * 64, ("x", "y"), (), (), ())
    prepare_multitask(find("tiny-gpt2"), {"rca": mine}, tmp_path)
    assert calls[1][2] == {"rca": mine}


def test_a_local_directory_is_taken_as_it_is(calls, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    spec = ModelSpec("mine", "unknown", "unknown", path=tmp_path)
    for prepared in (prepare(spec, QA, tmp_path), prepare_multitask(spec, {"qa": QA}, tmp_path)):
        assert prepared.source == str(tmp_path)
        assert len(prepared.fingerprint) == 64
    assert not calls


def test_a_hub_model_keeps_its_revision_and_is_known_by_its_commit_once_cached(calls, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    prepared = prepare(find("gpt-j-6b"), CORPUS, tmp_path)
    assert (prepared.source, prepared.revision, prepared.fingerprint) == ("EleutherAI/gpt-j-6b", "refs/pr/40", None)
    folder = tmp_path / "models--EleutherAI--gpt-j-6b"
    (folder / "refs" / "refs" / "pr").mkdir(parents=True)
    (folder / "refs" / "refs" / "pr" / "40").write_text("a" * 40)
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "part.safetensors").touch()
    index = {"weight_map": {"wte": "part.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    assert prepare(find("gpt-j-6b"), CORPUS, tmp_path).fingerprint == "commit " + "a" * 40
