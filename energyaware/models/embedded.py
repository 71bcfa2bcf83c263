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


@dataclass(frozen=True, slots=True)
class Shape:
    """Width and depth. Heads are 64 wide, the smallest that fused attention kernels like."""

    hidden: int
    layers: int

    @property
    def heads(self) -> int:
        """Attention heads."""
        return max(1, self.hidden // 64)


SHAPES: MappingProxyType[str, Shape] = MappingProxyType({"tiny": Shape(256, 4), "mini": Shape(512, 6)})


def build(
    spec: ModelSpec, vocab_size: int, *, bos_token_id: int, eos_token_id: int, pad_token_id: int, seed: int = 0
) -> Any:
    """An untrained model with seeded weights, tied embeddings and no dropout, in fp32.

    Returns:
        a `transformers.PreTrainedModel` for causal language modelling.

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


def _mistral(shape: Shape, vocab_size: int, tokens: dict[str, int]) -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(
        MistralConfig(
            vocab_size=vocab_size,
            hidden_size=shape.hidden,
            # Three matrices of 8/3 × hidden cost what two of 4 × hidden do; multiples of 128 suit every kernel.
            intermediate_size=-(-shape.hidden * 8 // 3 // 128) * 128,
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


_FAMILIES: MappingProxyType[str, Callable[[Shape, int, dict[str, int]], Any]] = MappingProxyType(
    {"gpt2": _gpt2, "mistral": _mistral}
)
