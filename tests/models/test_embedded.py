from __future__ import annotations

import pytest
import torch

from energyaware.errors import ModelError
from energyaware.models.catalogue import ModelSpec, find
from energyaware.models.embedded import build

TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("name", "kind", "hidden", "layers"),
    [
        ("tiny-gpt2", "GPT2LMHeadModel", 256, 4),
        ("tiny-mistral", "MistralForCausalLM", 256, 4),
        ("mini-gpt2", "GPT2LMHeadModel", 512, 6),
        ("mini-mistral", "MistralForCausalLM", 512, 6),
    ],
)
def test_shapes(name, kind, hidden, layers):
    model = build(find(name), 300, **TOKENS)
    assert type(model).__name__ == kind
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (hidden, layers)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model.dtype == torch.float32


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (build(find("tiny-gpt2"), 300, **TOKENS, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.transformer.wte.weight, other.transformer.wte.weight)


@pytest.mark.parametrize("spec", [ModelSpec("x", "gpt2", "huge"), ModelSpec("x", "t5", "mini")])
def test_what_is_not_built_here_is_refused(spec):
    with pytest.raises(ModelError, match="there is no embedded model"):
        build(spec, 300, **TOKENS)


def test_a_hub_model_is_not_built_here():
    with pytest.raises(ModelError, match="not an embedded model"):
        build(find("gpt2"), 300, **TOKENS)
