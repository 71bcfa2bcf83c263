from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from energyaware.work.storage import stored_tensors, weight_bytes

GPT2_BLOCK_SHAPES = [(192, 64), (64, 64), (256, 64), (64, 256)]  # outputs × inputs
BLOCKS = 2


def quantize(model, folder, **options):
    model.save_pretrained(folder)
    config = BitsAndBytesConfig(**options)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=config).eval()


def other_bytes(model):
    """Embeddings, norms and biases, which stay in fp32."""
    block_weights = BLOCKS * sum(rows * columns for rows, columns in GPT2_BLOCK_SHAPES)
    return 4 * (sum(parameter.numel() for parameter in model.parameters()) - block_weights)


def test_tied_weights_count_once(gpt2):
    vocabulary, hidden, positions = 96, 64, 32
    block = sum(rows * columns + rows for rows, columns in GPT2_BLOCK_SHAPES) + 4 * hidden
    by_hand = 4 * (vocabulary * hidden + positions * hidden + BLOCKS * block + 2 * hidden)
    assert weight_bytes(gpt2) == by_hand


def test_half_precision_is_half_the_bytes(make_model):
    model = make_model()
    full = weight_bytes(model)
    assert 2 * weight_bytes(model.to(torch.bfloat16)) == full


@torch.no_grad()
def test_int8_is_one_byte_per_weight_and_a_scale_per_output(gpt2, ids, tmp_path):
    quantized = quantize(gpt2, tmp_path, load_in_8bit=True)
    by_hand = other_bytes(gpt2) + BLOCKS * sum(rows * columns + 4 * rows for rows, columns in GPT2_BLOCK_SHAPES)
    assert weight_bytes(quantized) == by_hand
    quantized(ids)  # bitsandbytes now moves the statistics to the module's state
    assert weight_bytes(quantized) == by_hand


@torch.no_grad()
def test_nf4_is_half_a_byte_per_weight_and_a_scale_per_block_of_64(gpt2, ids, tmp_path):
    quantized = quantize(gpt2, tmp_path, load_in_4bit=True, bnb_4bit_quant_type="nf4")
    code_book = 16 * 4
    packed = sum(rows * columns // 2 + rows * columns // 64 * 4 + code_book for rows, columns in GPT2_BLOCK_SHAPES)
    assert weight_bytes(quantized) == other_bytes(gpt2) + BLOCKS * packed
    quantized(ids)
    assert weight_bytes(quantized) == other_bytes(gpt2) + BLOCKS * packed


def test_double_quantization_stores_less(make_model, tmp_path):
    model = make_model()
    plain = quantize(model, tmp_path, load_in_4bit=True, bnb_4bit_quant_type="nf4")
    nested = quantize(model, tmp_path, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    scales = [module.weight.quant_state for module in nested.modules() if hasattr(module, "quant_state")]
    assert scales
    assert all(scale.absmax.dtype == torch.uint8 for scale in scales)
    listed = {id(tensor) for tensor in stored_tensors(nested)}
    assert all(id(tensor) in listed for scale in scales for tensor in (scale.absmax, scale.state2.absmax, scale.offset))
    assert sum(scale.absmax.nbytes for scale in scales) * 4 == sum(
        module.weight.quant_state.absmax.nbytes for module in plain.modules() if hasattr(module, "quant_state")
    )


def test_buffers_are_stored_but_are_no_weights(mistral):
    inverse_frequencies = mistral.model.rotary_emb.inv_freq
    assert any(tensor is inverse_frequencies for tensor in stored_tensors(mistral))
    assert weight_bytes(mistral) == 4 * sum(parameter.numel() for parameter in mistral.parameters())


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_every_object_is_listed_once(gpt2, tmp_path, kind):
    options = {"load_in_8bit": True} if kind == "int8" else {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    tensors = stored_tensors(quantize(gpt2, tmp_path, **options))
    assert len({id(tensor) for tensor in tensors}) == len(tensors)
