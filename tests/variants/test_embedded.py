from __future__ import annotations

import dataclasses
import json
import threading

import pytest
import torch
from filelock import FileLock

from energyaware.data.simulator import network_corpus
from energyaware.errors import ModelError
from energyaware.examples import Dataset, Example
from energyaware.models.catalogue import ModelSpec, find
from energyaware.models.embedded import Shape
from energyaware.models.loading import load_causal_lm, load_tokenizer
from energyaware.tasks.rca import evaluate, rca_for
from energyaware.training.settings import TrainSettings
from energyaware.variants import embedded

SPEC = ModelSpec("nano-gpt2", "gpt2", "nano")
SETTINGS = TrainSettings(epochs=1, batch_size=16, checkpoint_s=0.0)
REAL = Dataset(
    "real",
    "1" * 64,
    ("indoor unit", "outdoor unit", "cable"),
    tuple(
        Example(f"r{n}", f"alarm_{n % 3} for {n} s, alarm_9", ("indoor unit", "outdoor unit", "cable")[n % 3])
        for n in range(30)
    ),
    (),
    (),
)


@pytest.fixture(autouse=True)
def nano(monkeypatch):
    shapes = {"nano": Shape(64, 2)}
    monkeypatch.setattr("energyaware.models.embedded.SHAPES", shapes)
    monkeypatch.setattr("energyaware.variants.embedded.SHAPES", shapes)


@pytest.fixture(scope="module")
def corpus():
    return network_corpus(0, train=64, validation=8, test=8)


@pytest.fixture
def trained(corpus, tmp_path):
    return embedded.ensure_trained(SPEC, corpus, tmp_path, settings=SETTINGS)


def test_trained_model_loads_and_answers(trained, corpus):
    model, tokenizer = load_causal_lm(trained, dtype=torch.float32), load_tokenizer(trained)
    assert not rca_for(corpus, tokenizer).letters
    assert len(evaluate(model, tokenizer, corpus, corpus.test, 4).correct) == len(corpus.test)
    assert model.config.eos_token_id == tokenizer.eos_token_id


def test_the_directory_says_what_shaped_it(trained, corpus):
    facts = json.loads((trained / embedded.FACTS_FILE).read_text())
    assert facts["identity"]["dataset"] == corpus.fingerprint
    assert facts["identity"]["settings"]["batch_size"] == 16
    assert facts["report"]["answer_loss"] > 0
    assert 0 <= facts["validation"]["accuracy"] <= 1
    assert {file.suffix for file in trained.iterdir()} <= {".json", ".safetensors"}


def test_the_second_time_nothing_is_trained(trained, corpus, monkeypatch):
    monkeypatch.setattr(embedded, "train", pytest.fail)
    assert embedded.ensure_trained(SPEC, corpus, trained.parent.parent, settings=SETTINGS) == trained


@pytest.mark.parametrize("change", ["settings", "seed", "dataset", "spec", "version"])
def test_whatever_shapes_a_model_changes_its_directory(trained, corpus, change, monkeypatch):
    made = []
    monkeypatch.setattr(embedded, "_make", lambda job, place, *rest: made.append(place))
    spec, dataset, settings, seed = SPEC, corpus, SETTINGS, 0
    if change == "settings":
        settings = dataclasses.replace(SETTINGS, matrix_lr=0.01)
    elif change == "seed":
        seed = 1
    elif change == "dataset":
        dataset = dataclasses.replace(corpus, fingerprint="2" * 64)
    elif change == "spec":
        spec = ModelSpec("nano-mistral", "mistral", "nano")
    else:
        monkeypatch.setattr(embedded, "CODE_VERSION", embedded.CODE_VERSION + 1)
    embedded.ensure_trained(spec, dataset, trained.parent.parent, settings=settings, seed=seed)
    assert len(made) == 1
    assert made[0] != trained


def test_how_often_checkpoints_are_written_shapes_nothing(trained, corpus):
    settings = dataclasses.replace(SETTINGS, checkpoint_s=99.0)
    assert embedded.ensure_trained(SPEC, corpus, trained.parent.parent, settings=settings) == trained


def test_a_killed_training_goes_on_and_leaves_nothing_behind(corpus, tmp_path):
    def progress(label, done, total, detail=""):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded.ensure_trained(SPEC, corpus, tmp_path, progress, SETTINGS)
    place = embedded.ensure_trained(SPEC, corpus, tmp_path, settings=SETTINGS)
    assert json.loads((place / embedded.FACTS_FILE).read_text())["report"]["resumed_from"] == 2
    whole = embedded.ensure_trained(SPEC, corpus, tmp_path / "other", settings=SETTINGS)
    assert (place / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [entry.name for entry in (tmp_path / "models").iterdir() if entry.is_dir()] == [place.name]


def test_a_directory_without_its_facts_is_made_anew(trained, corpus):
    (trained / embedded.FACTS_FILE).unlink()
    assert embedded.ensure_trained(SPEC, corpus, trained.parent.parent, settings=SETTINGS) == trained
    assert (trained / embedded.FACTS_FILE).is_file()


def test_whoever_comes_second_waits_says_so_and_trains_nothing(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_POLL_S", 0.01)
    first = embedded.ensure_trained(SPEC, corpus, tmp_path, settings=SETTINGS)
    facts = (first / embedded.FACTS_FILE).read_text()
    (first / embedded.FACTS_FILE).unlink()  # as if the first run were still at it
    lock = FileLock(tmp_path / "models" / f"{first.name}.lock")
    said, waiting = [], threading.Event()

    def progress(label, done, total, detail=""):
        said.append(detail)
        waiting.set()

    monkeypatch.setattr(embedded, "train", pytest.fail)
    found = []
    with lock:
        second = threading.Thread(
            target=lambda: found.append(embedded.ensure_trained(SPEC, corpus, tmp_path, progress, SETTINGS))
        )
        second.start()
        assert waiting.wait(30)
        (first / embedded.FACTS_FILE).write_text(facts)
    second.join(30)
    assert found == [first]
    assert "waiting" in said[0]


def test_only_embedded_models_are_trained(corpus, tmp_path):
    with pytest.raises(ModelError, match="not an embedded model"):
        embedded.ensure_trained(find("gpt2"), corpus, tmp_path)


def test_finetuning_learns_new_words_and_labels(trained, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=15)
    place = embedded.ensure_finetuned(trained, REAL, tmp_path / "ft", settings=settings)
    model, tokenizer = load_causal_lm(place, dtype=torch.float32), load_tokenizer(place)
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings
    assert len(tokenizer) > len(load_tokenizer(trained))
    assert evaluate(model, tokenizer, REAL, REAL.train, 8).accuracy > 0.9
    assert embedded.ensure_finetuned(trained, REAL, tmp_path / "ft", settings=settings) == place


def test_finetuning_needs_a_model_trained_here(tmp_path):
    with pytest.raises(ModelError, match="holds no model trained here"):
        embedded.ensure_finetuned(tmp_path, REAL, tmp_path)
