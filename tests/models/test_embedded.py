from __future__ import annotations

import pytest
import torch

from energyaware.errors import ModelError
from energyaware.models.catalogue import CATALOGUE, ModelSpec, find
from energyaware.models.embedded import build

TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "gpt-neo": "GPTNeoForCausalLM",
    "gpt-j": "GPTJForCausalLM",
    "falcon": "FalconForCausalLM",
    "mistral": "MistralForCausalLM",
    "t5": "T5ForConditionalGeneration",
    "llama": "LlamaForCausalLM",
}
TINY = [spec.name for spec in CATALOGUE.values() if spec.embedded and spec.size == "tiny"]


@pytest.mark.parametrize(
    ("name", "hidden", "layers"),
    [
        ("nano-gpt2", 128, 3),
        ("tiny-gpt2", 256, 4),
        ("tiny-gpt-neo", 256, 4),
        ("tiny-gpt-j", 256, 4),
        ("tiny-falcon", 256, 4),
        ("tiny-mistral", 256, 4),
        ("tiny-llama", 256, 4),
        ("tiny-t5", 256, 2),  # and as many in the decoder
        ("mini-gpt2", 512, 6),
        ("mini-mistral", 512, 6),
        ("mini-t5", 512, 3),
    ],
)
def test_shapes(name, hidden, layers):
    model = build(find(name), 300, **TOKENS)
    assert type(model).__name__ == CLASSES[find(name).family]
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (hidden, layers)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(name for name, spec in CATALOGUE.items() if spec.embedded))
def test_the_4_bit_kernels_take_every_width(name):
    with torch.device("meta"):
        model = build(find(name), 320, **TOKENS)
    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    for path, parameter in model.named_parameters():
        if parameter.ndim == 2 and id(parameter) not in tables:
            assert all(width % 64 == 0 for width in parameter.shape), path


@pytest.mark.parametrize("name", TINY)
def test_nothing_is_dropped_out(name):
    model = build(find(name), 300, **TOKENS).train()
    inputs = {"input_ids": torch.arange(3, 15).view(1, 12)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[0, 5, 6]])
    assert torch.equal(model(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_learns(name):
    model = build(find(name), 300, **TOKENS)
    inputs = {"input_ids": torch.arange(3, 15).view(1, 12), "labels": torch.arange(20, 32).view(1, 12)}
    model(**inputs).loss.backward()
    silent = {path for path, parameter in model.named_parameters() if parameter.grad is None}
    assert not silent


def test_gpt_neo_looks_far_and_near_in_turns():
    model = build(find("mini-gpt-neo"), 300, **TOKENS)
    assert [block.attn.attention_type for block in model.transformer.h] == ["global", "local"] * 3
    assert model.config.window_size < model.config.max_position_embeddings


def test_falcon_shares_one_key_and_value_as_falcon_7b_does():
    model = build(find("tiny-falcon"), 300, **TOKENS)
    assert model.transformer.h[0].self_attention.query_key_value.out_features == 256 + 2 * 64
    assert model.config.rotary
    assert model.config.parallel_attn


def test_t5_starts_its_decoder_with_padding():
    model = build(find("tiny-t5"), 300, **TOKENS)
    assert model.generation_config.decoder_start_token_id == TOKENS["pad_token_id"]


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-t5"])
def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (build(find(name), 300, **TOKENS, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.get_input_embeddings().weight, other.get_input_embeddings().weight)


@pytest.mark.parametrize("spec", [ModelSpec("x", "gpt2", "huge"), ModelSpec("x", "bert", "mini")])
def test_what_is_not_built_here_is_refused(spec):
    with pytest.raises(ModelError, match="there is no embedded model"):
        build(spec, 300, **TOKENS)


def test_a_hub_model_is_not_built_here():
    with pytest.raises(ModelError, match="not an embedded model"):
        build(find("gpt2"), 300, **TOKENS)
