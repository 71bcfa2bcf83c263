from __future__ import annotations

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from energyaware.variants.layout import policy, redraw
from energyaware.work.storage import stored_tensors

QUANTIZATIONS = {
    "fp32": None,
    "int8": {"load_in_8bit": True},
    "int8-fast": {"load_in_8bit": True, "llm_int8_threshold": 0.0},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4-double": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}


@pytest.fixture(params=QUANTIZATIONS)
def model(request, make_model, tmp_path):
    model = make_model()
    options = QUANTIZATIONS[request.param]
    if options is None:
        return model
    model.save_pretrained(tmp_path)
    config = BitsAndBytesConfig(**options)
    return AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, quantization_config=config).eval()


@torch.no_grad()
def test_outputs_stay_equal_bit_for_bit_through_a_method_captured_before(model, ids):
    captured = model.forward
    expected = captured(ids).logits
    for seed in range(3):
        redraw(model, random.Random(seed))
        assert torch.equal(captured(ids).logits, expected)


@pytest.mark.parametrize("calls", [0, 1])
@torch.no_grad()
def test_every_tensor_moves_and_stays_the_same_object_of_the_same_layout(model, ids, calls):
    """Before the first call and after it, because bitsandbytes moves its statistics then."""
    for _ in range(calls):
        model(ids)
    before = [(tensor, tensor.data_ptr(), tensor.shape, tensor.stride()) for tensor in stored_tensors(model)]
    redraw(model, random.Random(0))
    assert [id(tensor) for tensor in stored_tensors(model)] == [id(tensor) for tensor, *_ in before]
    for tensor, address, shape, stride in before:
        assert tensor.data_ptr() != address
        assert (tensor.shape, tensor.stride()) == (shape, stride)


@torch.no_grad()
def test_redraw_before_the_first_call_equals_no_redraw(make_model, ids, tmp_path):
    make_model().save_pretrained(tmp_path)

    def load():
        config = BitsAndBytesConfig(load_in_8bit=True)
        return AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, quantization_config=config).eval()

    redrawn, untouched = load(), load()
    redraw(redrawn, random.Random(0))
    assert torch.equal(redrawn(ids).logits, untouched(ids).logits)


def test_tied_weights_stay_tied(make_model):
    model = make_model()
    redraw(model, random.Random(0))
    assert model.lm_head.weight is model.get_input_embeddings().weight


@torch.no_grad()
def test_int8_weights_under_two_names_stay_one_memory(make_model, ids, tmp_path):
    make_model().save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, quantization_config=BitsAndBytesConfig(load_in_8bit=True)
    ).eval()
    model(ids)
    redraw(model, random.Random(0))
    quantized = [module for module in model.modules() if hasattr(getattr(module, "state", None), "CB")]
    assert quantized
    assert all(module.state.CB.data_ptr() == module.weight.data_ptr() for module in quantized)


def test_gradients_still_flow_after_a_redraw_inside_inference_mode(make_model, ids):
    model = make_model()
    with torch.inference_mode():
        redraw(model, random.Random(0))
    model(ids, labels=ids).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_policy_names_what_applies(make_model):
    model = make_model()
    total = sum(tensor.nbytes for tensor in stored_tensors(model))
    assert policy(model) == "every round"
    assert policy(model, limit_bytes=total) == "every round"
    assert policy(model, limit_bytes=total - 1) == "once per launch"
    assert policy(model.to("meta")) == "once per launch"
