"""Checkpoints of a training run: one safetensors file, replaced in one step; nothing in it can run code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FILE = "checkpoint.safetensors"


def save_checkpoint(
    directory: Path, model: Any, optimizers: list[torch.optim.Optimizer], facts: dict[str, Any]
) -> None:
    """Write weights, optimizer state and `facts` (JSON values) so that a reader finds the old or the new one."""
    tensors = {f"model.{name}": value.detach().clone() for name, value in model.named_parameters()}
    for index, optimizer in enumerate(optimizers):
        for key, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{index}.{key}.{name}"] = torch.as_tensor(value).clone()
    partial = directory / f"{FILE}.{os.getpid()}.partial"
    try:
        save_file(tensors, partial, metadata={"facts": json.dumps(facts)})
        partial.replace(directory / FILE)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(
    directory: Path, model: Any, optimizers: list[torch.optim.Optimizer], facts: dict[str, Any]
) -> dict[str, Any] | None:
    """Restore the last checkpoint in place.

    Args:
        facts: what the checkpoint's facts must agree with; others may be there too.

    Returns:
        the checkpoint's facts, or None where there is no checkpoint, a damaged one, or one of another run.
    """
    try:
        with safe_open(directory / FILE, framework="pt") as stored:
            found: dict[str, Any] = json.loads(stored.metadata()["facts"])
            if any(found.get(key) != value for key, value in facts.items()):
                return None
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  not a dict
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for index, optimizer in enumerate(optimizers):
        whole = optimizer.state_dict()
        whole["state"] = {}
        prefix = f"optimizer.{index}."
        for name, value in tensors.items():
            if name.startswith(prefix):
                key, entry = name[len(prefix) :].split(".", 1)
                whole["state"].setdefault(int(key), {})[entry] = value
        optimizer.load_state_dict(whole)
    return found
