"""The embedded models: real architectures of transformers, small enough to be trained here in minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from energyaware.errors import ModelError
from energyaware.models.catalogue import ModelSpec

MAX_TOKENS = 512
"""Longest sequence that an embedded model can read."""


EMBEDDING_DEVIATION = 0.02
"""Standard deviation of untrained embeddings, in every architecture."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Width and depth. Heads are 64 wide, the smallest that fused attention kernels like."""

    hidden: int
    layers: int

    @property
    def heads(self) -> int:
        """Attention heads."""
        return max(1, self.hidden // 64)


SHAPES: MappingProxyType[str, Shape] = MappingProxyType(
    {"nano": Shape(128, 3), "tiny": Shape(256, 4), "mini": Shape(512, 6), "base": Shape(640, 8)}
)
"""All widths are multiples of 64, as the 4-bit kernels of bitsandbytes demand. An encoder-decoder has half of the
layers in its encoder and half in its decoder, whose layers are larger by their cross-attention.
"""


def build(
    spec: ModelSpec, vocab_size: int, *, bos_token_id: int, eos_token_id: int, pad_token_id: int, seed: int = 0
) -> Any:
    """An untrained model with seeded weights, tied embeddings and no dropout, in fp32.

    Returns:
        a `transformers.PreTrainedModel`: a causal language model, or for T5 a conditional one.

    Raises:
        ModelError: `spec` is not an embedded model, or of a family or size that is not built here.
    """
    if not spec.embedded:
        raise ModelError(f"{spec.name} is not an embedded model", "load it with energyaware.models.loading")
    if spec.family not in _FAMILIES or spec.size not in SHAPES:
        raise ModelError(
            f"there is no embedded model of family {spec.family!r} and size {spec.size!r}",
            f"families: {', '.join(_FAMILIES)}; sizes: {', '.join(SHAPES)}",
        )
    tokens = {"bos_token_id": bos_token_id, "eos_token_id": eos_token_id, "pad_token_id": pad_token_id}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _FAMILIES[spec.family](SHAPES[spec.size], vocab_size, tokens)


def _gpt2(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocab_size,
            n_positions=MAX_TOKENS,
            n_embd=shape.hidden,
            n_layer=shape.layers,
            n_head=shape.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **tokens,
        )
    )


def _gpt_neo(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    # Global and local attention take turns; the window is an eighth of the longest sequence, both as in GPT-Neo-2.7B.
    pairs = [[["global", "local"], shape.layers // 2]]
    return GPTNeoForCausalLM(
        GPTNeoConfig(
            vocab_size=vocab_size,
            max_position_embeddings=MAX_TOKENS,
            hidden_size=shape.hidden,
            num_layers=shape.layers,
            num_heads=shape.heads,
            attention_types=pairs if shape.layers % 2 == 0 else [*pairs, [["global"], 1]],
            window_size=MAX_TOKENS // 8,
            resid_dropout=0.0,
            embed_dropout=0.0,
            attention_dropout=0.0,
            **tokens,
        )
    )


def _gpt_j(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import GPTJConfig, GPTJForCausalLM

    return GPTJForCausalLM(
        GPTJConfig(
            vocab_size=vocab_size,
            n_positions=MAX_TOKENS,
            n_embd=shape.hidden,
            n_layer=shape.layers,
            n_head=shape.heads,
            # A quarter of each head is rotated, as in GPT-J-6B (64 of 256).
            rotary_dim=16,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            # Untied in GPT-J-6B: a second table of rare words learns too slowly from a small corpus.
            tie_word_embeddings=True,
            **tokens,
        )
    )


def _falcon(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import FalconConfig, FalconForCausalLM

    return FalconForCausalLM(
        FalconConfig(
            vocab_size=vocab_size,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=MAX_TOKENS,
            # As Falcon-7B: one key and value for all heads, attention beside the feed-forward part, rotary, no biases.
            new_decoder_architecture=False,
            multi_query=True,
            parallel_attn=True,
            alibi=False,
            bias=False,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            **tokens,
        )
    )


def _mistral(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(
        MistralConfig(
            vocab_size=vocab_size,
            hidden_size=shape.hidden,
            intermediate_size=_gated_width(shape),
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=max(1, shape.heads // 2),
            max_position_embeddings=MAX_TOKENS,
            sliding_window=None,
            attention_dropout=0.0,
            tie_word_embeddings=True,
            **tokens,
        )
    )


def _llama(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=shape.hidden,
            intermediate_size=_gated_width(shape),
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            # Four heads share a key and value, as in Llama-3.2-1B.
            num_key_value_heads=max(1, shape.heads // 4),
            max_position_embeddings=MAX_TOKENS,
            attention_dropout=0.0,
            tie_word_embeddings=True,
            **tokens,
        )
    )


def _t5(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=vocab_size,
            d_model=shape.hidden,
            d_kv=shape.hidden // shape.heads,
            d_ff=4 * shape.hidden,
            num_layers=max(1, shape.layers // 2),
            num_heads=shape.heads,
            dropout_rate=0.0,
            # The decoder begins with the padding token, as in every T5.
            decoder_start_token_id=tokens["pad_token_id"],
            **tokens,
        )
    )
    with torch.no_grad():
        # T5 draws embeddings of standard deviation 1, which hundreds of steps of Adam would hardly move, and its head
        # divides by the root of the width. Here both begin as in the decoders: small embeddings, logits undivided.
        model.shared.weight.mul_(EMBEDDING_DEVIATION)
        model.decoder.final_layer_norm.weight.fill_(shape.hidden**0.5)
    return model


def _gated_width(shape: Shape) -> int:
    """Three matrices of 8/3 × hidden cost what two of 4 × hidden do; multiples of 128 suit every kernel."""
    return -(-shape.hidden * 8 // 3 // 128) * 128


_FAMILIES: MappingProxyType[str, Callable[[Shape, int, dict[str, int]], Any]] = MappingProxyType(
    {
        "gpt2": _gpt2,
        "gpt-neo": _gpt_neo,
        "gpt-j": _gpt_j,
        "falcon": _falcon,
        "mistral": _mistral,
        "t5": _t5,
        "llama": _llama,
    }
)
