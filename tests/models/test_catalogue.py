from __future__ import annotations

import itertools

import pytest

from energyaware.errors import ModelError
from energyaware.models.catalogue import CATALOGUE, by_name, find
from energyaware.models.embedded import build


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_catalogue_names_are_found_and_fit_into_ids(name):
    assert find(name) == CATALOGUE[name]
    assert CATALOGUE[name].name == name
    assert not set(name) & set("%:/ ")


@pytest.mark.parametrize("family", ["gpt2", "gpt-neo", "gpt-j", "falcon", "mistral", "t5", "llama"])
def test_every_architecture_comes_from_the_hub_and_in_two_embedded_sizes(family):
    of_family = [spec for spec in CATALOGUE.values() if spec.family == family]
    assert any(spec.hub_id for spec in of_family)
    assert {"tiny", "mini"} <= {spec.size for spec in of_family if spec.embedded}


@pytest.mark.parametrize("family", ["gpt2", "mistral"])
def test_the_ladders_rise_in_four_steps(family):
    ladder = [spec for spec in CATALOGUE.values() if spec.family == family and spec.embedded]
    assert [spec.size for spec in ladder] == ["nano", "tiny", "mini", "base"]
    assert all(2 * small.parameters < large.parameters for small, large in itertools.pairwise(ladder))


def test_every_entry_has_its_terms_and_only_llama_is_gated():
    assert all(spec.licence and spec.parameters for spec in CATALOGUE.values())
    assert {spec.name for spec in CATALOGUE.values() if spec.gated} == {"llama-3.2-1b", "llama-3.2-3b"}


def test_gpt_j_is_pinned_to_the_revision_with_safetensors():
    assert find("gpt-j-6b").revision == "refs/pr/40"
    assert find("EleutherAI/gpt-j-6b") == find("gpt-j-6b")


def hub_config(name):
    """The published configuration, as far as it shapes the model; what is not given is transformers' default."""
    import transformers

    return {
        "gpt2": lambda: transformers.GPT2Config(),
        "gpt-neo-2.7b": lambda: transformers.GPTNeoConfig(
            hidden_size=2560, num_layers=32, num_heads=20, attention_types=[[["global", "local"], 16]]
        ),
        "gpt-j-6b": lambda: transformers.GPTJConfig(),
        "falcon-7b": lambda: transformers.FalconConfig(),
        "mistral-7b": lambda: transformers.MistralConfig(),
        "t5-3b": lambda: transformers.T5Config(d_model=1024, d_kv=128, d_ff=16384, num_layers=24, num_heads=32),
        "llama-3.2-1b": lambda: transformers.LlamaConfig(
            vocab_size=128256,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=64,
            tie_word_embeddings=True,
        ),
        "llama-3.2-3b": lambda: transformers.LlamaConfig(
            vocab_size=128256,
            hidden_size=3072,
            intermediate_size=8192,
            num_hidden_layers=28,
            num_attention_heads=24,
            num_key_value_heads=8,
            head_dim=128,
            tie_word_embeddings=True,
        ),
    }[name]()


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_parameters_are_counted_on_the_architecture(name):
    import torch
    import transformers

    spec = CATALOGUE[name]
    with torch.device("meta"):
        if spec.embedded:
            model = build(spec, 2048, bos_token_id=1, eos_token_id=2, pad_token_id=0)
        else:
            config = hub_config(name)
            seq2seq = config.is_encoder_decoder
            auto = transformers.AutoModelForSeq2SeqLM if seq2seq else transformers.AutoModelForCausalLM
            model = auto.from_config(config)
    model.tie_weights()
    assert sum(parameter.numel() for parameter in model.parameters()) == spec.parameters


def test_any_hub_id_is_taken():
    spec = find("someone/Some-Model_1.5")
    assert spec.hub_id == "someone/Some-Model_1.5"
    assert spec.name == "some-model-1.5"
    assert not spec.embedded


def test_a_local_directory_is_taken(tmp_path):
    (tmp_path / "My Model").mkdir()
    (tmp_path / "My Model" / "config.json").write_text("{}")
    spec = find(str(tmp_path / "My Model"))
    assert spec.path == tmp_path / "My Model"
    assert spec.name == "my-model"
    assert not spec.embedded


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        find(str(tmp_path))


def test_an_unknown_name_gets_close_ones():
    with pytest.raises(ModelError, match=r"did you mean .*mini-gpt2"):
        find("mini-gpt")


@pytest.mark.parametrize("name", ["", "/no/such/directory", "a b", "../x/y"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ModelError, match="unknown model"):
        find(name)


@pytest.mark.parametrize("revision", ["v1.5", "refs/pr/40", "0123456789abcdef0123456789abcdef01234567"])
def test_a_revision_of_the_hub_is_another_row(revision):
    spec = find(f"someone/Model@{revision}")
    assert (spec.hub_id, spec.revision) == ("someone/Model", revision)
    assert spec.name != find("someone/Model").name
    assert not set(spec.name) & set("%:/@ ")
    assert len(spec.name) < 20


def test_a_revision_of_a_model_of_the_catalogue_keeps_what_is_known_of_it():
    spec = find("openai-community/GPT2@main")
    assert (spec.name, spec.revision, spec.parameters) == ("gpt2-main", "main", CATALOGUE["gpt2"].parameters)
    assert find("EleutherAI/gpt-j-6b@refs/pr/40") == CATALOGUE["gpt-j-6b"]


def test_two_models_of_one_name_are_refused(tmp_path):
    folders = [tmp_path / run / "checkpoint-500" for run in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    first, second = (find(str(folder)) for folder in folders)
    with pytest.raises(ModelError, match=r"both be called checkpoint-500: .*a/checkpoint-500 and .*b/checkpoint-500"):
        by_name([first, second])
    assert by_name([first, find("tiny-t5"), first]) == {"checkpoint-500": first, "tiny-t5": CATALOGUE["tiny-t5"]}
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"openai-community/gpt2 and .*gpt2\. rename a directory"):
        by_name([find("gpt2"), find(str(tmp_path / "gpt2"))])
