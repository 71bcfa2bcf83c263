"""What processes that tests start inherit, and tiny random models of two architectures that store maps differently."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A deadline per example fails whatever a busy machine happens to slow down. Examples are the same in every run, so that
# what fails fails for a change; what random ones find is the matter of `benchmarks.promises.fuzz`.
settings.register_profile("energyaware", deadline=None, derandomize=True)
settings.load_profile("energyaware")

# Before torch is loaded, and for the processes that tests start: models of two layers gain nothing by threads. Where
# several workers of pytest-xdist share the cores, threads that wait for each other made some tests ten times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Plugins that take longer to load than all the rest of a run, and that no run of a test needs.
UNUSED = ("hypothesispytest", "xdist", "xdist.looponfail", "timeout", "typeguard", "anyio")
LIGHT = " ".join(f"-p no:{name}" for name in UNUSED)


@pytest.fixture(scope="session", autouse=True)
def runs_of_tests():
    """What pytest processes inherit that a test starts: they are nobody's workers, and load only what they need.

    Where pytest-xdist's variables are inherited, pytest-benchmark switches itself off.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            patch.delenv(name)
        patch.setenv("PYTEST_ADDOPTS", LIGHT)
        yield


@pytest.fixture
def pytester(pytester, monkeypatch):
    """As pytest's own, which forgets what `runs_of_tests` has set."""
    monkeypatch.setenv("PYTEST_ADDOPTS", LIGHT)
    return pytester


def tiny_gpt2(layers: int = 2):
    # Imported here and below: most tests need no torch, whose import takes seconds.
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=96, n_embd=64, n_layer=layers, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    return GPT2LMHeadModel(config).eval()


def tiny_mistral(layers: int = 2):
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        sliding_window=None,
        tie_word_embeddings=True,
    )
    return MistralForCausalLM(config).eval()


@pytest.fixture(params=["gpt2", "mistral"])
def make_model(request):
    """A function (layers=2) → model, once per architecture."""
    return {"gpt2": tiny_gpt2, "mistral": tiny_mistral}[request.param]


@pytest.fixture
def gpt2():
    return tiny_gpt2()


@pytest.fixture
def mistral():
    return tiny_mistral()


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory):
    """A function (family, tokenizer, **generation) → folder of a small random model of that architecture."""

    def make(family: str, tokenizer, **generation):
        from energyaware.models import embedded
        from energyaware.models.catalogue import ModelSpec

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedded, "SHAPES", {"nano": embedded.Shape(64, 2)})
            model = embedded.build(
                ModelSpec("x", family, "nano"),
                len(tokenizer),
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        model.generation_config.update(**generation)
        folder = tmp_path_factory.mktemp(family)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def ids():
    """Token ids, batch 2 × 5 tokens."""
    import torch

    return torch.arange(10).view(2, 5)
