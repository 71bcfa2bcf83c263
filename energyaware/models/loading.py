"""Load a model through transformers' own `from_pretrained`: safetensors only, never code from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from energyaware.errors import ModelError
from energyaware.models.hub import (
    ask_hub,
    explain_hub_error,
    missing_shards,
    require_safetensors,
    require_shards_of_hub,
)


def load_model(
    source: str | Path,
    *,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    quantization_config: Any = None,
    device_map: Any = None,
) -> Any:
    """Load a language model in evaluation mode: causal, or encoder-decoder where its configuration says so.

    A checkpoint that brings its own code (`auto_map`) is loaded where transformers has the architecture too, by
    transformers' class; else it is refused.

    Args:
        source: local directory or Hugging Face id.
        dtype: of the weights; None takes what the files hold.
        revision: git revision on the hub.
        quantization_config: passed through, for instance `transformers.BitsAndBytesConfig`.
        device_map: passed through.

    Returns:
        a `transformers.PreTrainedModel`; its `generation_config` is the checkpoint's where there is one.

    Raises:
        ModelError: missing, unreachable or gated, pickles only, in need of code of its own, incomplete or damaged.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from transformers.utils import logging

    # Bars of a second's work would stand between the rows of a test run.
    logging.disable_progress_bar()
    place = _hub_options(source, revision, weights=True)
    options: dict[str, Any] = {"use_safetensors": True, "dtype": dtype or "auto", "output_loading_info": True}
    if quantization_config is not None:
        options["quantization_config"] = quantization_config
    if device_map is not None:
        options["device_map"] = device_map
    try:
        config = AutoConfig.from_pretrained(str(source), **place)
        auto_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, loading = auto_class.from_pretrained(str(source), config=config, **place, **options)
    except Exception as error:  # transformers, the hub and safetensors raise dozens of types
        raise _explained(source, error) from error
    # transformers fills a gap with random numbers and goes on.
    if loading["missing_keys"]:
        names = sorted(loading["missing_keys"])
        raise ModelError(
            f"{source} lacks {len(names)} weights of a {type(model).__name__} ({names[0]}, …)",
            "name a checkpoint of a language model with its head",
        )
    return model.eval()


# The former name, under which benchmarks and variants import it.
load_causal_lm = load_model


def load_tokenizer(source: str | Path, *, revision: str | None = None) -> Any:
    """Load a tokenizer. Where it has no padding token, its end-of-text token takes that place.

    Raises:
        ModelError: missing, unreachable or gated, in need of code of its own, or damaged.
    """
    from transformers import AutoTokenizer

    place = _hub_options(source, revision, weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), **place)
    except Exception as error:  # see load_model
        raise _explained(source, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _hub_options(source: str | Path, revision: str | None, *, weights: bool) -> dict[str, Any]:
    """Where `from_pretrained` shall look, once it is clear that looking there makes sense.

    Raises:
        ModelError: see `load_model`.
    """
    options: dict[str, Any] = {"trust_remote_code": False}
    if isinstance(source, Path) and not source.is_dir():
        raise ModelError(f"there is no model directory {source}", "check the path")
    directory = Path(source)
    if directory.is_dir():
        if not (directory / "config.json").is_file():
            raise ModelError(f"{source} holds no model configuration", "name a directory made by save_pretrained")
        if weights:
            require_safetensors(str(source), (file.name for file in directory.iterdir()))
            absent = missing_shards(directory)
            if absent:
                raise ModelError(f"{source} lacks the shard {absent[0]}", "download or save the model again")
        return options
    if revision is not None:
        options["revision"] = revision
    answer = ask_hub(str(source), revision)
    if not answer.online:
        options["local_files_only"] = True
    elif weights:
        require_safetensors(str(source), answer.files)
        require_shards_of_hub(str(source), answer.files, revision)
    return options


def _explained(source: str | Path, error: Exception) -> ModelError:
    """Translate what transformers and the hub raise into a cause and a remedy."""
    if isinstance(error, ModelError):
        return error
    of_hub = explain_hub_error(str(source), error)
    if of_hub is not None:
        return of_hub
    text = str(error)
    if "custom code" in text or "trust_remote_code" in text:
        return ModelError(
            f"{source} needs code of its own (auto_map), and a model's code is never run here",
            "choose a model whose architecture transformers itself has",
        )
    if "does not recognize this architecture" in text or "Unrecognized configuration class" in text:
        return ModelError(
            f"{source} is of an architecture that this transformers cannot load as a language model",
            "upgrade transformers, or choose a causal or encoder-decoder language model",
        )
    first_line = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return ModelError(f"{source} cannot be loaded ({first_line[:200]})", "check the model's files")
