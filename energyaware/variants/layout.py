"""Where the weights lie in memory is drawn once per process and shifts its speed by several percent: draw it anew."""

from __future__ import annotations

import random
from typing import Literal

import torch
from torch import nn

from energyaware.work.storage import memory_key, stored_tensors

Policy = Literal["every round", "once per launch"]

LIMIT_BYTES = 512 * 2**20
"""Above this, copying all weights before every round would cost more than the round."""

_LARGEST_PADDING_BYTES = 8 * 2**20


@torch.inference_mode(False)
def redraw(model: nn.Module, rng: random.Random) -> None:
    """Give every parameter, buffer and quantization statistic new memory, in place.

    A random-sized allocation shifts what follows, and the tensors are copied in random order. Tensor objects stay the
    same, so bound methods and tied weights stay valid, and outputs are equal bit for bit. Two objects on the same
    memory (bitsandbytes' int8 weights) share the new memory too. Call the model once, unmetered, afterwards.

    Args:
        model: on any device.
        rng: source of the draw.
    """
    aliases: dict[tuple[object, ...], list[torch.Tensor]] = {}
    for tensor in stored_tensors(model):
        aliases.setdefault(memory_key(tensor), []).append(tensor)
    groups = list(aliases.values())
    rng.shuffle(groups)
    padding = torch.empty(rng.randrange(1, _LARGEST_PADDING_BYTES), dtype=torch.uint8, device=groups[0][0].device)
    for group in groups:
        fresh = group[0].data.clone()
        for tensor in group:
            tensor.data = fresh
    del padding  # it had to live until here, or the copies would not have been shifted


def policy(model: nn.Module, limit_bytes: int = LIMIT_BYTES) -> Policy:
    """How often the layout of this model is redrawn: every round on the CPU up to `limit_bytes`, else once."""
    tensors = {memory_key(tensor): tensor for tensor in stored_tensors(model)}.values()
    on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    small = sum(tensor.nbytes for tensor in tensors) <= limit_bytes
    return "every round" if on_cpu and small else "once per launch"
