"""Depth pruning: whole transformer blocks are removed, so that less is computed on any hardware."""

from __future__ import annotations

from typing import Any

from torch import nn

from energyaware.compression.linear import block_lists
from energyaware.compression.pruning import check_sparsity
from energyaware.errors import CompressionError


def drop_layers(model: Any, fraction: float) -> tuple[int, ...]:
    """Remove round(fraction · blocks) blocks in place: the deepest ones before the last, which stays.

    Rule: the simple strategy of Gromov et al. 2024, "The Unreasonable Ineffectiveness of the Deeper Layers": a
    contiguous run that ends just before the final block, which is the one whose removal hurts. No data is needed.
    `num_hidden_layers` and per-layer lists in the config follow, and so does `layer_idx` of every module in the blocks,
    so key-value caches work and the model saves and loads again.

    Args:
        model: a transformers model with one stack of blocks.
        fraction: share of blocks to remove, inside (0, 1).

    Returns:
        Indices of the removed blocks, in the order of the original model.

    Raises:
        CompressionError: fraction outside (0, 1); no block, or all blocks but none left, would go; not one stack.
    """
    check_sparsity(fraction)
    stacks = block_lists(model)
    if len(stacks) != 1:
        raise CompressionError(
            f"{type(model).__name__} has {len(stacks)} stacks of blocks, not one",
            "choose a decoder-only model for depth pruning",
        )
    name, stack = stacks[0]
    depth = len(stack)
    removed = dropped_blocks(depth, fraction)
    kept = [index for index in range(depth) if index not in removed]
    model.set_submodule(name, nn.ModuleList([stack[index] for index in kept]))
    for new_index, block in enumerate(model.get_submodule(name)):
        for module in block.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                module.layer_idx = new_index
    _shorten_config(model.config, depth, kept)
    return removed


def dropped_blocks(depth: int, fraction: float) -> tuple[int, ...]:
    """Which of `depth` blocks `drop_layers` removes.

    Raises:
        CompressionError: no block would go, or none would stay.
    """
    count = round(fraction * depth)
    if not 0 < count < depth:
        raise CompressionError(
            f"removing {fraction:.0%} of {depth} blocks would remove {count} of them",
            "choose a share that removes at least one block and leaves at least one",
        )
    return tuple(range(depth - 1 - count, depth - 1))


def _shorten_config(config: Any, depth: int, kept: list[int]) -> None:
    # Lists first and the depth with them: transformers checks that per-layer lists are as long as the depth.
    for key, value in list(vars(config).items()):
        if isinstance(value, (list, tuple)) and len(value) == depth and key.startswith(("layer_", "attention_")):
            setattr(config, key, [value[index] for index in kept])
    config.num_hidden_layers = len(kept)
