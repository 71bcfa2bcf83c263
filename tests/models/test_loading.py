from __future__ import annotations

import os

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from energyaware.errors import ModelError
from energyaware.models.loading import load_causal_lm, load_tokenizer
from energyaware.models.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2)).save_pretrained(place)
    train_tokenizer(["a b c"]).save_pretrained(place)
    return place


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loads_in_the_dtype_asked_for_and_in_evaluation_mode(saved, dtype):
    model = load_causal_lm(saved, dtype=dtype)
    assert model.dtype == dtype
    assert not model.training


def test_without_a_dtype_the_files_decide(saved):
    assert load_causal_lm(str(saved)).dtype == torch.float32


def test_tokenizer_without_padding_pads_with_end_of_text(tmp_path):
    tokenizer = train_tokenizer(["a b c"])
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.pad_token_id == loaded.eos_token_id


def test_missing_directory(tmp_path):
    with pytest.raises(ModelError, match="no model directory"):
        load_causal_lm(tmp_path / "nothing")
    with pytest.raises(ModelError, match="no model directory"):
        load_tokenizer(tmp_path / "nothing")


def test_directory_without_configuration(tmp_path):
    with pytest.raises(ModelError):
        load_causal_lm(tmp_path)


def test_pickles_are_never_loaded(saved, tmp_path):
    model = load_causal_lm(saved)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors"):
        load_causal_lm(tmp_path)


def test_damaged_weights(saved, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(
            (saved / name).read_bytes()[:-1000] if "safe" in name else (saved / name).read_bytes()
        )
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_causal_lm(tmp_path)


def test_hub_that_cannot_be_reached(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="hub cannot be reached for nobody/nothing"):
        load_causal_lm("nobody/nothing")
