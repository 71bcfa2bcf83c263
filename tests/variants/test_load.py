from __future__ import annotations

import random

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

from energyaware.compression.linear import linear_maps
from energyaware.errors import CompressionError, ModelError
from energyaware.records import Variant
from energyaware.variants.grid import make_variant, quick_grid
from energyaware.variants.layout import redraw
from energyaware.variants.load import load_variant
from energyaware.work.counters import flops
from energyaware.work.storage import weight_bytes


@pytest.fixture
def saved(make_model, tmp_path):
    """A model of four blocks with its tokenizer, and the folder that holds both."""
    model = make_model(4)
    model.save_pretrained(tmp_path)
    end = "<end>"
    words = Tokenizer(models.WordLevel({end: 0, "link": 1, "down": 2}, unk_token=end))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end, unk_token=end).save_pretrained(tmp_path)
    return model, tmp_path


@torch.no_grad()
def test_every_variant_of_the_quick_grid_runs_and_is_proven(saved, ids):
    model, folder = saved
    expected = model(ids).logits
    total = sum(linear_map.weight.numel() for linear_map in linear_maps(model))
    fp32_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
    stored = {}
    for variant in quick_grid(["mini"]):
        loaded = load_variant(folder, variant)
        assert loaded.variant == variant
        assert not loaded.model.training
        logits = loaded.model(ids).logits.float()
        assert torch.isfinite(logits).all()
        assert loaded.weight_dtype == variant.precision
        assert loaded.proof.weights_total == total
        assert not [m for m in linear_maps(loaded.model) if not isinstance(m.module, nn.Linear)]
        if variant.precision == "fp32" and variant.pruning == "dense":
            assert loaded.proof.weights_changed == 0
            torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        else:
            assert loaded.proof.weights_changed == (total // 2 if variant.precision == "fp32" else total)
        if variant.pruning == "2of4":
            assert total // 2 <= loaded.proof.zeros < total // 2 + 100
            assert "zeros run dense (masked)" in loaded.notes
        if variant.pruning == "depth-50":
            assert (loaded.proof.blocks_before, loaded.proof.blocks_after) == (4, 2)
            assert "without blocks 1, 2" in loaded.notes
        stored[variant.id] = loaded.proof.stored_bytes
    assert stored["mini-fp32"] == stored["mini-fp32-2of4"] == fp32_bytes
    assert stored["mini-bf16"] == stored["mini-fp16"] == fp32_bytes // 2
    assert stored["mini-nf4"] < stored["mini-int8"] < stored["mini-bf16"]


@pytest.mark.parametrize(("precision", "compute"), [("fp32", "fp32"), ("bf16", "bf16"), ("fp16", "fp16")])
def test_compute_dtype_of_a_cast_is_its_own(saved, precision, compute):
    loaded = load_variant(saved[1], make_variant("mini", precision))
    assert loaded.compute_dtype == compute
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {loaded.model.dtype}
    assert loaded.proof.weight_dtypes == (precision,)


def test_cast_leaves_rotary_frequencies_in_fp32(saved):
    loaded = load_variant(saved[1], make_variant("mini", "bf16"))
    assert {buffer.dtype for buffer in loaded.model.buffers() if buffer.is_floating_point()} <= {torch.float32}


@torch.no_grad()
def test_pruned_and_quantized_keeps_the_zeros(saved, ids):
    model, folder = saved
    loaded = load_variant(folder, make_variant("mini", "nf4", "2of4"))
    assert loaded.proof.zeros >= loaded.proof.weights_total // 2
    assert torch.isfinite(loaded.model(ids).logits).all()
    assert flops(loaded.model, lambda: loaded.model(ids)) == flops(model, lambda: model(ids))


@torch.no_grad()
def test_depth_and_quantization_compose(saved, ids):
    loaded = load_variant(saved[1], make_variant("mini", "int8", "depth-50"))
    assert loaded.model.config.num_hidden_layers == 2
    cache = loaded.model(ids, use_cache=True).past_key_values
    assert torch.isfinite(loaded.model(ids[:, :1], past_key_values=cache).logits).all()


def test_gpt2_is_told_that_it_was_converted(saved):
    model, folder = saved
    notes = load_variant(folder, make_variant("mini")).notes
    assert notes == (("conv1d→linear",) if model.config.model_type == "gpt2" else ())


def test_tied_embeddings_stay_tied(saved):
    for variant in quick_grid(["mini"]):
        model = load_variant(saved[1], variant).model
        assert model.lm_head.weight is model.get_input_embeddings().weight, variant.id


def test_tokenizer_comes_along(saved):
    assert load_variant(saved[1], make_variant("mini")).tokenizer("link down")["input_ids"] == [1, 2]


@torch.no_grad()
def test_packed_weights_of_an_avx512bf16_cpu_are_seen_and_survive_a_redraw(saved, ids, monkeypatch):
    """Such a CPU packs 4-bit weights at the first call; here the packing is real and the kernel is not."""
    folder = saved[1]
    plain = load_variant(folder, make_variant("mini", "nf4"))
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    packed = load_variant(folder, make_variant("mini", "nf4"))
    weights = [linear_map.module.weight for linear_map in linear_maps(packed.model)]
    assert all(weight.quant_state.packing_format_for_cpu for weight in weights)
    assert packed.compute_dtype == "bf16"
    assert packed.proof.zeros == plain.proof.zeros
    scales = sum(weight.quant_state.absmax.numel() for weight in weights)
    assert plain.proof.stored_bytes - packed.proof.stored_bytes == 2 * scales  # scales in bf16, not fp32
    assert weight_bytes(packed.model) == packed.proof.stored_bytes
    expected = packed.model(ids).logits
    redraw(packed.model, random.Random(0))
    assert torch.equal(packed.model(ids).logits, expected)


def test_int8_threshold_is_noted(saved):
    loaded = load_variant(saved[1], make_variant("mini", "int8"), int8_threshold=0.0)
    assert "int8 outlier threshold 0" in loaded.notes


@pytest.fixture
def calibration():
    """Two batches of token ids, and a note of who made them."""
    made_with = []

    def batches(tokenizer):
        made_with.append(tokenizer)
        generator = torch.Generator().manual_seed(0)
        return [torch.randint(0, 96, (2, 16), generator=generator) for _ in range(2)]

    batches.made_with = made_with
    return batches


@pytest.mark.parametrize("pruning", ["wanda-50", "sparsegpt-2of4", "wanda-4of8"])
def test_calibrated_prunings_need_data_and_use_it(saved, calibration, pruning):
    variant = make_variant("mini", "fp32", pruning)
    with pytest.raises(CompressionError, match=f"{pruning} needs calibration data"):
        load_variant(saved[1], variant)
    loaded = load_variant(saved[1], variant, calibration=calibration)
    assert loaded.proof.zeros == pytest.approx(loaded.proof.weights_total // 2, rel=0.01)
    assert "zeros run dense (masked)" in loaded.notes
    assert [type(tokenizer) for tokenizer in calibration.made_with] == [type(loaded.tokenizer)]
    with pytest.raises(CompressionError, match="empty"):
        load_variant(saved[1], variant, calibration=())


def test_calibration_is_not_made_where_it_is_not_used(saved, calibration):
    for pruning in ("dense", "2of4"):
        load_variant(saved[1], make_variant("mini", "fp32", pruning), calibration=calibration)
    assert not calibration.made_with


def test_structured_prunings_say_what_they_took_and_how_it_was_chosen(saved, calibration):
    model, folder = saved
    width = 256 if model.config.model_type == "gpt2" else 128
    free = load_variant(folder, make_variant("mini", "fp32", "width-50"))
    assert free.notes[:2] == (f"MLP width {width} → {width // 2}", "chosen without data")
    assert 0 < free.proof.weights_changed < free.proof.weights_total
    calibrated = load_variant(folder, make_variant("mini", "nf4", "width-50"), calibration=calibration)
    assert "chosen by calibration" in calibrated.notes
    heads = make_variant("mini", "fp32", "heads-50")
    if model.config.model_type == "gpt2":
        with pytest.raises(CompressionError, match="cannot say fewer heads"):
            load_variant(folder, heads)
    else:
        assert "attention heads 4 → 2" in load_variant(folder, heads).notes


@torch.no_grad()
def test_a_probe_measures_the_distance_from_fp32(saved, ids):
    folder = saved[1]
    assert load_variant(folder, make_variant("mini", "bf16")).proof.logits is None
    same = load_variant(folder, make_variant("mini"), probe=ids).proof.logits
    assert same.max_error < 1e-5
    assert same.positions == 10
    pruned = load_variant(folder, make_variant("mini", "int8", "depth-50"), probe=lambda _: ids).proof.logits
    assert pruned.max_error > 1e-3
    assert 0 <= pruned.flip_rate <= 1


@pytest.mark.parametrize(
    ("precision", "weight", "compute", "note"),
    [
        ("int8fast", "int8", ("int8", "fp32"), "int8 outlier threshold 0"),
        ("nf4dq", "nf4", ("fp32", "bf16"), "double quantization"),
        ("int8wo", "int8", ("fp32",), "torchao, weight-only"),
        ("int8dyn", "int8", ("int8",), "torchao, activations quantized per token"),
    ],
)
def test_further_quantized_precisions(saved, precision, weight, compute, note):
    if note.startswith("torchao"):
        pytest.importorskip("torchao")
    loaded = load_variant(saved[1], make_variant("mini", precision))
    assert loaded.weight_dtype == weight
    assert loaded.compute_dtype in compute
    assert note in loaded.notes
    assert loaded.proof.weights_changed == loaded.proof.weights_total
    assert loaded.proof.weight_dtypes == (weight,)


def test_sparse_kernels_are_used_and_noted_where_there_are_some(saved, monkeypatch):
    """No GPU here: the device is taken for one, and the packing is a stand-in."""
    from energyaware.variants import load

    folder = saved[1]
    answers = {"packed": (("a", "b"), {"c": "too narrow"}), "none": ((), {"a": "no sparse kernels"})}
    for answer, note in (
        ("packed", "2:4 sparse kernels in 2 of 3 linear maps"),
        ("none", "zeros run dense (masked): no sparse kernels"),
    ):
        monkeypatch.setattr(load, "pack_semi_structured", lambda _, answer=answer: answers[answer])
        monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_, **__: self)
        assert note in load_variant(folder, make_variant("mini", "bf16", "2of4"), "cuda").notes
    assert "zeros run dense (masked)" in load_variant(folder, make_variant("mini", "bf16", "4of8"), "cuda").notes


def test_pruning_a_pruned_model_again_is_an_error_that_names_modules(saved):
    model, folder = saved
    loaded = load_variant(folder, make_variant("mini", "fp32", "2of4"))
    for old, new in zip(linear_maps(model), linear_maps(loaded.model), strict=True):
        old.weight.copy_(new.weight)
    model.save_pretrained(folder)
    with pytest.raises(CompressionError, match=r"2of4 changed none of the \d+ weights in .*\.0\."):
        load_variant(folder, make_variant("mini", "fp32", "2of4"))


@pytest.mark.parametrize("variant", [Variant("mini", "fp8"), Variant("mini", "fp32", "sparse")])
def test_unknown_names_are_refused(saved, variant):
    with pytest.raises(CompressionError, match="unknown"):
        load_variant(saved[1], variant)


def test_missing_folder_is_a_model_error(tmp_path):
    with pytest.raises(ModelError):
        load_variant(tmp_path / "absent", make_variant("mini"))


def test_an_offered_compression_changes_the_model_before_the_cast(saved, calibration):
    _, folder = saved
    seen = []

    def halve(model, batches):
        assert model.dtype == torch.float32
        seen.append([tuple(batch.shape) for batch in batches])
        for linear_map in linear_maps(model):
            linear_map.weight.mul_(0.5)
        return ["halved"]

    variant = Variant("mini", "bf16", "halve")
    loaded = load_variant(folder, variant, calibration=calibration, offered={"halve": halve})
    assert loaded.weight_dtype == "bf16"
    assert "halved" in loaded.notes
    assert seen == [[(2, 16), (2, 16)]]
    dense = load_variant(folder, Variant("mini", "bf16"))
    for one, other in zip(linear_maps(dense.model), linear_maps(loaded.model), strict=True):
        torch.testing.assert_close(other.weight.float(), one.weight.float() / 2)


def test_an_offered_compression_that_changes_nothing_is_an_error(saved):
    with pytest.raises(CompressionError, match="idle changed no weight"):
        load_variant(saved[1], Variant("mini", "fp32", "idle"), offered={"idle": lambda model, batches: None})


def test_an_unquantized_model_is_spread_and_a_quantized_one_stays(saved, monkeypatch):
    from energyaware.variants import load

    _, folder = saved
    sent = []
    monkeypatch.setattr(load, "spread", lambda model, gpus: sent.append((model.dtype, tuple(gpus))))
    monkeypatch.setattr(load, "occupied_gpus", lambda model: (0, 1) if sent else ())
    loaded = load_variant(folder, make_variant("mini", "bf16"), gpus=(0, 1))
    assert sent == [(torch.bfloat16, (0, 1))]
    assert loaded.gpus == (0, 1)
    sent.clear()
    quantized = load_variant(folder, make_variant("mini", "nf4"), gpus=(0, 1))
    assert sent == []
    assert "quantized: on one GPU, not spread" in quantized.notes
    assert quantized.gpus == ()
