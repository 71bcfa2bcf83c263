"""Tiny random models of the seven architectures of the catalogue: hidden size 64, two blocks, four heads."""

from __future__ import annotations

import pytest

ARCHITECTURES = ("gpt2", "gpt-neo", "gpt-j", "falcon", "mistral", "llama", "t5")
TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def tiny_model(architecture: str, layers: int = 2):
    import torch
    import transformers as hf

    decoder = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": layers, "num_attention_heads": 4, **TOKENS}
    gated = {"intermediate_size": 128, "num_key_value_heads": 2, "max_position_embeddings": 64}
    torch.manual_seed(0)
    match architecture:
        case "gpt2":
            config = hf.GPT2Config(vocab_size=96, n_embd=64, n_layer=layers, n_head=4, n_positions=64, **TOKENS)
            return hf.GPT2LMHeadModel(config).eval()
        case "gpt-neo":
            kinds = [[["global", "local"], layers // 2]] + ([[["global"], 1]] if layers % 2 else [])
            config = hf.GPTNeoConfig(
                vocab_size=96,
                hidden_size=64,
                num_layers=layers,
                num_heads=4,
                attention_types=kinds,
                window_size=4,
                max_position_embeddings=64,
                **TOKENS,
            )
            return hf.GPTNeoForCausalLM(config).eval()
        case "gpt-j":
            config = hf.GPTJConfig(
                vocab_size=96, n_embd=64, n_layer=layers, n_head=4, n_positions=64, rotary_dim=8, **TOKENS
            )
            return hf.GPTJForCausalLM(config).eval()
        case "falcon":
            return hf.FalconForCausalLM(hf.FalconConfig(**decoder)).eval()
        case "mistral":
            return hf.MistralForCausalLM(hf.MistralConfig(**decoder, **gated, sliding_window=None)).eval()
        case "llama":
            return hf.LlamaForCausalLM(hf.LlamaConfig(**decoder, **gated)).eval()
    config = hf.T5Config(
        vocab_size=96, d_model=64, d_kv=16, d_ff=128, num_layers=layers, num_heads=4, dropout_rate=0.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return hf.T5ForConditionalGeneration(config).eval()


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture
def build():
    """A function (architecture, layers=2) → model."""
    return tiny_model


@pytest.fixture
def calibration():
    """Two batches of two rows of 24 tokens."""
    import torch

    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randint(0, 96, (2, 24), generator=generator) for _ in range(2))
