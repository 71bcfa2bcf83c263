"""Which devices models run on."""

from __future__ import annotations

import torch

from energyaware.config import gpus_of
from energyaware.errors import ModelError


def resolve(device: str) -> str:
    """The device where models run and inputs go: `auto` is the GPU where torch sees one, else the CPU; of several GPUs
    it is that of the lowest number. Anything else must exist.

    Raises:
        ModelError: a GPU was asked for that torch does not see.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        named = gpus_of(device) or (0,)
        if not torch.cuda.is_available() or max(named) >= torch.cuda.device_count():
            raise ModelError(
                f"--energy-device={device}: torch sees {torch.cuda.device_count()} CUDA devices",
                "use --energy-device=cpu, or install a CUDA build of torch",
            )
        if device == "cuda:all" or len(named) > 1:
            return f"cuda:{min(named)}"
    return device


def spread_gpus(device: str) -> tuple[int, ...]:
    """The GPUs over which models are spread, in order; empty where each runs on a single device.

    Raises:
        ModelError: as `resolve`.
    """
    resolve(device)
    named = tuple(range(torch.cuda.device_count())) if device == "cuda:all" else gpus_of(device) or ()
    return tuple(sorted(named)) if len(named) > 1 else ()
