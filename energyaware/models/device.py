"""Which device models run on."""

from __future__ import annotations

import torch

from energyaware.errors import ModelError


def resolve(device: str) -> str:
    """`auto` is the GPU where torch sees one, else the CPU; anything else must exist.

    Raises:
        ModelError: a GPU was asked for that torch does not see.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise ModelError(
                f"--energy-device={device}: torch sees {torch.cuda.device_count()} CUDA devices",
                "use --energy-device=cpu, or install a CUDA build of torch",
            )
    return device
