from __future__ import annotations

import pytest
import torch

from energyaware.errors import TaskError
from energyaware.tasks.base import Written
from energyaware.tasks.encoding import middle_examples
from energyaware.tasks.registry import TASKS
from energyaware.tasks.workload import make_workload
from energyaware.tasks.writing import end_tokens


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_workload_repeats_itself(model, tokenizer, dataset, find_short, name):
    task = find_short(name)
    work = make_workload(model, tokenizer, task, dataset.test, 4)
    first = work()
    assert torch.equal(first, work())
    assert not first.requires_grad
    assert work.requests == 4
    assert (work.tokens_out is None) == (not isinstance(task.decoding, Written))


def test_tokens_of_a_written_answer(model, tokenizer, dataset, find_short):
    task = find_short("response")
    middle = middle_examples(task, dataset.test, 4)
    work = make_workload(model, tokenizer, task, dataset.test, 4)
    assert work.tokens_in == sum(len(tokenizer(task.prompt(example))["input_ids"]) for example in middle)
    ends = end_tokens(model, tokenizer, task.decoding.stop)
    counted = 0
    for row in work().tolist():
        for token in row:
            counted += 1
            if token in ends:
                break
    assert work.tokens_out == counted
    assert 4 <= counted <= 4 * task.decoding.max_new_tokens


def test_a_model_that_ends_early_writes_less(model, tokenizer, dataset, find_short, monkeypatch):
    task = find_short("response")
    free = make_workload(model, tokenizer, task, dataset.test, 4)
    # Whatever it writes first shall be its end of text.
    first = int(free()[0, 0])
    monkeypatch.setattr(model.generation_config, "eos_token_id", first)
    short = make_workload(model, tokenizer, task, dataset.test, 4)
    assert short.tokens_out < free.tokens_out


def test_all_options_are_read_with_their_prompts(model, tokenizer, dataset):
    task = TASKS["choice"]
    (example,) = middle_examples(task, dataset.test, 1)
    work = make_workload(model, tokenizer, task, dataset.test, 1)
    prompt = len(tokenizer(task.prompt(example))["input_ids"])
    options = [len(tokenizer(f" {option}", add_special_tokens=False)["input_ids"]) for option in example.options]
    assert work.tokens_in == 3 * prompt + sum(options)


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_size_that_cannot_be_met(model, tokenizer, dataset, batch_size):
    with pytest.raises(TaskError, match="for a batch of"):
        make_workload(model, tokenizer, TASKS["qa"], dataset.test, batch_size)
