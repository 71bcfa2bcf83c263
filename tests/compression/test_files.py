from __future__ import annotations

import pytest
import torch

from energyaware.compression.calibration import model_inputs
from energyaware.compression.files import load_compressed, save_compressed
from energyaware.compression.linear import linear_maps, quantized_as
from energyaware.compression.pruning import prune_magnitude, prune_n_m, prune_sparsegpt, prune_wanda
from energyaware.compression.quantization import SCHEMES
from energyaware.compression.quantize import quantize
from energyaware.compression.shrink import drop_heads, shrink_width
from energyaware.compression.structured import drop_layers
from energyaware.errors import CompressionError

METHODS = {
    "magnitude-50": lambda model, _: prune_magnitude(model, 0.5),
    "4of8": lambda model, _: prune_n_m(model, 4, 8),
    "wanda-50": lambda model, data: prune_wanda(model, 0.5, data),
    "sparsegpt-2of4": lambda model, data: prune_sparsegpt(model, (2, 4), data),
    "width-50": lambda model, data: shrink_width(model, 0.5, data),
    "heads-50": lambda model, data: drop_heads(model, 0.5, data),
    "depth-50": lambda model, data: drop_layers(model, 0.5, data),
    **{precision: lambda model, _, precision=precision: quantize(model, precision) for precision in SCHEMES},
}


@torch.no_grad()
def logits_of(model, ids):
    return model(**model_inputs(model, ids)).logits


@pytest.mark.parametrize("method", METHODS)
def test_every_architecture_saves_loads_and_generates_the_same(build, architecture, method, calibration, ids, tmp_path):
    model = build(architecture)
    if method == "heads-50" and architecture not in ("mistral", "llama", "t5"):
        pytest.skip("its config cannot say fewer heads: test_shrink tests the error")
    if method in SCHEMES:
        pytest.importorskip(SCHEMES[method].library)
    METHODS[method](model, calibration)
    expected = logits_of(model, ids)
    options = {"max_new_tokens": 4, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    tokens = model.generate(ids, **options)
    save_compressed(model, tmp_path)
    assert list(tmp_path.glob("*.safetensors"))
    loaded = load_compressed(tmp_path)
    assert type(loaded) is type(model)
    assert not loaded.training
    assert torch.equal(logits_of(loaded, ids), expected)
    assert torch.equal(loaded.generate(ids, **options), tokens)
    assert [quantized_as(item.module) for item in linear_maps(loaded)] == [
        quantized_as(item.module) for item in linear_maps(model)
    ]


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_pruned_and_quantized_keeps_its_zeros(build, architecture, precision, ids, tmp_path):
    model = build(architecture)
    prune_n_m(model, 2, 4)
    quantize(model, precision)
    expected = logits_of(model, ids)
    save_compressed(model, tmp_path)
    assert torch.equal(logits_of(load_compressed(tmp_path), ids), expected)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CompressionError, match="no model configuration"):
        load_compressed(tmp_path)


def test_weights_that_do_not_fit_are_named(build, tmp_path):
    from safetensors.torch import load_file, save_file

    model = build("mistral")
    quantize(model, "int8")
    save_compressed(model, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["model.norm.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CompressionError, match=r"do not fit its config: model\.norm\.weight"):
        load_compressed(tmp_path)
