from __future__ import annotations

import dataclasses
import functools
import json
import multiprocessing
import os
import types
from pathlib import Path

import pytest
import torch

from energyaware.compression.linear import linear_maps, quantized_as
from energyaware.compression.pruning import prune_n_m
from energyaware.data.simulator import network_corpus
from energyaware.errors import ModelError
from energyaware.examples import Dataset, Example
from energyaware.models.catalogue import find
from energyaware.models.loading import load_model, load_tokenizer
from energyaware.models.tokenizer import train_tokenizer
from energyaware.training.batches import step_examples
from energyaware.training.finetune import FinetuneSettings, LoraSettings
from energyaware.variants import finetuned, locking
from energyaware.variants.finetuned import (
    ADAPTER,
    FinetuneJob,
    ensure_setting,
    finetune_settings,
    open_finetuning,
    pruned_masks,
    save_finetuned,
    tunable,
)
from energyaware.variants.grid import make_variant
from energyaware.variants.load import load_variant
from energyaware.variants.prepare import PreparedModel
from energyaware.variants.tuned import SETTINGS

FAMILIES = ("gpt2", "gpt-neo", "gpt-j", "falcon", "mistral", "llama", "t5")
LABELS = ("fiber", "power")


def tickets(first: int, count: int) -> tuple[Example, ...]:
    return tuple(
        Example(f"t{n}", f"{'los' if n % 2 else 'volt'} at site {'alder' if n % 3 else 'birch'} {n}", LABELS[n % 2])
        for n in range(first, first + count)
    )


DATASET = Dataset("tickets", "f" * 64, LABELS, tickets(0, 24), tickets(24, 8), tickets(32, 8))
BRIEF = FinetuneSettings(lr=5e-3, epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint):
    """A function family → folder of a small random model, each made once."""
    texts = [f"{example.text} cause: {example.label}" for example in DATASET.train]
    tokenizer = train_tokenizer(texts, LABELS)
    return functools.cache(lambda family: make_checkpoint(family, tokenizer))


@pytest.fixture
def job(checkpoint):
    """A function (family, method, precision) → what is to be trained."""

    def make(family: str, method: str, precision: str, **changes):
        base = PreparedModel(str(checkpoint(family)), f"weights of {family}")
        name = f"x-{method}-{precision}"
        plain = {"lora": LoraSettings(rank=4)}
        return FinetuneJob(name, base, method, precision, DATASET, BRIEF, **(plain | changes))

    return make


def gradients(opened) -> dict[str, torch.Tensor]:
    """Of one training batch, in training mode."""
    model = opened.finetuning.model
    model.train()
    model.zero_grad(set_to_none=True)  # those of the last step
    chosen = step_examples(opened.finetuning._train, BRIEF.schedule, 1)
    torch.manual_seed(0)  # dropout
    opened.finetuning._loss(chosen)[0].backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize(("method", "precision"), SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_validating_leaves_the_next_gradient_unchanged(job, family, method, precision, monkeypatch):
    # As on a CPU with AVX512-bf16, where 4-bit weights are repacked when they are evaluated unless that is prevented.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    opened = open_finetuning(job(family, method, precision))
    opened.finetuning.train_epoch()
    before = gradients(opened)
    opened.finetuning.validate()
    after = gradients(opened)
    assert before.keys() == after.keys()
    assert any(bool(value.abs().max() > 0) for value in before.values())
    for name, value in before.items():
        torch.testing.assert_close(
            after[name], value, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(("method", "precision"), SETTINGS)
@pytest.mark.parametrize("family", ["gpt2", "falcon", "t5"])
def test_what_was_trained_is_saved_as_a_plain_checkpoint(job, tmp_path, family, method, precision):
    wanted = job(family, method, precision)
    opened = open_finetuning(wanted)
    list(opened.finetuning.epochs())
    saved = save_finetuned(wanted, opened, tmp_path)
    loaded = load_variant(saved.source, make_variant("x", precision))
    assert loaded.weight_dtype == precision
    base = load_model(wanted.base.source, dtype=torch.float32)
    trained = load_model(saved.source, dtype=torch.float32)
    assert any(
        not torch.equal(one.weight, other.weight)
        for one, other in zip(linear_maps(base), linear_maps(trained), strict=True)
    )
    facts = json.loads((tmp_path / "models" / f"{wanted.name}-{wanted.key[:16]}" / "energyaware.json").read_text())
    assert [entry["epoch"] for entry in facts["curve"]] == [1, 2]
    folder = tmp_path / "models" / f"{wanted.name}-{wanted.key[:16]}" / ADAPTER
    assert folder.is_dir() == (method == "lora")


def test_examples_that_were_cut_are_noted_with_the_model(job, tmp_path):
    wanted = job("gpt2", "full", "fp32")
    long = dataclasses.replace(DATASET.train[0], text="los at site alder " * 300)
    wanted = dataclasses.replace(
        wanted, dataset=dataclasses.replace(DATASET, fingerprint="e" * 64, train=(long, *DATASET.train[1:]))
    )
    opened = open_finetuning(wanted)
    ends = "prompts at their beginning, answers at their end"
    assert opened.cut_notes == (f"1 of 24 training examples cut to 512 tokens: {ends}",)
    assert opened.cut_notes[0] in opened.notes
    list(opened.finetuning.epochs())
    assert save_finetuned(wanted, opened, tmp_path).notes == opened.cut_notes


@torch.no_grad()
def test_merged_adapters_answer_like_the_model_that_was_trained(job, tmp_path):
    wanted = job("gpt2", "lora", "fp32")
    opened = open_finetuning(wanted)
    with torch.enable_grad():
        list(opened.finetuning.epochs())
    merged = load_model(save_finetuned(wanted, opened, tmp_path).source, dtype=torch.float32)
    ids = torch.arange(10).view(2, 5)
    expected = opened.finetuning.model.eval()(ids).logits
    torch.testing.assert_close(merged(ids).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_adapters_lie_beside_quantized_weights(job, precision):
    opened = open_finetuning(job("mistral", "lora", precision))
    bases = [opened.finetuning.model.get_submodule(name).base_layer for name in opened.targets]
    assert {quantized_as(module) for module in bases} == {precision}
    assert opened.weight_dtype == precision
    assert opened.compute_dtype == "fp32"
    adapters = [value for name, value in opened.finetuning.model.named_parameters() if "lora_" in name]
    assert {parameter.dtype for parameter in adapters} == {torch.float32}


@pytest.mark.parametrize(("method", "precision"), [("full", "fp32"), ("lora", "fp32")])
def test_a_pruned_base_keeps_its_zeros(job, tmp_path, method, precision):
    wanted = job("mistral", method, precision)
    pruned = load_model(wanted.base.source, dtype=torch.float32)
    prune_n_m(pruned, 2, 4)
    masks = pruned_masks(pruned)
    assert len(masks) == len(linear_maps(pruned))
    folder = tmp_path / "pruned"
    pruned.save_pretrained(folder)
    load_tokenizer(wanted.base.source).save_pretrained(folder)
    wanted = dataclasses.replace(wanted, base=PreparedModel(str(folder), "pruned"))
    opened = open_finetuning(wanted)
    list(opened.finetuning.epochs())
    trained = load_model(save_finetuned(wanted, opened, tmp_path).source, dtype=torch.float32)
    for linear_map in linear_maps(trained):
        assert bool((linear_map.weight[~masks[linear_map.name]] == 0).all())
    assert any("zeros of the pruned base kept" in note for note in opened.notes)


def test_a_dense_model_has_no_masks(job):
    assert pruned_masks(load_model(job("mistral", "full", "fp32").base.source, dtype=torch.float32)) == {}


def test_the_second_time_nothing_is_trained(job, tmp_path, monkeypatch):
    wanted = job("mistral", "lora", "fp32")
    first = ensure_setting(wanted, tmp_path)
    monkeypatch.setattr(finetuned, "open_finetuning", pytest.fail)
    assert ensure_setting(wanted, tmp_path) == first


class Files:
    """Stands for a model and for a tokenizer."""

    def __init__(self, name):
        self.name = name

    def save_pretrained(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / self.name).write_text(self.name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system copies no processes")
def test_two_runs_at_once_train_once(job, tmp_path, monkeypatch):
    """The second process begins while the first trains, which ends when the second says that it waits."""
    monkeypatch.setattr(locking, "_POLL_S", 0.01)
    wanted = job("mistral", "lora", "fp32")
    processes = multiprocessing.get_context("fork")
    training, waiting, said = processes.Event(), processes.Event(), processes.SimpleQueue()

    def epochs():
        said.put("trained")
        training.set()
        yield waiting.wait(120)

    def progress(label, done, total, detail=""):
        assert "waiting" in detail
        waiting.set()

    tuning = types.SimpleNamespace(epochs=epochs, model=Files("model.safetensors"), curve=[])
    opened = types.SimpleNamespace(
        finetuning=tuning, tokenizer=Files("tokenizer.json"), targets=(), cut_notes=(), wrapper=None
    )
    monkeypatch.setattr(finetuned, "open_finetuning", lambda *arguments: opened)

    def run():
        said.put(ensure_setting(wanted, tmp_path, progress=progress))

    first, second = processes.Process(target=run), processes.Process(target=run)
    first.start()
    assert training.wait(120)
    second.start()
    for process in (first, second):
        process.join(120)
        assert process.exitcode == 0
    found = [said.get() for _ in range(3)]
    assert found[0] == "trained"
    assert found[1] == found[2]
    assert found[1].fingerprint is not None
    assert said.empty()
    assert [entry.name for entry in (tmp_path / "models").iterdir() if entry.is_dir()] == [Path(found[1].source).name]


def test_what_is_saved_again_takes_the_place_of_the_old_and_leaves_nothing_behind(job, tmp_path):
    wanted = job("mistral", "lora", "fp32")
    for name in ("old.safetensors", "new.safetensors"):
        tuning = types.SimpleNamespace(model=Files(name), curve=[])
        opened = types.SimpleNamespace(finetuning=tuning, tokenizer=Files("tokenizer.json"), cut_notes=(), wrapper=None)
        saved = save_finetuned(wanted, opened, tmp_path)
    assert [entry.name for entry in Path(saved.source).glob("*.safetensors")] == ["new.safetensors"]
    assert [entry for entry in (tmp_path / "models").iterdir() if entry.is_dir()] == [Path(saved.source)]


def test_whatever_shapes_a_model_changes_its_key(job):
    wanted = job("mistral", "lora", "fp32")
    others = [
        dataclasses.replace(wanted, base=PreparedModel("elsewhere", "other weights")),
        dataclasses.replace(wanted, method="full"),
        dataclasses.replace(wanted, precision="bf16"),
        dataclasses.replace(wanted, dataset=dataclasses.replace(DATASET, fingerprint="0" * 64)),
        dataclasses.replace(wanted, dataset=dataclasses.replace(DATASET, task="summarization")),
        dataclasses.replace(wanted, settings=dataclasses.replace(BRIEF, lr=1e-4)),
        dataclasses.replace(wanted, lora=LoraSettings(rank=8)),
        dataclasses.replace(wanted, examples=8),
    ]
    assert len({wanted.key, *(other.key for other in others)}) == 1 + len(others)
    assert dataclasses.replace(wanted, validated=3).key == wanted.key


@pytest.mark.parametrize(("method", "precision"), [("full", "nf4"), ("lora", "fp4"), ("prefix", "fp32")])
def test_other_settings_are_refused(job, method, precision):
    with pytest.raises(ModelError, match="no setting of fine-tuning"):
        open_finetuning(job("mistral", method, precision))


def test_unknown_methods_have_no_settings():
    with pytest.raises(ModelError, match="full, lora"):
        finetune_settings("prefix", embedded=True)
    assert finetune_settings("lora", embedded=False).lr < finetune_settings("lora", embedded=True).lr


def test_an_embedded_model_does_not_know_what_it_is_to_learn(monkeypatch, tmp_path):
    learnt = []

    def ensure(spec, dataset, cache, progress):
        learnt.append(dataset.fingerprint)
        return tmp_path

    monkeypatch.setattr(finetuned, "ensure_trained", ensure)
    small = functools.partial(network_corpus, train=16, validation=4, test=4)
    monkeypatch.setattr(finetuned, "network_corpus", small)
    tunable(find("tiny-gpt2"), small(), tmp_path)
    tunable(find("tiny-gpt2"), DATASET, tmp_path)
    assert learnt == [small(finetuned.SISTER_SEED).fingerprint, small().fingerprint]
    assert learnt[0] != learnt[1]
