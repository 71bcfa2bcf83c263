from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from energyaware.compression.calibration import model_inputs
from energyaware.compression.linear import linear_maps, quantized_as
from energyaware.compression.quantization import SCHEMES, kernel_dtype, silence_cast_warning
from energyaware.compression.quantize import quantize
from energyaware.errors import CompressionError

LARGEST_ERROR = {"int8": 0.03, "nf4": 0.2, "fp4": 0.35}


@torch.no_grad()
def logits_of(model, ids):
    return model(**model_inputs(model, ids)).logits


@pytest.mark.parametrize("precision", SCHEMES)
def test_every_map_of_every_architecture_is_quantized_and_computes_about_the_same(build, architecture, precision, ids):
    pytest.importorskip("torchao" if SCHEMES[precision].library == "torchao" else "bitsandbytes")
    silence_cast_warning()
    model = build(architecture)
    stored = SCHEMES[precision].stored
    expected = logits_of(model, ids)
    quantize(model, precision)
    assert {quantized_as(linear_map.module) for linear_map in linear_maps(model)} == {stored}
    for _ in range(2):  # bitsandbytes may repack weights at the first call
        error = (logits_of(model, ids) - expected).norm() / expected.norm()
        assert 0 < error < LARGEST_ERROR[stored]
    head = model.get_output_embeddings()
    assert quantized_as(head) is None
    if model.config.tie_word_embeddings:
        assert head.weight is model.get_input_embeddings().weight


def test_modules_that_libraries_skip_are_converted_and_named(build):
    assert len(quantize(build("falcon"), "nf4")) == 8
    assert len(quantize(build("gpt2"), "int8")) == 8
    assert quantize(build("mistral"), "int8") == ()


@pytest.mark.parametrize("precision", ["int8", "nf4", "fp4"])
def test_the_same_as_from_pretrained_where_that_works(make_model, ids, tmp_path, precision):
    from energyaware.compression.quantization import quantization_config

    model = make_model()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, quantization_config=quantization_config(precision)
    )
    quantize(model, precision)
    assert torch.equal(logits_of(model, ids), logits_of(loaded.eval(), ids))


@pytest.mark.parametrize("precision", ["int8", "nf4", "nf4dq"])
@pytest.mark.parametrize("name", ["gpt2", "gpt-neo", "gpt-j", "mistral", "llama"])
def test_from_pretrained_reads_what_was_quantized_here(build, ids, tmp_path, precision, name):
    model = build(name)
    quantize(model, precision)
    expected = logits_of(model, ids)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert {quantized_as(linear_map.module) for linear_map in linear_maps(loaded)} == {SCHEMES[precision].stored}
    assert torch.equal(logits_of(loaded, ids), expected)


def test_threshold_and_double_quantization_reach_the_modules(build):
    def first(precision, **options):
        model = build("mistral")
        quantize(model, precision, **options)
        return linear_maps(model)[0].module

    assert first("int8").state.threshold == 6.0
    assert first("int8fast").state.threshold == 0.0
    assert first("int8", int8_threshold=3.5).state.threshold == 3.5
    assert not first("nf4").weight.quant_state.nested
    assert first("nf4dq").weight.quant_state.nested
    assert first("fp4", double_quant=True).weight.quant_state.nested


def test_compute_dtype_reaches_everything_else(build):
    model = build("llama")
    quantize(model, "nf4", compute_dtype=torch.bfloat16)
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert linear_maps(model)[0].module.compute_dtype == torch.bfloat16


def test_kernel_dtype_of_torchao(build):
    pytest.importorskip("torchao")
    weight_only, dynamic = build("gpt2"), build("gpt2")
    quantize(weight_only, "int8wo")
    quantize(dynamic, "int8dyn")
    assert (kernel_dtype(weight_only), kernel_dtype(dynamic)) == ("fp32", "int8")


def test_codes_of_t5s_wo_stay_in_a_dtype_that_its_code_can_cast_to(build, ids, monkeypatch):
    """T5 casts activations to the dtype of `wo`; on a CPU that packs 4-bit weights they must not become bytes."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    model = build("t5")
    quantize(model, "nf4")
    names = [linear_map for linear_map in linear_maps(model) if linear_map.name.endswith(".wo")]
    assert {linear_map.module.weight.dtype for linear_map in names} == {torch.float32}
    assert not any(linear_map.module.support_avx512bf16_for_cpu for linear_map in names)


@pytest.mark.parametrize("precision", ["int8", "nf4", "int8wo"])
def test_a_quantized_model_is_not_quantized_again(build, precision):
    pytest.importorskip(SCHEMES[precision].library)
    model = build("mistral")
    quantize(model, precision)
    with pytest.raises(CompressionError, match=r"q_proj .* is quantized already"):
        quantize(model, "int8")


def test_unknown_precision_is_refused_with_the_known_ones(build):
    with pytest.raises(CompressionError, match="int8, nf4, fp4, int8fast, nf4dq, int8wo, int8dyn"):
        quantize(build("mistral"), "int3")


def test_a_missing_library_is_an_error_with_its_name(build, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchao.quantization", None)
    with pytest.raises(CompressionError, match="needs torchao"):
        quantize(build("mistral"), "int8wo")
