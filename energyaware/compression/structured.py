"""Depth pruning: whole transformer blocks are removed, so that less is computed on any hardware.

Source: Gromov et al. 2024, "The Unreasonable Ineffectiveness of the Deeper Layers": a contiguous run of blocks goes.
Without data it is the run that ends just before the final block, which is the one whose removal hurts (the paper's
simple strategy); with calibration data it is the run over which the hidden states turn least (its main strategy).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from energyaware.compression.calibration import Batch, checked, model_inputs
from energyaware.compression.linear import block_lists
from energyaware.compression.masks import check_sparsity
from energyaware.errors import CompressionError


def drop_layers(model: Any, fraction: float, calibration: Iterable[Batch] | None = None) -> tuple[int, ...]:
    """Remove round(fraction · blocks) blocks of every stack, in place: a contiguous run before the last block.

    The depths in the config and its per-layer lists follow, and so does `layer_idx` (`layer_id`) of every module in the
    blocks, so key-value caches work and the model saves and loads again. A first block that holds what the others lack
    (T5's position bias) stays.

    Args:
        model: a transformers model; an encoder-decoder loses the same share of both stacks.
        fraction: share of blocks to remove, inside (0, 1).
        calibration: batches of token ids that choose the run; None takes the deepest one.

    Returns:
        Indices of the removed blocks of the last stack (the decoder's), in the order of the original model.

    Raises:
        CompressionError: fraction outside (0, 1); no block, or all blocks but none left, would go; no stack, or several
            in a model that is no encoder-decoder; an empty calibration set.
    """
    check_sparsity(fraction)
    stacks = block_lists(model)
    allowed = 2 if getattr(getattr(model, "config", None), "is_encoder_decoder", False) else 1
    if len(stacks) != allowed:
        raise CompressionError(
            f"{type(model).__name__} has {len(stacks)} stacks of blocks, not {allowed}",
            "choose a decoder-only model or T5 for depth pruning",
        )
    chosen = {
        name: dropped_blocks(len(stack), fraction, first_stays=_first_is_special(stack)) for name, stack in stacks
    }
    if calibration is not None:
        turns = _turns(model, stacks, chosen, checked(calibration))
        chosen = {name: min(turns[name], key=lambda run: (turns[name][run], -run[0])) for name in chosen}
    removed: tuple[int, ...] = ()
    for position, (name, stack) in enumerate(stacks):
        removed = chosen[name]
        kept = [index for index in range(len(stack)) if index not in removed]
        model.set_submodule(name, nn.ModuleList([stack[index] for index in kept]))
        for new_index, block in enumerate(model.get_submodule(name)):
            for module in block.modules():
                for attribute in ("layer_idx", "layer_id"):
                    if isinstance(getattr(module, attribute, None), int):
                        setattr(module, attribute, new_index)
        owner = model.get_submodule(name.rpartition(".")[0])
        decoder = position == 1
        configs = {id(config): config for config in (model.config, getattr(owner, "config", model.config))}
        for config in configs.values():
            # T5's decoder has a config of its own, whose depth is that of the decoder.
            _shorten_config(config, len(stack), kept, decoder=decoder and config is model.config)
    return removed


def dropped_blocks(depth: int, fraction: float, *, first_stays: bool = False) -> tuple[int, ...]:
    """Which of `depth` blocks `drop_layers` removes without data.

    Args:
        depth: blocks of the stack.
        fraction: share to remove.
        first_stays: the first block must not go; then the last one goes where nothing else is left.

    Raises:
        CompressionError: no block would go, or none would stay.
    """
    count = round(fraction * depth)
    if not 0 < count < depth:
        raise CompressionError(
            f"removing {fraction:.0%} of {depth} blocks would remove {count} of them",
            "choose a share that removes at least one block and leaves at least one",
        )
    start = max(depth - 1 - count, int(first_stays))
    return tuple(range(start, start + count))


def _first_is_special(stack: nn.ModuleList) -> bool:
    names = [{name for name, _ in block.named_parameters()} for block in itertools.islice(stack, 2)]
    return len(names) == 2 and not names[0] <= names[1]


@torch.no_grad()
def _turns(
    model: Any,
    stacks: tuple[tuple[str, nn.ModuleList], ...],
    default: dict[str, tuple[int, ...]],
    batches: tuple[Batch, ...],
) -> dict[str, dict[tuple[int, ...], float]]:
    """Mean angle (radians / π) by which each allowed run turns the hidden states, per stack."""
    totals: dict[str, dict[tuple[int, ...], float]] = {}
    for name, stack in stacks:
        count = len(default[name])
        first = min(int(_first_is_special(stack)), default[name][0])
        last = max(len(stack) - 1 - count, default[name][0])
        totals[name] = {tuple(range(start, start + count)): 0.0 for start in range(first, last + 1)}
    for batch in batches:
        states: dict[str, list[torch.Tensor]] = {name: [] for name, _ in stacks}
        handles = [
            block.register_forward_pre_hook(_recorder(states[name]), with_kwargs=True)
            for name, stack in stacks
            for block in stack
        ]
        try:
            model(**model_inputs(model, batch), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        for name, runs in totals.items():
            for run in runs:
                if run[-1] + 1 < len(states[name]):
                    similarity = torch.cosine_similarity(states[name][run[0]], states[name][run[-1] + 1], dim=-1)
                    runs[run] += float(similarity.clamp(-1, 1).arccos().mean()) / torch.pi
    return totals


def _recorder(states: list[torch.Tensor]) -> Any:
    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    return record


def _shorten_config(config: Any, depth: int, kept: list[int], *, decoder: bool) -> None:
    if decoder:
        config.num_decoder_layers = len(kept)
        return
    # Lists first and the depth with them: transformers checks that per-layer lists are as long as the depth.
    for key, value in list(vars(config).items()):
        if isinstance(value, (list, tuple)) and len(value) == depth and key.startswith(("layer_", "attention_layers")):
            setattr(config, key, [value[index] for index in kept])
    if hasattr(config, "attention_types"):
        # GPT-Neo stores its list of kinds in runs, from which it is expanded when a config is read.
        config.attention_types = [[[kind], 1] for kind in config.attention_layers]
    config.num_hidden_layers = len(kept)
