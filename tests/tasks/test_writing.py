from __future__ import annotations

import pytest
import torch

from energyaware.errors import TaskError
from energyaware.tasks.base import Written
from energyaware.tasks.writing import answer_texts, encode_prompts, end_tokens, write, write_all, written_lengths

DECODING = Written(6)


def by_hand(model, tokenizer, text):
    """Greedy decoding of one prompt without cache, batch or `generate`."""
    prompt = torch.tensor([tokenizer(text)["input_ids"]])
    ends = end_tokens(model, tokenizer, "\n")
    encoder_decoder = model.config.is_encoder_decoder
    tokens = [model.config.decoder_start_token_id] if encoder_decoder else prompt[0].tolist()
    start = len(tokens)
    with torch.inference_mode():
        for _ in range(DECODING.max_new_tokens):
            ids = torch.tensor([tokens])
            output = model(input_ids=prompt, decoder_input_ids=ids) if encoder_decoder else model(input_ids=ids)
            tokens.append(int(output.logits[0, -1].argmax()))
            if tokens[-1] in ends:
                break
    return tokens[start:]


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_batches_write_what_each_prompt_gets_alone(model, tokenizer, texts, batch_size):
    expected = [by_hand(model, tokenizer, text) for text in texts]
    assert len({tuple(row) for row in expected}) > 1
    for batch in encode_prompts(model, tokenizer, texts, DECODING, batch_size):
        tokens = write(model, batch)
        for row, length, position in zip(
            tokens.tolist(), written_lengths(tokens, batch.ends), batch.positions, strict=True
        ):
            assert row[:length] == expected[position]


def test_answers_come_in_the_order_of_the_prompts(model, tokenizer, texts):
    answers, truncated = write_all(model, tokenizer, texts, DECODING, 3)
    assert truncated == 0
    for text, answer in zip(texts, answers, strict=True):
        tokens = torch.tensor([by_hand(model, tokenizer, text)])
        assert answer == answer_texts(tokenizer, tokens, end_tokens(model, tokenizer, "\n"), "\n")[0]


def test_the_length_of_an_answer_includes_its_end_and_no_padding():
    tokens = torch.tensor([[5, 6, 2, 0, 0], [2, 0, 0, 0, 0], [5, 5, 5, 5, 5], [5, 6, 2, 2, 2]])
    assert written_lengths(tokens, (2,)) == [3, 1, 5, 3]


def test_an_answer_ends_before_stop(tokenizer):
    ids = tokenizer(" alarm fan\nclock", add_special_tokens=False)["input_ids"]
    row = torch.tensor([[*ids, tokenizer.eos_token_id, *ids]])
    ends = (tokenizer.eos_token_id,)
    assert answer_texts(tokenizer, row, ends, "\n") == ["alarm fan"]
    assert answer_texts(tokenizer, row, ends, "") == ["alarm fan\nclock"]


def test_a_stop_of_one_token_ends_writing(model, tokenizer):
    (line_end,) = tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert set(end_tokens(model, tokenizer, "\n")) == {tokenizer.eos_token_id, line_end}
    assert end_tokens(model, tokenizer, "") == (tokenizer.eos_token_id,)


def test_prompts_too_long_are_cut_and_counted(model, tokenizer, texts):
    answers, truncated = write_all(model, tokenizer, [*texts, "alder los " * 100], DECODING, 4)
    assert len(answers) == 11
    assert truncated == int(not model.config.is_encoder_decoder)


def test_answers_that_leave_no_room(model, tokenizer, texts):
    if model.config.is_encoder_decoder:
        pytest.skip("its positions have no end")
    with pytest.raises(TaskError, match="no room"):
        encode_prompts(model, tokenizer, texts, Written(10**6), 2)
