"""Small random checkpoints of every architecture, as `save_pretrained` writes them."""

from __future__ import annotations

import functools

import pytest

FAMILIES = ("gpt2", "gpt-neo", "gpt-j", "falcon", "mistral", "t5", "llama")


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint):
    """A function family → directory with model and tokenizer, each made once."""
    # Imported here: most tests need no torch, whose import takes seconds.
    from energyaware.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["alder los, birch ais cause: fiber"] * 5)
    return functools.cache(lambda family: make_checkpoint(family, tokenizer, max_new_tokens=7))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and a hub cache of our own."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def hub_cache(checkpoint, tmp_path):
    """A function id → snapshot of a GPT-2, laid out in the hub's local cache as a download leaves it."""
    import shutil

    def put(hub_id: str, revision: str = "main"):
        commit = "0123456789abcdef0123456789abcdef01234567"
        folder = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        (folder / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
        return shutil.copytree(checkpoint("gpt2"), folder / "snapshots" / commit)

    return put


class Hub:
    """The hub's answers to one question, `model_info`; set `error` or `files`."""

    def __init__(self):
        self.error: Exception | None = None
        self.files: tuple[str, ...] = ()
        self.asked: list[dict[str, object]] = []

    def model_info(self, api: object, hub_id: str, **options: object) -> object:
        from types import SimpleNamespace

        self.asked.append({"hub_id": hub_id} | options)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.files])


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that answers without a network, beside an empty cache."""
    import huggingface_hub

    fake = Hub()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda api, *args, **kw: fake.model_info(api, *args, **kw))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return fake
