"""What is metered of a task: one batch of examples of middle length, answered at its natural length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from energyaware.tasks.base import Task, Workload, Written
from energyaware.tasks.encoding import device_of, middle_examples, padding_side_of, room_for
from energyaware.tasks.evaluation import options_of
from energyaware.tasks.labels import distinct_tokens, encode_labels, label_log_probs
from energyaware.tasks.likelihood import answer_bits, encode_pairs
from energyaware.tasks.writing import encode_prompts, write, written_lengths

if TYPE_CHECKING:
    from energyaware.examples import Example


def make_workload(model: Any, tokenizer: Any, task: Task, examples: Sequence[Example], batch_size: int) -> Workload:
    """Answer `batch_size` examples of middle length, encoded beforehand.

    A written answer is generated until end of text, so its length is the model's own; it is written once here, to
    count its tokens. Among fixed labels one forward pass chooses. Among each example's own options, all of them are
    read in one forward pass, each with its prompt, and count into `tokens_in`.

    Args:
        task: fitted to the dataset and the tokenizer, see `energyaware.tasks.base.fit_task`.

    Raises:
        TaskError: fewer examples than `batch_size`, or one that does not fit the task or the model.
    """
    middle = middle_examples(task, examples, batch_size)
    decoding = task.decoding
    if isinstance(decoding, Written):
        prompts = [task.prompt(example) for example in middle]
        (batch,) = encode_prompts(model, tokenizer, prompts, decoding, batch_size)

        def generate() -> torch.Tensor:
            return write(model, batch)

        tokens_out = sum(written_lengths(generate(), batch.ends))
        return Workload(generate, requests=batch_size, tokens_in=batch.tokens_in, tokens_out=tokens_out)
    if decoding.labels and distinct_tokens(decoding.labels, tokenizer) is not None:
        (labelled,) = encode_labels(
            task,
            decoding.labels,
            tokenizer,
            middle,
            batch_size,
            padding_side=padding_side_of(model),
            room=room_for(model, 0),
        )
        labelled = labelled.to(device_of(model))

        def choose_label() -> torch.Tensor:
            with torch.inference_mode():
                return label_log_probs(model, labelled)

        return Workload(choose_label, requests=batch_size, tokens_in=labelled.tokens_in)
    pairs = [(task.prompt(example), f" {option}") for example in middle for option in options_of(task, example)]
    (all_pairs,) = encode_pairs(model, tokenizer, pairs, len(pairs))

    def read_options() -> torch.Tensor:
        with torch.inference_mode():
            return answer_bits(model, all_pairs)

    return Workload(read_options, requests=batch_size, tokens_in=all_pairs.tokens_in)
