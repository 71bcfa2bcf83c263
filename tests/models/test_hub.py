from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from energyaware.errors import ModelError
from energyaware.models.hub import (
    TIMEOUT_S,
    ask_hub,
    cached_snapshot,
    missing_shards,
    require_safetensors,
    require_shards_of_hub,
)

# What huggingface_hub speaks HTTP with: httpx2 since its version 2.
httpx = pytest.importorskip("httpx2" if find_spec("httpx2") else "httpx")


def refusal(kind, status):
    response = httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api/models/a/b"))
    return kind("refused", response=response)


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (refusal(GatedRepoError, 403), "is gated", "accept its terms on https://huggingface.co/a/b"),
        (refusal(RepositoryNotFoundError, 401), "knows no model a/b", "check the id"),
        (refusal(RevisionNotFoundError, 404), "no such revision of a/b", "check the revision"),
        (refusal(HfHubHTTPError, 503), "cannot be reached", "go online once"),
        (OfflineModeIsEnabled("offline"), "cannot be reached", "HF_HUB_OFFLINE"),
        (httpx.ConnectError("no route to host"), "cannot be reached", "local directory"),
        (httpx.ConnectTimeout("timed out"), "cannot be reached", "local directory"),
        (httpx.ReadTimeout("timed out"), "cannot be reached", "local directory"),
    ],
)
def test_refusals_and_dead_networks_give_cause_and_remedy(hub, error, cause, remedy):
    hub.error = error
    with pytest.raises(ModelError) as raised:
        ask_hub("a/b", "main")
    assert cause in raised.value.cause
    assert remedy in raised.value.remedy


def test_the_hub_is_asked_once_and_must_answer_within_seconds(hub):
    hub.error = httpx.ConnectTimeout("timed out")
    with pytest.raises(ModelError):
        ask_hub("a/b", "refs/pr/40")
    assert hub.asked == [{"hub_id": "a/b", "revision": "refs/pr/40", "timeout": TIMEOUT_S}]
    assert TIMEOUT_S <= 10


def test_a_refusal_is_no_reason_to_take_the_cached_copy(hub, hub_cache):
    hub_cache("a/b")
    hub.error = refusal(RepositoryNotFoundError, 404)
    with pytest.raises(ModelError, match="knows no model"):
        ask_hub("a/b")


def test_without_a_network_the_cached_copy_has_to_do(hub, hub_cache):
    hub_cache("a/b")
    hub.error = httpx.ConnectError("no route to host")
    assert not ask_hub("a/b").online


def test_an_error_of_another_kind_is_not_hidden(hub):
    hub.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        ask_hub("a/b")


def test_files_are_told(hub):
    hub.files = ("config.json", "model-00001-of-00002.safetensors", "pytorch_model.bin")
    answer = ask_hub("a/b")
    assert answer.online
    assert answer.files == hub.files
    require_safetensors("a/b", answer.files)


def test_a_half_downloaded_model_is_not_cached(hub_cache, hub):
    snapshot = hub_cache("a/b", "refs/pr/40")
    assert cached_snapshot("a/b", "refs/pr/40") == snapshot
    assert cached_snapshot("a/b") is None
    assert cached_snapshot("a/other") is None
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    assert cached_snapshot("a/b", "refs/pr/40") is None
    shards = {"wte": "model-00001-of-00002.safetensors", "wpe": "model-00002-of-00002.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert missing_shards(snapshot) == ("model-00002-of-00002.safetensors",)
    assert cached_snapshot("a/b", "refs/pr/40") is None
    (snapshot / "model-00002-of-00002.safetensors").touch()
    assert cached_snapshot("a/b", "refs/pr/40") == snapshot


@pytest.mark.parametrize(
    "weight_map",
    [{"a": "weights.bin"}, {"a": "../x.safetensors"}, {"a": "/x.safetensors"}, {"a": 3}, {"a": "x\0.safetensors"}],
)
def test_an_index_that_names_a_pickle_or_a_file_elsewhere_is_refused(tmp_path, weight_map, monkeypatch):
    """transformers would unpickle the one and open the other."""
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map | {"b": "model.safetensors"}}))
    with pytest.raises(ModelError, match="no safetensors file beside it"):
        missing_shards(tmp_path)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(path))
    with pytest.raises(ModelError, match="no safetensors file beside it"):
        require_shards_of_hub("a/b", ("config.json", path.name))
    require_shards_of_hub("a/b", ("config.json", "model.safetensors"))


def test_an_index_that_is_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("[" * 200_000)
    with pytest.raises(ModelError, match="no index of shards"):
        missing_shards(tmp_path)
