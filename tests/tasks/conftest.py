"""A tiny random model of each kind with a tokenizer of its own: two decoders and an encoder-decoder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from energyaware.examples import Dataset, Example
from energyaware.models.tokenizer import train_tokenizer

LABELS = ("fiber", "fan", "clock")


@pytest.fixture(scope="session")
def texts():
    """Ten tickets of four lengths."""
    return [f"noc: alarm {'alder los ' * (1 + n % 4)}then birch ais {n}" for n in range(10)]


@pytest.fixture(scope="session")
def examples(texts):
    """Ten examples that fit every task."""
    return tuple(
        Example(f"t-{n}", text, LABELS[n % 3], f"t-{n}", f"what about {n}?", LABELS) for n, text in enumerate(texts)
    )


@pytest.fixture(scope="session")
def dataset(examples):
    return Dataset("toy", "0" * 64, LABELS, examples, (), examples)


@pytest.fixture(scope="session")
def tokenizer(texts):
    more = ["what about 1? question: answer: response: summary: cause: fiber fan clock"]
    return train_tokenizer([*texts, *more, *more], LABELS)


@pytest.fixture(scope="session")
def find_short(dataset, tokenizer):
    """A function name → task, fitted; answers are written in six tokens at most, to save time."""
    from energyaware.tasks.base import Written, fit_task
    from energyaware.tasks.registry import find_task

    def find(name):
        task = fit_task(find_task(name), dataset, tokenizer)
        if isinstance(task.decoding, Written):
            task = replace(task, decoding=replace(task.decoding, max_new_tokens=6))
        return task

    return find


@pytest.fixture(scope="session", params=["gpt2", "mistral", "t5"])
def model(request, tokenizer):
    """Large initial weights, so that different prompts get different answers."""
    import torch
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        MistralConfig,
        MistralForCausalLM,
        T5Config,
        T5ForConditionalGeneration,
    )

    torch.manual_seed(0)
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    if request.param == "gpt2":
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=96, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3, **tokens
        )
        return GPT2LMHeadModel(config).eval()
    if request.param == "mistral":
        return MistralForCausalLM(
            MistralConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=96,
                initializer_range=0.3,
                **tokens,
            )
        ).eval()
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=32,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            initializer_factor=3.0,
            decoder_start_token_id=0,
            **tokens,
        )
    ).eval()
