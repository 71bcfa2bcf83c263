from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import threading

import pytest
import torch
from filelock import FileLock

from energyaware.data.simulator import network_corpus
from energyaware.errors import ModelError
from energyaware.examples import Dataset, Example
from energyaware.models.catalogue import CATALOGUE, ModelSpec, find
from energyaware.models.embedded import Shape, build
from energyaware.models.loading import load_model, load_tokenizer
from energyaware.tasks import evaluation
from energyaware.tasks.rca import Rca, evaluate, rca_for
from energyaware.tasks.registry import find_task
from energyaware.training.settings import TrainSettings
from energyaware.variants import embedded, locking

SPEC = ModelSpec("nano-gpt2", "gpt2", "nano")
SETTINGS = TrainSettings(epochs=1, batch_size=16, checkpoint_s=0.0)
T5 = ModelSpec("nano-t5", "t5", "nano")
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


def shrink(patch):
    shapes = {"nano": Shape(64, 2)}
    patch.setattr("energyaware.models.embedded.SHAPES", shapes)
    patch.setattr("energyaware.variants.embedded.SHAPES", shapes)


@pytest.fixture(autouse=True)
def nano(monkeypatch):
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def corpus():
    return network_corpus(0, train=64, validation=8, test=8)


@pytest.fixture(scope="module")
def tasks(corpus):
    """The task `rca` and a question answered with two words."""
    towns = ("birchwood", "alderman", "larchfield")
    questions = tuple(
        Example(f"q{n}", f"ticket {n} from {towns[n % 3]}", f"near {towns[n % 3]}", question="where?")
        for n in range(48)
    )
    return {"rca": corpus, "qa": Dataset("where", "3" * 64, (), questions, questions[:6], (), task="qa")}


@pytest.fixture(scope="module")
def trained_once(corpus, tmp_path_factory):
    """A function spec → its trained model, for copies."""

    @functools.cache
    def train(spec):
        with pytest.MonkeyPatch.context() as patch:
            shrink(patch)
            return embedded.ensure_trained(spec, corpus, tmp_path_factory.mktemp(spec.name), settings=SETTINGS)

    return train


@pytest.fixture
def base_of(trained_once, tmp_path):
    """A function spec → what `ensure_trained` makes of it in the test's folder."""

    def copy(spec):
        original = trained_once(spec)
        shutil.copytree(original.parent, tmp_path / "models", dirs_exist_ok=True)
        return tmp_path / "models" / original.name

    return copy


@pytest.fixture
def trained(base_of):
    return base_of(SPEC)


def test_keys_of_trained_models_do_not_change_by_accident(monkeypatch, tmp_path):
    """Whoever upgrades trains nothing anew, unless the settings of the training changed."""
    monkeypatch.undo()
    made = []
    monkeypatch.setattr(embedded, "_make", lambda job, place, *rest: made.append(place.name))
    corpus = Dataset("network", "f" * 64, ("a", "b"), (), (), ())
    embedded.ensure_trained(find("tiny-gpt2"), corpus, tmp_path)
    embedded.ensure_trained(find("mini-mistral"), corpus, tmp_path)
    base = tmp_path / "base"
    base.mkdir()
    (base / embedded.FACTS_FILE).write_text('{"name": "tiny-gpt2", "hash": "0123"}')
    embedded.ensure_finetuned(base, REAL, tmp_path)
    assert made == [
        "tiny-gpt2-e950347e7fe60ae5",
        "mini-mistral-8539a85c2a53592d",
        "tiny-gpt2-470088f5baf9c646",
    ]


def test_trained_model_loads_and_answers(trained, corpus):
    model, tokenizer = load_model(trained, dtype=torch.float32), load_tokenizer(trained)
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


def test_a_killed_training_goes_on_and_leaves_nothing_behind(corpus, trained_once, tmp_path):
    def progress(label, done, total, detail=""):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded.ensure_trained(SPEC, corpus, tmp_path, progress, SETTINGS)
    place = embedded.ensure_trained(SPEC, corpus, tmp_path, settings=SETTINGS)
    assert json.loads((place / embedded.FACTS_FILE).read_text())["report"]["resumed_from"] == 2
    whole = trained_once(SPEC)
    assert (place / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [entry.name for entry in (tmp_path / "models").iterdir() if entry.is_dir()] == [place.name]


def test_a_directory_without_its_facts_is_made_anew(trained, corpus):
    (trained / embedded.FACTS_FILE).unlink()
    assert embedded.ensure_trained(SPEC, corpus, trained.parent.parent, settings=SETTINGS) == trained
    assert (trained / embedded.FACTS_FILE).is_file()


def test_whoever_comes_second_waits_says_so_and_trains_nothing(corpus, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "_POLL_S", 0.01)
    first = trained
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
        assert waiting.wait(120)
        (first / embedded.FACTS_FILE).write_text(facts)
    second.join(120)
    assert found == [first]
    assert "waiting" in said[0]


def test_only_embedded_models_are_trained(corpus, tmp_path):
    with pytest.raises(ModelError, match="not an embedded model"):
        embedded.ensure_trained(find("gpt2"), corpus, tmp_path)


def test_finetuning_learns_new_words_and_labels(trained, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=15)
    place = embedded.ensure_finetuned(trained, REAL, tmp_path / "ft", settings=settings)
    model, tokenizer = load_model(place, dtype=torch.float32), load_tokenizer(place)
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings
    assert len(tokenizer) > len(load_tokenizer(trained))
    assert evaluate(model, tokenizer, REAL, REAL.train, 8).accuracy > 0.9
    assert embedded.ensure_finetuned(trained, REAL, tmp_path / "ft", settings=settings) == place


def test_finetuning_needs_a_model_trained_here(tmp_path):
    with pytest.raises(ModelError, match="holds no model trained here"):
        embedded.ensure_finetuned(tmp_path, REAL, tmp_path)


def test_an_encoder_decoder_learns_causes_too(corpus, base_of):
    place = base_of(T5)
    model, tokenizer = load_model(place, dtype=torch.float32), load_tokenizer(place)
    assert model.config.is_encoder_decoder
    assert len(evaluate(model, tokenizer, corpus, corpus.test, 4).correct) == len(corpus.test)


def answers_questions(model, tokenizer, examples):
    """Whether a decoder answers rightly, and whether an encoder-decoder, which learns to copy later, answers at all."""
    quality = evaluation.evaluate(model, tokenizer, find_task("qa"), examples).quality
    return quality["token_f1"] > 0.4 if model.config.is_encoder_decoder else quality["exact_match"] > 0.9


@pytest.mark.parametrize("spec", [SPEC, T5], ids=["gpt2", "t5"])
def test_the_mix_teaches_a_new_task_and_keeps_the_old_one(spec, corpus, base_of, tasks, tmp_path):
    base = base_of(spec)
    settings = TrainSettings(epochs=30, batch_size=16, early_until=0.0)
    place = embedded.ensure_multitask(base, tasks, tmp_path, settings=settings, examples=32)
    model, tokenizer = load_model(place, dtype=torch.float32), load_tokenizer(place)
    old = load_tokenizer(base)
    for example in corpus.train:
        prompt = Rca(corpus.labels).prompt(example)
        assert tokenizer(prompt)["input_ids"] == old(prompt)["input_ids"]
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings
    assert answers_questions(model, tokenizer, tasks["qa"].train)
    if not model.config.is_encoder_decoder:
        assert evaluate(model, tokenizer, corpus, corpus.train[:32], 8).accuracy > 0.5
    facts = json.loads((place / embedded.FACTS_FILE).read_text())
    assert facts["name"] == spec.name
    assert facts["validation"]["qa"]["answer_nll"] > 0
    assert 0 <= facts["validation"]["rca"]["accuracy"] <= 1
    assert embedded.ensure_multitask(base, tasks, tmp_path, settings=settings, examples=32) == place


@pytest.mark.parametrize(("examples", "epochs"), [(0, 12), (3, 12), (908, 12), (2200, 5), (9000, 1), (200_000, 1)])
def test_small_datasets_are_learnt_in_more_passes(examples, epochs):
    assert embedded.finetune_settings(examples).epochs == epochs


@pytest.mark.parametrize("family", ["t5", "gpt-neo", "llama"])
def test_models_that_were_trained_before_their_queries_slowed_down_are_left_alone(
    family, corpus, tmp_path, monkeypatch
):
    jobs = []
    monkeypatch.setattr(embedded, "_ensure", lambda job, *rest: jobs.append(job))
    embedded.ensure_trained(find(f"tiny-{family}"), corpus, tmp_path)
    assert ("queries" in jobs[0].identity) == (family != "llama")


@pytest.mark.parametrize("change", ["examples", "settings", "dataset", "task", "datasets", "base"])
def test_whatever_shapes_the_mix_changes_its_directory(trained, tasks, change, monkeypatch):
    made = []
    monkeypatch.setattr(embedded, "_make", lambda job, place, *rest: made.append(place))
    base, examples, settings, datasets = trained, 8, SETTINGS, dict(tasks)
    embedded.ensure_multitask(base, datasets, trained.parent.parent, settings=settings, examples=examples)
    if change == "examples":
        examples = 9
    elif change == "settings":
        settings = dataclasses.replace(SETTINGS, matrix_lr=0.01)
    elif change == "dataset":
        datasets["qa"] = dataclasses.replace(datasets["qa"], fingerprint="4" * 64)
    elif change == "task":
        datasets["qa"] = dataclasses.replace(datasets["qa"], task="response")
    elif change == "datasets":
        del datasets["rca"]
    else:
        base = trained.with_name("other")
        base.mkdir()
        (base / embedded.FACTS_FILE).write_text('{"name": "nano-gpt2", "hash": "ff"}')
    embedded.ensure_multitask(base, datasets, trained.parent.parent, settings=settings, examples=examples)
    assert len({*made}) == 2


def test_the_order_of_the_datasets_shapes_nothing(trained, tasks, monkeypatch):
    made = []
    monkeypatch.setattr(embedded, "_make", lambda job, place, *rest: made.append(place))
    for datasets in (tasks, dict(reversed(tasks.items()))):
        embedded.ensure_multitask(trained, datasets, trained.parent.parent)
    assert made[0] == made[1]


@pytest.mark.parametrize("spec", [SPEC, T5], ids=["gpt2", "t5"])
def test_finetuning_on_another_task(spec, base_of, tasks, tmp_path):
    base = base_of(spec)
    settings = TrainSettings(epochs=30, batch_size=16, early_until=0.0)
    place = embedded.ensure_finetuned(base, tasks["qa"], tmp_path, settings=settings)
    model, tokenizer = load_model(place, dtype=torch.float32), load_tokenizer(place)
    assert answers_questions(model, tokenizer, tasks["qa"].train)


def test_what_is_too_long_is_cut_in_front_of_the_question_and_behind_the_answer(trained):
    tokenizer, task = load_tokenizer(trained), find_task("qa")
    long = Example("x", "a b c d " * 400, "yes " * 400, question="is it so?")
    (found,) = embedded.encode_for_training(task, tokenizer, [long])
    assert len(found.token_ids) == 512
    assert found.cut
    assert found.token_ids[0] == tokenizer.bos_token_id
    assert found.answer == 256
    asked = tokenizer(task.prompt(long))["input_ids"]
    assert list(found.token_ids[1:256]) == asked[-255:]
    short = dataclasses.replace(long, label="yes")
    (found,) = embedded.encode_for_training(task, tokenizer, [short])
    assert found.token_ids[-1] == tokenizer.eos_token_id
    assert len(found.token_ids) == 512
    assert found.cut
    answered = Example("x", "a b", "yes " * 600, question="is it so?")
    (found,) = embedded.encode_for_training(task, tokenizer, [answered])
    assert (len(found.token_ids), found.cut) == (512, True)
    fitting = Example("x", "a b", "yes", question="is it so?")
    whole = len(embedded.encode_for_training(task, tokenizer, [fitting])[0].token_ids)
    cuts = [embedded.encode_for_training(task, tokenizer, [fitting], limit)[0].cut for limit in (whole, whole - 1)]
    assert cuts == [False, True]


def test_examples_that_were_cut_are_noted_beside_the_model(trained):
    assert embedded.training_notes(trained) == ()
    long = tuple(dataclasses.replace(one, text=f"{one.text} alarm_9" * 200) for one in REAL.train[:2])
    dataset = dataclasses.replace(REAL, train=(*long, *REAL.train[2:]))
    settings = TrainSettings(epochs=1, batch_size=15, early_until=0.0)
    place = embedded.ensure_finetuned(trained, dataset, trained.parent.parent, settings=settings)
    expected = ("2 of 30 training examples cut to 512 tokens: prompts at their beginning, answers at their end",)
    assert embedded.training_notes(place) == expected
    assert embedded.training_notes(place / "nothing") == ()


@pytest.mark.parametrize("family", ["gpt2", "t5", "falcon"])
def test_embeddings_of_new_tokens_begin_as_small_as_the_others_did(family):
    known, grown = 100, 600
    model = build(ModelSpec(family, family, "nano"), known, bos_token_id=0, eos_token_id=0, pad_token_id=1)
    before = model.get_input_embeddings().weight.detach().clone()
    embedded._resize(model, range(grown))  # as long as a tokenizer of that many tokens
    after = model.get_input_embeddings().weight.detach()
    assert after.shape[0] == grown
    assert torch.equal(after[:known], before)
    assert after[known:].std().item() == pytest.approx(before.std().item(), rel=0.05)


def test_the_mix_is_learnt_in_one_pass_and_where_attention_does_not_scale_in_two():
    passes = {spec.family: embedded.mix_settings(spec).epochs for spec in CATALOGUE.values() if spec.embedded}
    assert passes.pop("t5") == passes.pop("gpt-neo") == 2
    assert set(passes.values()) == {1}
    assert embedded.mix_settings(T5).early_until > embedded.mix_settings(SPEC).early_until == 0
