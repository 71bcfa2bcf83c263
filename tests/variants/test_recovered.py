from __future__ import annotations

import pytest
import torch

from energyaware.compression.linear import linear_maps
from energyaware.errors import CompressionError, ModelError
from energyaware.examples import Dataset, Example
from energyaware.models import embedded
from energyaware.models.catalogue import ModelSpec
from energyaware.models.loading import load_model
from energyaware.models.tokenizer import train_tokenizer
from energyaware.variants import recovered
from energyaware.variants.calibrated import load_prepared
from energyaware.variants.finetuned import FinetuneJob, finetune_settings, open_finetuning
from energyaware.variants.grid import make_variant
from energyaware.variants.load import load_variant
from energyaware.variants.prepare import PreparedModel
from energyaware.variants.row import row_facts

LABELS = ("fiber", "power")


def tickets(first: int, count: int) -> tuple[Example, ...]:
    return tuple(
        Example(f"t{n}", f"{'los' if n % 2 else 'volt'} at site {'alder' if n % 3 else 'birch'} {n}", LABELS[n % 2])
        for n in range(first, first + count)
    )


# The probe takes 8 rows of 64 tokens from the test split.
DATASET = Dataset("tickets", "f" * 64, LABELS, tickets(0, 200), tickets(200, 16), tickets(216, 100))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A small random GPT-2 of four blocks in a folder."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer([f"{example.text} cause: {example.label}" for example in DATASET.train], LABELS)
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "SHAPES", {"nano": embedded.Shape(64, 4)})
        model = embedded.build(ModelSpec("x", "gpt2", "nano"), len(tokenizer), **tokens)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return PreparedModel(str(folder), "weights of x")


@pytest.fixture
def load(prepared, tmp_path):
    """A function (precision, pruning) → the loaded variant, with recovered models in the test's own cache."""
    return lambda precision, pruning: load_prepared(
        prepared, make_variant("x", precision, pruning), DATASET, cache=tmp_path
    )


def answer_loss(loaded) -> float:
    """Nats per answer of the validation split."""
    from energyaware.tasks.rca import evaluate

    return evaluate(loaded.model, loaded.tokenizer, DATASET, DATASET.validation, batch_size=16).mean_nll


def test_a_shallow_model_is_trained_again_and_stays_shallow(load):
    plain, again = load("fp32", "depth-50"), load("fp32", "depth-50-recovered")
    assert (again.proof.blocks_before, again.proof.blocks_after) == (4, 2)
    assert again.parameters == plain.parameters
    assert again.proof.logits is not None
    assert "trained again after pruning (recovered)" in again.notes
    assert answer_loss(again) < answer_loss(plain)


@pytest.mark.parametrize("pruning", ["2of4", "magnitude-70", "wanda-50", "sparsegpt-2of4"])
def test_masks_are_those_of_the_pruning_and_outlive_the_training(load, pruning):
    plain, again = load("fp32", pruning), load("fp32", f"{pruning}-recovered")
    changed = False
    for one, other in zip(linear_maps(plain.model), linear_maps(again.model), strict=True):
        assert torch.equal(one.weight == 0, other.weight == 0)
        changed = changed or not torch.equal(one.weight, other.weight)
    assert changed
    assert "zeros run dense (masked)" in again.notes
    assert answer_loss(again) < answer_loss(plain)


def test_one_recovery_serves_every_precision(load, tmp_path, monkeypatch):
    first = load("fp32", "depth-50-recovered")
    monkeypatch.setattr(recovered, "ensure_setting", ensure_cached(recovered.ensure_setting))
    second = load("nf4", "depth-50-recovered")
    assert second.weight_dtype == "nf4"
    assert first.weights == second.weights is not None
    assert len([item for item in (tmp_path / "models").iterdir() if item.is_dir()]) == 1


def ensure_cached(ensure):
    """`ensure_setting`, which may not train here."""

    def checked(*arguments, **keywords):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("energyaware.variants.finetuned.open_finetuning", None)
            return ensure(*arguments, **keywords)

    return checked


def test_the_recovered_weights_are_what_comparisons_must_share(load, prepared):
    again = load("fp32", "depth-50-recovered")
    facts = row_facts(again, prepared, DATASET, "cpu")
    assert facts["fingerprints"]["weights"] == again.weights != prepared.fingerprint
    assert row_facts(load("fp32", "depth-50"), prepared, DATASET, "cpu")["fingerprints"]["weights"] == "weights of x"


def test_what_was_cut_in_the_recovery_is_noted(load, monkeypatch):
    monkeypatch.setattr("energyaware.variants.finetuned.MAX_TOKENS", 5)
    notes = load("fp32", "depth-50-recovered").notes
    assert any("training examples cut to 5 tokens" in note for note in notes)
    assert not any("cut" in note for note in load("fp32", "depth-50").notes)


def test_the_dense_model_is_left_alone(load, prepared):
    before = load_model(prepared.source, dtype=torch.float32).state_dict()
    load("fp32", "2of4-recovered")
    after = load_model(prepared.source, dtype=torch.float32).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_must_be_given_for_a_recovered_name(prepared):
    with pytest.raises(CompressionError, match="trained again"):
        load_variant(prepared.source, make_variant("x", "fp32", "depth-50-recovered"))


def test_adapters_are_not_trained_over_a_base_that_is_pruned_first(prepared):
    job = FinetuneJob("x", prepared, "lora", "fp32", DATASET, finetune_settings("lora", True), pruning="2of4")
    with pytest.raises(ModelError, match="lora does not prune"):
        open_finetuning(job)


def test_a_pruning_gives_a_job_another_key(prepared):
    job = FinetuneJob("x", prepared, "full", "fp32", DATASET, finetune_settings("full", True))
    pruned = FinetuneJob("x", prepared, "full", "fp32", DATASET, finetune_settings("full", True), pruning="2of4")
    assert job.key != pruned.key
