from __future__ import annotations

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from energyaware.errors import TaskError
from energyaware.examples import Dataset, Example
from energyaware.models.tokenizer import train_tokenizer
from energyaware.tasks.encoding import padding_side_of
from energyaware.tasks.labels import encode_labels, label_log_probs
from energyaware.tasks.rca import Rca, evaluate, rca_for, workload

LABELS = ("fiber", "fan", "clock")
EXAMPLES = tuple(Example(f"t-{n}", "alder los " * (1 + n % 4) + "storm", LABELS[n % 3], f"t-{n}") for n in range(10))
DATASET = Dataset("toy", "0" * 64, LABELS, EXAMPLES, (), EXAMPLES)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"{e.text} cause: {e.label}" for e in EXAMPLES], LABELS)


@pytest.fixture(scope="module", params=["gpt2", "mistral"])
def model(request, tokenizer):
    torch.manual_seed(0)
    if request.param == "gpt2":
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3
        )
        return GPT2LMHeadModel(config).eval()
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
    )
    return MistralForCausalLM(config).eval()


def one_by_one(model, tokenizer, task):
    """Label log-probabilities without any batching, padding or shortcut."""
    rows = []
    for example in EXAMPLES:
        ids = torch.tensor([tokenizer(task.prompt(example))["input_ids"]])
        labels = [tokenizer(f" {label}", add_special_tokens=False)["input_ids"][0] for label in task.answers]
        with torch.inference_mode():
            rows.append(model(input_ids=ids).logits[0, -1, labels].log_softmax(-1))
    return torch.stack(rows)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_padding_and_batching_change_no_answer(model, tokenizer, side, batch_size):
    task = Rca(LABELS)
    expected = one_by_one(model, tokenizer, task)
    with torch.inference_mode():
        for batch in encode_labels(task, LABELS, tokenizer, EXAMPLES, batch_size, padding_side=side):
            assert torch.allclose(label_log_probs(model, batch), expected[list(batch.positions)], atol=1e-5)


def test_batches_hold_every_example_once_sorted_by_length(tokenizer):
    batches = encode_labels(Rca(LABELS), LABELS, tokenizer, EXAMPLES, 4)
    assert sorted(p for b in batches for p in b.positions) == list(range(10))
    lengths = [int(n) for b in batches for n in b.attention_mask.sum(dim=1)]
    assert lengths == sorted(lengths)
    assert sum(b.tokens_in for b in batches) == sum(
        len(tokenizer(Rca(LABELS).prompt(e))["input_ids"]) for e in EXAMPLES
    )


def test_evaluate_agrees_with_one_by_one(model, tokenizer):
    log_probs = one_by_one(model, tokenizer, Rca(LABELS))
    scores = evaluate(model, tokenizer, DATASET, EXAMPLES, batch_size=3)
    for n, example in enumerate(EXAMPLES):
        assert scores.predicted[n] == LABELS[int(log_probs[n].argmax())]
        assert scores.correct[n] == int(scores.predicted[n] == example.label)
        assert scores.nll[n] == pytest.approx(-float(log_probs[n, LABELS.index(example.label)]), abs=1e-4)
    assert scores.accuracy == sum(scores.correct) / 10
    assert scores.mean_nll == pytest.approx(sum(scores.nll) / 10)
    assert 0 <= scores.macro_f1 <= 1


def test_nll_is_normalized_over_the_labels_only(model, tokenizer):
    (batch,) = encode_labels(Rca(LABELS), LABELS, tokenizer, EXAMPLES, 10)
    with torch.inference_mode():
        assert torch.allclose(label_log_probs(model, batch).exp().sum(dim=1), torch.ones(10))


def test_both_architectures_take_padding_in_front(model):
    assert padding_side_of(model) == "left"


def test_without_explicit_positions_padding_goes_behind():
    class Alibi(torch.nn.Module):
        def forward(self, input_ids, attention_mask=None): ...

    assert padding_side_of(Alibi()) == "right"


def test_workload_repeats_itself(model, tokenizer):
    task = rca_for(DATASET, tokenizer)
    work = workload(model, tokenizer, task, EXAMPLES, 4)
    assert work.requests == 4
    middle = sorted(EXAMPLES, key=lambda e: len(task.prompt(e)))[(len(EXAMPLES) - 4) // 2 :][:4]
    assert work.tokens_in == sum(len(tokenizer(task.prompt(e))["input_ids"]) for e in middle)
    assert torch.equal(work(), work())
    assert not work().requires_grad


@pytest.mark.parametrize("batch_size", [0, 11])
def test_workload_of_a_size_that_cannot_be_met(model, tokenizer, batch_size):
    with pytest.raises(TaskError, match="for a batch of"):
        workload(model, tokenizer, Rca(LABELS), EXAMPLES, batch_size)


def test_labels_that_begin_alike_become_letters():
    alike = Dataset("alike", "0" * 64, ("zq one", "zq two"), (), (), ())
    task = rca_for(alike, train_tokenizer(["alder los cause: A or B"], ("A", "B")))
    example = Example("x", "alder los", "zq two")
    assert task.letters
    assert "A) zq one B) zq two" in task.prompt(example)
    assert task.answer(example) == " B"


def test_words_answer_where_they_can(tokenizer):
    task = rca_for(DATASET, tokenizer)
    assert not task.letters
    assert task.name == "rca"
    assert task.answer(EXAMPLES[0]) == " fiber"


def test_labels_that_begin_alike_are_read_to_their_ends_where_letters_are_too_few(model, tokenizer):
    labels = tuple(f"zq {n}" for n in range(27))
    examples = tuple(Example(f"t-{n}", "alder los", labels[n], f"t-{n}") for n in range(3))
    many = Dataset("many", "0" * 64, labels, examples, (), examples)
    task = rca_for(many, tokenizer)
    assert not task.letters
    assert task.answer(examples[1]) == " zq 1"
    scores = evaluate(model, tokenizer, many, examples, 2)
    assert set(scores.predicted) <= set(labels)
    for example, nll in zip(examples, scores.nll, strict=True):
        assert nll == pytest.approx(
            -whole_labels(model, tokenizer, task, example)[labels.index(example.label)], abs=1e-3
        )


def whole_labels(model, tokenizer, task, example):
    """Log-probabilities of all labels, each read to its end after the prompt, normalized over the labels."""
    prompt = tokenizer(task.prompt(example))["input_ids"]
    sums = []
    for label in task.answers:
        rest = tokenizer(f" {label}", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            log_probs = model(input_ids=torch.tensor([prompt + rest])).logits[0].log_softmax(-1)
        sums.append(sum(float(log_probs[len(prompt) - 1 + place, token]) for place, token in enumerate(rest)))
    return torch.tensor(sums).log_softmax(-1).tolist()


@pytest.mark.parametrize("labels", [LABELS, tuple(f"zq {n}" for n in range(27))], ids=["first-token", "whole"])
def test_tickets_that_do_not_fit_are_counted(model, tokenizer, labels):
    long = Example("long", "alder los " * 100, labels[0], "long")
    examples = (long, *(Example(f"t-{n}", "alder los", labels[n], f"t-{n}") for n in range(3)))
    scores = evaluate(model, tokenizer, Dataset("x", "0" * 64, labels, examples, (), examples), examples, 2)
    assert scores.truncated == int(model.config.max_position_embeddings == 64)
    short = evaluate(model, tokenizer, Dataset("x", "0" * 64, labels, examples, (), examples), examples[1:], 2)
    assert short.truncated == 0


def test_letters_that_begin_alike_are_no_way_out():
    """As where a tokenizer knows neither the labels nor the letters: its pieces begin with the same byte."""

    class Spelling:
        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": [7, *text.encode()]}

        def decode(self, ids):
            return "x" * len(ids)

    assert not rca_for(DATASET, Spelling()).letters


def test_one_label_is_no_task(tokenizer):
    with pytest.raises(TaskError, match="at least two"):
        rca_for(Dataset("one", "0" * 64, ("fan",), (), (), ()), tokenizer)


def test_unknown_label_of_an_example(tokenizer):
    with pytest.raises(TaskError, match="does not know: rain"):
        encode_labels(Rca(LABELS), LABELS, tokenizer, [Example("x", "alder", "rain")], 1)


def test_nothing_to_score(model, tokenizer):
    with pytest.raises(TaskError, match="no examples"):
        evaluate(model, tokenizer, DATASET, (), 4)


def test_an_untrained_model_is_about_as_good_as_chance(tokenizer):
    torch.manual_seed(0)
    plain = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2)
    ).eval()
    scores = evaluate(plain, tokenizer, DATASET, EXAMPLES, batch_size=10)
    assert scores.mean_nll == pytest.approx(math.log(3), abs=0.2)
