from __future__ import annotations

import math

import pytest
import torch

from energyaware.errors import TaskError
from energyaware.tasks.likelihood import AnswerLikelihood, encode_pairs, likelihoods


def by_hand(model, tokenizer, prompt, answer):
    """−log2 of the answer's probability, one forward pass per token, nothing padded."""
    read = tokenizer(prompt)["input_ids"]
    start = [model.config.decoder_start_token_id] if model.config.is_encoder_decoder else read
    bits, tokens = 0.0, list(start)
    with torch.inference_mode():
        for token in tokenizer(answer, add_special_tokens=False)["input_ids"]:
            if model.config.is_encoder_decoder:
                output = model(input_ids=torch.tensor([read]), decoder_input_ids=torch.tensor([tokens]))
            else:
                output = model(input_ids=torch.tensor([tokens]))
            bits -= float(output.logits[0, -1].log_softmax(-1)[token]) / math.log(2)
            tokens.append(token)
    return bits


@pytest.mark.parametrize("batch_size", [1, 3, 6])
def test_every_answer_is_as_likely_as_token_by_token(model, tokenizer, texts, batch_size):
    pairs = [(text, " fan at alder" * (1 + n % 3)) for n, text in enumerate(texts[:6])]
    found, truncated = likelihoods(model, tokenizer, pairs, batch_size)
    assert truncated == 0
    for (prompt, answer), item in zip(pairs, found, strict=True):
        assert item.bits == pytest.approx(by_hand(model, tokenizer, prompt, answer), rel=1e-4)
        assert item.tokens == len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        assert item.size_bytes == len(answer)


def test_padding_behind_where_a_model_takes_no_positions(model, tokenizer, texts, monkeypatch):
    pairs = [(text, " fan at alder") for text in texts[:4]]
    expected, _ = likelihoods(model, tokenizer, pairs, 4)
    monkeypatch.setattr("energyaware.tasks.likelihood.padding_side_of", lambda _: "right")
    found, _ = likelihoods(model, tokenizer, pairs, 4)
    assert [item.bits for item in found] == pytest.approx([item.bits for item in expected], rel=1e-4)


def test_bits_per_byte_and_score_by_hand():
    item = AnswerLikelihood(bits=12.0, tokens=3, size_bytes=6)
    assert item.bits_per_byte == 2.0
    assert item.score == 0.25
    assert AnswerLikelihood(math.inf, 1, 4).score == 0.0


def test_bytes_are_counted_in_utf8(model, tokenizer):
    (item,), _ = likelihoods(model, tokenizer, [("x", " größe")], 1)
    assert item.size_bytes == 8


def test_an_answer_without_tokens(model, tokenizer):
    with pytest.raises(TaskError, match="no token"):
        encode_pairs(model, tokenizer, [("x", "")], 1)


def test_logits_that_are_not_finite_score_nothing(tokenizer, model):
    import copy

    broken = copy.deepcopy(model)
    for parameter in broken.parameters():
        parameter.data.fill_(float("nan"))
    (item,), _ = likelihoods(broken, tokenizer, [("x", " fan")], 1)
    assert item.bits == math.inf
    assert item.score == 0.0


def test_tokens_read_count_prompt_and_answer(model, tokenizer):
    pairs = [("noc: alarm", " fan"), ("noc: alarm alder los", " fan at alder")]
    (batch,) = encode_pairs(model, tokenizer, pairs, 2)
    real = sum(
        len(tokenizer(prompt)["input_ids"]) + len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        for prompt, answer in pairs
    )
    assert batch.tokens_in == real
