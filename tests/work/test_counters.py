from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from energyaware.errors import ModelError
from energyaware.work.counters import count, flops

BATCH, LENGTH = 2, 5
ROWS = BATCH * LENGTH
HEAD = 2 * ROWS * 64 * 96
# Inputs × outputs of the maps of one block.
GPT2_BLOCK = 64 * 192 + 64 * 64 + 64 * 256 + 256 * 64
MISTRAL_BLOCK = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128


def attention(q_length, kv_length):
    """Two products of 4 heads of dimension 16."""
    return 2 * 2 * BATCH * 4 * q_length * kv_length * 16


def test_gpt2_by_hand(gpt2, ids):
    by_hand = 2 * (2 * ROWS * GPT2_BLOCK + attention(5, 5)) + HEAD
    assert by_hand == 2_114_560
    assert flops(gpt2, lambda: gpt2(ids)) == by_hand


def test_mistral_with_grouped_queries_by_hand(mistral, ids):
    by_hand = 2 * (2 * ROWS * MISTRAL_BLOCK + attention(5, 5)) + HEAD
    assert by_hand == 1_623_040
    assert flops(mistral, lambda: mistral(ids)) == by_hand


def test_one_decoded_token_attends_to_the_whole_cache(mistral, ids):
    cache = mistral(ids, use_cache=True).past_key_values
    counted = flops(mistral, lambda: mistral(ids[:, :1], past_key_values=cache, use_cache=True))
    assert counted == 2 * (2 * BATCH * MISTRAL_BLOCK + attention(1, 6)) + 2 * BATCH * 64 * 96


def test_generation_is_prefill_plus_one_pass_per_further_token(gpt2, ids):
    options = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    counted = flops(gpt2, lambda: gpt2.generate(ids, attention_mask=torch.ones_like(ids), **options))
    # Generation asks for the logits of the last position only.
    head = 2 * BATCH * 64 * 96
    prefill = 2 * (2 * ROWS * GPT2_BLOCK + attention(5, 5)) + head
    decode = sum(2 * (2 * BATCH * GPT2_BLOCK + attention(1, length)) + head for length in (6, 7))
    assert counted == prefill + decode


def test_eager_attention_counts_the_same(make_model, ids):
    model = make_model()
    sdpa = flops(model, lambda: model(ids))
    model.set_attn_implementation("eager")
    assert flops(model, lambda: model(ids)) == sdpa


def test_counting_twice_gives_the_same_and_leaves_no_hooks(make_model, ids):
    model = make_model()
    first = count(model, lambda: model(ids))
    assert count(model, lambda: model(ids)) == first
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_removed_after_an_error(gpt2):
    def fail():
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        flops(gpt2, fail)
    assert not any(module._forward_hooks for module in gpt2.modules())


@pytest.mark.parametrize(
    "config",
    [
        BitsAndBytesConfig(load_in_8bit=True),
        BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0),
        BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    ],
    ids=["int8", "int8-fast", "nf4"],
)
def test_precision_plays_no_part(make_model, ids, tmp_path, config):
    model = make_model()
    model.save_pretrained(tmp_path)
    quantized = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, quantization_config=config).eval()
    assert flops(quantized, lambda: quantized(ids)) == flops(model, lambda: model(ids))
    model.to(torch.bfloat16)
    assert flops(quantized, lambda: quantized(ids)) == flops(model, lambda: model(ids))


def test_half_the_blocks_are_half_the_block_operations(make_model, ids):
    deep, shallow = make_model(4), make_model(2)
    deep_flops, shallow_flops = flops(deep, lambda: deep(ids)), flops(shallow, lambda: shallow(ids))
    assert deep_flops - HEAD == 2 * (shallow_flops - HEAD)


def test_zeroed_weights_count_in_full(gpt2, ids):
    dense = flops(gpt2, lambda: gpt2(ids))
    with torch.no_grad():
        gpt2.transformer.h[0].mlp.c_fc.weight.zero_()
    assert flops(gpt2, lambda: gpt2(ids)) == dense


def test_work_says_nothing_about_tokens(gpt2, ids):
    work = count(gpt2, lambda: gpt2(ids))
    assert work.flops == 2_114_560
    assert work.weight_bytes == 4 * sum(parameter.numel() for parameter in gpt2.parameters())
    assert (work.tokens_in, work.tokens_out, work.requests) == (None, None, None)


def test_attention_that_cannot_be_seen_is_refused(gpt2, ids):
    gpt2.config._attn_implementation_internal = "flash_attention_2"
    with pytest.raises(ModelError, match="flash_attention_2"):
        flops(gpt2, lambda: gpt2(ids))
