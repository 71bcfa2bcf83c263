"""Load a model through transformers' own `from_pretrained`: safetensors only, never code from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from energyaware.errors import ModelError


def load_causal_lm(
    source: str | Path,
    *,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    quantization_config: Any = None,
    device_map: Any = None,
) -> Any:
    """Load a causal language model in evaluation mode.

    Args:
        source: local directory or Hugging Face id.
        dtype: of the weights; None takes what the files hold.
        revision: git revision on the hub.
        quantization_config: passed through, for instance `transformers.BitsAndBytesConfig`.
        device_map: passed through.

    Raises:
        ModelError: missing, unreachable or gated, without safetensors, or damaged.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    # Bars of a second's work would stand between the rows of a test run.
    logging.disable_progress_bar()
    options: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, "dtype": dtype or "auto"}
    if revision is not None:
        options["revision"] = revision
    if quantization_config is not None:
        options["quantization_config"] = quantization_config
    if device_map is not None:
        options["device_map"] = device_map
    try:
        model = AutoModelForCausalLM.from_pretrained(_existing(source), **options)
    except Exception as error:  # transformers, the hub and safetensors raise dozens of types
        raise _explained(source, error) from error
    return model.eval()


def load_tokenizer(source: str | Path, *, revision: str | None = None) -> Any:
    """Load a tokenizer. Where it has no padding token, its end-of-text token takes that place.

    Raises:
        ModelError: missing, unreachable or gated, or damaged.
    """
    from transformers import AutoTokenizer

    options: dict[str, Any] = {"trust_remote_code": False}
    if revision is not None:
        options["revision"] = revision
    try:
        tokenizer = AutoTokenizer.from_pretrained(_existing(source), **options)
    except Exception as error:  # see load_causal_lm
        raise _explained(source, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _existing(source: str | Path) -> str:
    if isinstance(source, Path) and not source.is_dir():
        raise ModelError(f"there is no model directory {source}", "check the path")
    return str(source)


def _explained(source: str | Path, error: Exception) -> ModelError:
    """Translate what transformers and the hub raise into a cause and a remedy."""
    if isinstance(error, ModelError):
        return error
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    kinds = {type(link).__name__ for link in chain}
    text = " ".join(str(link) for link in chain)
    first_line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if "GatedRepoError" in kinds or "gated repo" in text:
        return ModelError(f"the model {source} is gated", "accept its terms on huggingface.co and run `hf auth login`")
    if kinds & {"RepositoryNotFoundError", "RevisionNotFoundError"}:
        return ModelError(f"the hub knows no model {source} (or it is private)", "check the id and the revision")
    if "safetensors" in text and ("no file named" in text or "does not appear to have" in text):
        return ModelError(
            f"{source} holds no safetensors weights", "pickled weights are not loaded: convert them, or pick a revision"
        )
    offline = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectionError", "ConnectError", "HfHubHTTPError"}
    if kinds & offline or "couldn't connect" in text or "offline" in text.lower():
        return ModelError(
            f"the hub cannot be reached for {source} and it is not cached", "go online once, or give a local directory"
        )
    if isinstance(error, OSError) and "config.json" in text:
        return ModelError(f"{source} holds no model configuration", "name a directory made by save_pretrained")
    return ModelError(f"{source} cannot be loaded ({first_line[:200]})", "check the model's files")
