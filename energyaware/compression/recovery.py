"""Keep masks while a pruned model is trained again: what is zero stays zero after every optimizer step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from energyaware.compression.linear import linear_maps
from energyaware.errors import CompressionError


def masks_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Where the weights of the blocks' linear maps are not zero, by module name.

    Only maps that hold zeros are listed. Masks are boolean, outputs × inputs (transposed views for `Conv1D`).

    Raises:
        CompressionError: no linear map holds a zero, or the model has no linear layers.
    """
    masks = {linear_map.name: linear_map.weight != 0 for linear_map in linear_maps(model)}
    masks = {name: mask for name, mask in masks.items() if not bool(mask.all())}
    if not masks:
        raise CompressionError(
            f"no weight of {type(model).__name__} is zero, so there is no mask to keep", "prune the model first"
        )
    return masks


def keep_masks(model: nn.Module, masks: dict[str, torch.Tensor] | None = None) -> Callable[[], None]:
    """A function that zeroes again what the masks drop; call it after every optimizer step.

    No hook and no parametrisation stays in the model: it trains, saves and loads as it is. Gradients of dropped weights
    are left alone; they move the optimizer's averages and nothing else.

    Args:
        model: pruned; its parameters must stay the same objects.
        masks: from `masks_of`; by default those the model has now.

    Raises:
        CompressionError: a mask names no linear map of the model or has another shape; see `masks_of`.
    """
    masks = masks_of(model) if masks is None else masks
    maps = {linear_map.name: linear_map for linear_map in linear_maps(model)}
    pairs = []
    for name, mask in masks.items():
        if name not in maps or maps[name].weight.shape != mask.shape:
            raise CompressionError(
                f"the mask of {name} does not fit the model", "take the masks from this model with masks_of"
            )
        pairs.append((maps[name], ~mask))

    @torch.no_grad()
    def keep() -> None:
        for linear_map, dropped in pairs:
            linear_map.weight.masked_fill_(dropped, 0)

    return keep
