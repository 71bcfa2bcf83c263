from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.errors import TaskError
from energyaware.examples import Example
from energyaware.tasks.encoding import (
    batches_by_length,
    cut_notes,
    encode_prompt,
    middle_examples,
    pad_rows,
    position_limit,
    prompt_lengths,
    room_for,
)
from energyaware.tasks.response import Response


@given(lengths=st.lists(st.integers(1, 20), min_size=1), size=st.integers(1, 7))
def test_batches_hold_every_index_once_shortest_first(lengths, size):
    batches = list(batches_by_length(lengths, size))
    flat = [index for batch in batches for index in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[index] for index in flat] == sorted(lengths)
    assert max(map(len, batches)) <= size


def test_padding_in_front_and_behind():
    ids, mask = pad_rows([[5], [6, 7]], 9, "left")
    assert ids.tolist() == [[9, 5], [6, 7]]
    assert mask.tolist() == [[0, 1], [1, 1]]
    ids, mask = pad_rows([[5], [6, 7]], 9, "right")
    assert ids.tolist() == [[5, 9], [6, 7]]
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_a_long_prompt_loses_its_beginning_but_not_its_start_token(tokenizer, texts):
    whole, cut = encode_prompt(tokenizer, texts[0])
    assert not cut
    short, cut = encode_prompt(tokenizer, texts[0], 4)
    assert cut
    assert short == [tokenizer.bos_token_id, *whole[-3:]]
    assert encode_prompt(tokenizer, texts[0], len(whole)) == (whole, False)


def test_prompt_lengths_are_those_of_the_whole_prompts(tokenizer, find_short, examples):
    task = find_short("rca")
    expected = [len(tokenizer(task.prompt(example))["input_ids"]) for example in examples]
    assert prompt_lengths(tokenizer, task, examples) == expected
    assert len(set(expected)) > 1


def test_room(model):
    if model.config.is_encoder_decoder:
        assert room_for(model, 10**6) is None
        return
    limit = model.config.max_position_embeddings
    assert room_for(model, 10) == limit - 10
    with pytest.raises(TaskError, match="no room for a prompt"):
        room_for(model, limit)


def test_middle_examples_are_of_middle_length():
    examples = [Example(str(n), "x" * n, "y") for n in (9, 1, 5, 3, 7)]
    assert [len(example.text) for example in middle_examples(Response(), examples, 3)] == [3, 5, 7]
    with pytest.raises(TaskError, match="5 examples for a batch of 6"):
        middle_examples(Response(), examples, 6)


def test_cut_prompts_are_told_in_plain_words():
    model = SimpleNamespace(config=SimpleNamespace(is_encoder_decoder=False, max_position_embeddings=512))
    assert position_limit(model) == 512
    assert cut_notes(model, 0, 400) == ()
    assert cut_notes(model, 37, 400) == ("37 of 400 prompts cut at their beginning to fit the model's 512 positions",)
