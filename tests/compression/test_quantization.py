from __future__ import annotations

import logging

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconConfig, FalconForCausalLM

from energyaware.compression.linear import linear_maps
from energyaware.compression.quantization import (
    kernel_dtype,
    quantization_config,
    quantized_as,
    require_quantized,
    silence_cast_warning,
    unpack_misfits,
)
from energyaware.errors import CompressionError


def quantize(model, folder, precision, **options):
    model.save_pretrained(folder)
    config = quantization_config(precision, **options)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=config).eval()


@pytest.mark.parametrize("precision", ["int8", "nf4", "fp4"])
@torch.no_grad()
def test_every_linear_map_of_the_blocks_is_quantized_and_computes_about_the_same(make_model, ids, tmp_path, precision):
    model = make_model()
    quantized = quantize(model, tmp_path, precision)
    require_quantized(quantized, precision)
    assert {quantized_as(linear_map.module) for linear_map in linear_maps(quantized)} == {precision}
    assert quantized_as(quantized.lm_head) is None
    assert quantized.lm_head.weight is quantized.get_input_embeddings().weight
    expected = model(ids).logits
    error = (quantized(ids).logits - expected).norm() / expected.norm()
    assert 0 < error < {"int8": 0.03, "nf4": 0.2, "fp4": 0.3}[precision]


def test_model_that_is_not_quantized_is_refused_with_names(mistral):
    with pytest.raises(CompressionError, match=r"14 modules.*model\.layers\.0\.self_attn\.q_proj \(Linear\).*10 more"):
        require_quantized(mistral, "int8")


def test_modules_that_bitsandbytes_skips_are_named(tmp_path):
    falcon = FalconForCausalLM(FalconConfig(vocab_size=96, hidden_size=64, num_hidden_layers=2, num_attention_heads=4))
    quantized = quantize(falcon, tmp_path, "int8")
    assert quantized.is_loaded_in_8bit
    with pytest.raises(CompressionError, match="FalconLinear"):
        require_quantized(quantized, "int8")


def test_one_precision_is_not_taken_for_another(mistral, tmp_path):
    quantized = quantize(mistral, tmp_path, "fp4")
    with pytest.raises(CompressionError, match="without nf4"):
        require_quantized(quantized, "nf4")


def test_threshold_reaches_the_modules(mistral, tmp_path):
    assert linear_maps(quantize(mistral, tmp_path, "int8"))[0].module.state.threshold == 6.0
    assert linear_maps(quantize(mistral, tmp_path, "int8", int8_threshold=0))[0].module.state.threshold == 0.0


def test_double_quantization_reaches_the_scales(mistral, tmp_path):
    assert not linear_maps(quantize(mistral, tmp_path, "nf4"))[0].module.weight.quant_state.nested
    assert linear_maps(quantize(mistral, tmp_path, "nf4", double_quant=True))[0].module.weight.quant_state.nested


@pytest.mark.parametrize("threshold", [-1.0, float("nan")])
def test_bad_threshold_is_refused(threshold):
    with pytest.raises(CompressionError, match="threshold"):
        quantization_config("int8", int8_threshold=threshold)


def test_unknown_precision_is_refused():
    with pytest.raises(CompressionError, match="int8, nf4, fp4"):
        quantization_config("int3")


def test_kernel_dtype_of_int8_follows_the_integer_kernels(mistral, tmp_path, monkeypatch):
    quantized = quantize(mistral, tmp_path, "int8")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert kernel_dtype(quantized) == "int8"
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert kernel_dtype(quantized) == "fp32"


def test_kernel_dtype_of_nf4_is_bf16_where_the_cpu_packs(mistral, tmp_path):
    quantized = quantize(mistral, tmp_path, "nf4")
    maps = linear_maps(quantized)
    for linear_map in maps:
        linear_map.module.support_avx512bf16_for_cpu = False
    assert kernel_dtype(quantized) == "fp32"
    for linear_map in maps:
        linear_map.module.support_avx512bf16_for_cpu = True
    assert kernel_dtype(quantized) == "bf16"
    maps[0].module.support_avx512bf16_for_cpu = False
    assert kernel_dtype(quantized) == "bf16+fp32"


def test_kernel_dtype_is_none_where_nothing_is_quantized(mistral):
    assert kernel_dtype(mistral) is None


def test_packing_is_switched_off_only_where_it_would_crash(gpt2, tmp_path):
    config = gpt2.config
    config.n_inner = 100
    model = type(gpt2)(config)
    quantized = quantize(model, tmp_path, "nf4")
    for linear_map in linear_maps(quantized):
        linear_map.module.support_avx512bf16_for_cpu = True
    misfits = [f"transformer.h.{block}.mlp.{name}" for block in range(2) for name in ("c_fc", "c_proj")]
    assert list(unpack_misfits(quantized)) == misfits
    assert unpack_misfits(quantized) == ()


@torch.no_grad()
def test_widths_that_are_no_multiple_of_a_block_compute_about_the_same(gpt2, tmp_path, ids):
    gpt2.config.n_inner = 100
    model = type(gpt2)(gpt2.config).eval()
    quantized = quantize(model, tmp_path, "nf4")
    unpack_misfits(quantized)
    expected = model(ids).logits
    assert (quantized(ids).logits - expected).norm() < 0.2 * expected.norm()


@torch.no_grad()
def test_int8_calls_log_nothing_once_silenced(mistral, tmp_path, ids, caplog):
    quantized = quantize(mistral, tmp_path, "int8")
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    level = logger.level
    try:
        logger.setLevel(logging.WARNING)
        quantized(ids)
        assert "will be cast" in caplog.text
        caplog.clear()
        silence_cast_warning()
        quantized(ids)
        assert caplog.text == ""
    finally:
        logger.setLevel(level)
