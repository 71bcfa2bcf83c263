from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import GPT2Model

from energyaware.errors import ModelError
from energyaware.models.loading import load_causal_lm, load_model, load_tokenizer
from energyaware.models.tokenizer import train_tokenizer

FAMILIES = ("gpt2", "gpt-neo", "gpt-j", "falcon", "mistral", "t5", "llama")


@pytest.fixture
def saved(checkpoint, tmp_path):
    """A GPT-2 to spoil."""
    return shutil.copytree(checkpoint("gpt2"), tmp_path / "gpt2")


def edit(place, **changes):
    config = json.loads((place / "config.json").read_text()) | changes
    (place / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_architecture_loads_in_the_dtype_asked_for_and_writes(checkpoint, family, dtype):
    model, tokenizer = load_model(checkpoint(family), dtype=dtype), load_tokenizer(checkpoint(family))
    assert model.dtype == dtype
    assert not model.training
    written = model.generate(**tokenizer("alder los", return_tensors="pt"), do_sample=False, max_new_tokens=3)
    assert written.shape[0] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_shards_make_the_same_model(checkpoint, family, tmp_path):
    whole = load_model(checkpoint(family))
    whole.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    parts = load_model(tmp_path, device_map={"": "cpu"})
    for (name, one), (_, other) in zip(whole.named_parameters(), parts.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_configuration_decides_between_decoder_and_encoder_decoder(checkpoint):
    assert type(load_model(checkpoint("t5"))).__name__ == "T5ForConditionalGeneration"
    assert type(load_model(checkpoint("gpt-j"))).__name__ == "GPTJForCausalLM"


def test_the_generation_configuration_is_the_checkpoints(checkpoint):
    assert load_model(checkpoint("gpt2")).generation_config.max_new_tokens == 7


def test_without_a_dtype_the_files_decide(checkpoint, tmp_path):
    load_model(checkpoint("gpt2"), dtype=torch.bfloat16).save_pretrained(tmp_path)
    assert load_model(str(tmp_path)).dtype == torch.bfloat16


def test_the_former_name_is_the_same_function():
    assert load_causal_lm is load_model


def test_tokenizer_without_padding_pads_with_end_of_text(saved):
    tokenizer = train_tokenizer(["a b c"])
    tokenizer.pad_token = None
    tokenizer.save_pretrained(saved)
    loaded = load_tokenizer(saved)
    assert loaded.pad_token_id == loaded.eos_token_id


def test_missing_directory(tmp_path):
    with pytest.raises(ModelError, match="no model directory"):
        load_model(tmp_path / "nothing")
    with pytest.raises(ModelError, match="no model directory"):
        load_tokenizer(tmp_path / "nothing")


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_directory_without_configuration(load, tmp_path):
    with pytest.raises(ModelError, match="holds no model configuration"):
        load(tmp_path)


class Bomb:
    """Whoever unpickles it creates a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickles_are_never_opened(saved, tmp_path, name):
    import pickle

    (saved / "model.safetensors").unlink()
    (saved / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(ModelError, match=rf"only pickles \({name}\).*save_pretrained"):
        load_model(saved)
    assert not (tmp_path / "exploded").exists()


def test_no_weights(saved):
    (saved / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no safetensors"):
        load_model(saved)


def test_damaged_weights(saved):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(saved)


def test_a_lacking_shard_is_named(saved, tmp_path):
    load_model(saved).save_pretrained(tmp_path / "parts", max_shard_size="50KB")
    victim = sorted((tmp_path / "parts").glob("*.safetensors"))[1]
    victim.unlink()
    with pytest.raises(ModelError, match=f"lacks the shard {victim.name}"):
        load_model(tmp_path / "parts")


@pytest.mark.parametrize("content", ["", "[]", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(saved, content):
    (saved / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match="no index of shards"):
        load_model(saved)


def test_a_checkpoint_with_gaps_is_refused_instead_of_filled_with_noise(saved):
    from safetensors.torch import load_file, save_file

    weights = load_file(saved / "model.safetensors")
    removed = next(name for name in weights if name.endswith("h.1.mlp.c_fc.weight"))
    del weights[removed]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights of a GPT2LMHeadModel \(transformer.h.1.mlp.c_fc.weight"):
        load_model(saved)


def test_a_body_without_a_head_is_whole_where_the_head_is_tied(checkpoint, tmp_path):
    GPT2Model.from_pretrained(checkpoint("gpt2")).save_pretrained(tmp_path)
    assert type(load_model(tmp_path)).__name__ == "GPT2LMHeadModel"


def test_code_of_the_model_is_refused(saved):
    (saved / "mine.py").write_text("raise SystemExit('ran')")
    edit(saved, model_type="mine", auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"})
    with pytest.raises(ModelError, match=r"needs code of its own \(auto_map\)"):
        load_model(saved)


def test_code_beside_an_architecture_that_transformers_has_is_ignored(saved):
    (saved / "mine.py").write_text("raise SystemExit('ran')")
    edit(saved, auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"})
    assert type(load_model(saved)).__module__.startswith("transformers.")


def test_an_unknown_architecture(saved):
    edit(saved, model_type="of-next-year")
    with pytest.raises(ModelError, match="architecture that this transformers cannot load"):
        load_model(saved)


def test_a_model_that_writes_nothing(saved):
    edit(saved, model_type="vit")
    with pytest.raises(ModelError, match="cannot load as a language model"):
        load_model(saved)


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_hub_that_cannot_be_reached(load, offline):
    with pytest.raises(ModelError, match="hub cannot be reached for nobody/nothing"):
        load("nobody/nothing")


def test_a_cached_copy_needs_no_hub(hub_cache, offline):
    hub_cache("someone/small")
    assert type(load_model("someone/small")).__name__ == "GPT2LMHeadModel"
    assert load_tokenizer("someone/small").eos_token_id is not None


def test_a_repository_of_pickles_is_refused_before_any_download(hub, monkeypatch):
    hub.files = ("config.json", "pytorch_model.bin")
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", pytest.fail)
    with pytest.raises(ModelError, match=r"only pickles \(pytorch_model.bin\)"):
        load_model("someone/old")
