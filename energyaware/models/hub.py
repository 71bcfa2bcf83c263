"""What the Hugging Face hub and its local cache hold, asked before anything is downloaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from energyaware.errors import ModelError

TIMEOUT_S = 5.0
"""How long the hub may take for its first answer. Downloads that follow have no such limit."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """What the hub says about a model.

    Attributes:
        online: whether the hub was asked; else the local cache has to do.
        files: names of the repository's files; empty where the hub was not asked.
    """

    online: bool
    files: tuple[str, ...] = ()


def ask_hub(hub_id: str, revision: str | None = None) -> HubAnswer:
    """Ask the hub once, for at most `TIMEOUT_S`, so that a dead network costs seconds and not minutes of retries.

    Raises:
        ModelError: unknown, gated or private; or unreachable while no copy is cached.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(hub_id, revision=revision, timeout=TIMEOUT_S)
    except Exception as error:  # the hub's and the HTTP library's own types, a dozen of them
        explained = explain_hub_error(hub_id, error)
        if explained is None:
            raise
        if not _unreachable(error) or cached_snapshot(hub_id, revision) is None:
            raise explained from error
        return HubAnswer(online=False)
    return HubAnswer(online=True, files=tuple(file.rfilename for file in info.siblings or ()))


def require_safetensors(source: str, files: Iterable[str]) -> None:
    """Check by the names of its files that a model has weights that can be loaded without running code.

    Raises:
        ModelError: pickles only, or no weights at all.
    """
    names = sorted(files)
    if any(name.endswith(".safetensors") for name in names):
        return
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        raise ModelError(
            f"{source} holds no safetensors weights, only pickles ({pickles[0]}), which can run code when read",
            "name a revision with safetensors, or convert them where you trust them: "
            "load there and call save_pretrained",
        )
    raise ModelError(f"{source} holds no safetensors weights", "name a directory made by save_pretrained")


def missing_shards(directory: Path) -> tuple[str, ...]:
    """Files that the index of a sharded model names and the directory lacks; empty without an index.

    Raises:
        ModelError: the index is damaged, or names what is no safetensors file beside it.
    """
    index = directory / _INDEX
    if not index.is_file():
        return ()
    return tuple(name for name in shards(index) if not (directory / name).is_file())


def shards(index: Path) -> tuple[str, ...]:
    """The files that an index of a sharded model names, sorted.

    Raises:
        ModelError: it is damaged, or names what is no safetensors file beside it: a pickle, or a file elsewhere.
    """
    remedy = "download or save the model again, where you trust it"
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index} is no index of shards ({error})", remedy) from error
    for name in named:
        if not (isinstance(name, str) and re.fullmatch(r"[\w.+-]+\.safetensors", name)):
            raise ModelError(f"{index} names {str(name)[:100]!r}, which is no safetensors file beside it", remedy)
    return tuple(sorted(named))


def require_shards_of_hub(hub_id: str, files: Iterable[str], revision: str | None = None) -> None:
    """Refuse a sharded model whose index names anything but safetensors files, before its weights are downloaded.

    Args:
        files: names of the repository's files.

    Raises:
        ModelError: it does, or the index cannot be downloaded.
    """
    if _INDEX not in files:
        return
    from huggingface_hub import hf_hub_download

    try:
        index = hf_hub_download(hub_id, _INDEX, revision=revision)
    except Exception as error:  # the hub's and the HTTP library's own types, a dozen of them
        explained = explain_hub_error(hub_id, error)
        if explained is None:
            raise
        raise explained from error
    shards(Path(index))


def cached_snapshot(hub_id: str, revision: str | None = None) -> Path | None:
    """Where the hub's local cache keeps a model of which all weights are there; None without one. No network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    if not isinstance(found, str):
        return None
    snapshot = Path(found).parent
    whole = (snapshot / "model.safetensors").is_file() or (
        (snapshot / _INDEX).is_file() and not missing_shards(snapshot)
    )
    return snapshot if whole else None


def explain_hub_error(source: str, error: BaseException) -> ModelError | None:
    """Cause and remedy of what the hub raised; None where it was not about the hub."""
    kinds, text = _chain(error)
    if "GatedRepoError" in kinds or "gated repo" in text:
        return ModelError(
            f"the model {source} is gated", f"accept its terms on https://huggingface.co/{source}, then `hf auth login`"
        )
    if "RevisionNotFoundError" in kinds:
        return ModelError(f"the hub knows no such revision of {source}", "check the revision")
    if kinds & {"RepositoryNotFoundError", "HFValidationError"}:
        return ModelError(f"the hub knows no model {source} (or it is private)", "check the id; if private, log in")
    if _unreachable(error):
        return ModelError(
            f"the hub cannot be reached for {source} and it is not cached",
            "go online once (unset HF_HUB_OFFLINE if it is set), or give a local directory",
        )
    return None


def _unreachable(error: BaseException) -> bool:
    kinds, text = _chain(error)
    offline = {
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
        "ConnectionError",
        "ConnectError",
        "TransportError",
        "HfHubHTTPError",
    }
    # A class that was refused belongs to HfHubHTTPError too.
    refused = {"RepositoryNotFoundError", "RevisionNotFoundError"}
    return not kinds & refused and (bool(kinds & offline) or "couldn't connect" in text)


def _chain(error: BaseException) -> tuple[set[str], str]:
    """The class names, with their bases, and the texts of an error and of all that led to it."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return {base.__name__ for link in chain for base in type(link).__mro__}, " ".join(map(str, chain))
