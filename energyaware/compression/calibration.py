"""Calibration: what flows into the linear maps of each block, one block after the other.

Blocks are visited in the order in which the model runs them, and each sees what the blocks before it, already
compressed, give it. The model itself calls the block that is visited, so its masks, positions and whatever one block
hands to the next (T5's position bias) are right without any knowledge of the architecture: the blocks before it are
replaced by stand-ins that answer with what was recorded, the blocks after it are never reached. Memory: the weights,
the recorded outputs of one block, and the statistics of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from energyaware.compression.linear import LinearMap, block_lists, maps_in
from energyaware.errors import CompressionError

Batch = torch.Tensor | Mapping[str, torch.Tensor]
"""Token ids (batch × tokens), or keyword arguments of the model. Without padding: padded positions would count too."""

Observer = Callable[[LinearMap, torch.Tensor], None]
"""Told of every call of a linear map in the visited block: the map and its input, tokens × inputs, in fp32."""


class _Reached(Exception):  # noqa: N818 - no error: it ends a forward pass where nothing more is needed
    pass


def model_inputs(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Keyword arguments that run the model on `batch`, on the model's device.

    An encoder-decoder that is given token ids alone decodes these same tokens.
    """
    inputs = dict(batch) if isinstance(batch, Mapping) else {"input_ids": batch}
    decoder = ("decoder_input_ids", "decoder_inputs_embeds", "labels")
    if getattr(model.config, "is_encoder_decoder", False) and not any(name in inputs for name in decoder):
        inputs["decoder_input_ids"] = inputs["input_ids"]
    device = next(model.parameters()).device
    return {name: value.to(device) for name, value in inputs.items()}


def checked(batches: Iterable[Batch]) -> tuple[Batch, ...]:
    """All batches at once, refused where there is nothing to learn from.

    Raises:
        CompressionError: no batch, or no tokens in any of them; token ids that are not integers.
    """
    found = tuple(batches)
    tokens = 0
    for batch in found:
        ids = batch.get("input_ids") if isinstance(batch, Mapping) else batch
        if ids is None or ids.is_floating_point() or ids.ndim != 2:
            raise CompressionError(
                "a calibration batch holds no token ids of shape batch × tokens",
                "give integer tensors, or mappings with input_ids",
            )
        tokens += ids.numel()
    if not tokens:
        raise CompressionError(
            "the calibration set is empty", "give batches of token ids, for instance from the training split"
        )
    return found


def packed_batches(
    sequences: Iterable[Sequence[int]], *, length: int = 128, batch_size: int = 8, limit: int = 16
) -> tuple[torch.Tensor, ...]:
    """String token sequences together and cut them into full batches, so that nothing is padded.

    Args:
        sequences: token ids of one text each; end marks, where wanted, included.
        length: tokens of one row.
        batch_size: rows of one batch.
        limit: most batches.

    Returns:
        Integer tensors batch_size × length; where the texts are too few for one batch, one smaller batch.

    Raises:
        CompressionError: no tokens at all.
    """
    wanted = length * batch_size * limit
    tokens: list[int] = []
    for sequence in sequences:
        tokens.extend(sequence)
        if len(tokens) >= wanted:
            break
    if not tokens:
        raise CompressionError("the calibration texts hold no tokens", "give texts of the training split")
    length = min(length, len(tokens))
    rows = torch.tensor(tokens[: len(tokens) // length * length][:wanted]).view(-1, length)
    full = len(rows) // batch_size * batch_size
    return tuple(rows[start : start + batch_size] for start in range(0, full, batch_size)) or (rows,)


@torch.no_grad()
def visit_blocks(
    model: Any,
    batches: Iterable[Batch],
    observer_of: Callable[[nn.Module, tuple[LinearMap, ...]], Observer],
    change: Callable[[nn.Module, tuple[LinearMap, ...]], None],
    outputs_seen: Callable[[nn.Module, torch.Tensor, torch.Tensor], None] | None = None,
) -> None:
    """Visit every block: observe its linear maps on all batches, change it, pass its new outputs on.

    Args:
        model: in evaluation mode, in fp32.
        batches: what it reads.
        observer_of: called with a block and its linear maps, gives who is told of their inputs.
        change: called once the block has seen all batches.
        outputs_seen: told of the hidden states before and after a block (batch × tokens × hidden), before `change`.

    Raises:
        CompressionError: nothing to calibrate on; the model runs its blocks in another order than it lists them.
    """
    inputs = [model_inputs(model, batch) for batch in checked(batches)]
    last_of_stack: list[tuple[nn.ModuleList, list[Any]]] = []
    for name, stack in block_lists(model):
        before: list[Any] | None = None
        for index, block in enumerate(stack):
            maps = maps_in(block, f"{name}.{index}")
            stand_ins = [*last_of_stack, *([(stack, before)] if before is not None else [])]
            with _observed(maps, observer_of(block, maps)):
                _run(model, inputs, block, index, stand_ins, outputs_seen)
            change(block, maps)
            before = _run(model, inputs, block, index, stand_ins, None)
        if before is not None:
            last_of_stack.append((stack, before))


def _run(
    model: Any,
    inputs: list[dict[str, torch.Tensor]],
    block: nn.Module,
    index: int,
    stand_ins: list[tuple[nn.ModuleList, list[Any]]],
    outputs_seen: Callable[[nn.Module, torch.Tensor, torch.Tensor], None] | None,
) -> list[Any]:
    """What `block` answers to each batch, with the finished stacks and the blocks before it replaced by answers."""
    answers: list[Any] = []
    position = 0

    def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        answers.append(output)
        if outputs_seen is not None:
            hidden = args[0] if args else kwargs["hidden_states"]
            outputs_seen(block, hidden, output if isinstance(output, torch.Tensor) else output[0])
        raise _Reached

    replaced: list[nn.Module] = []
    handle = block.register_forward_hook(stop, with_kwargs=True)
    try:
        for stack, recorded in stand_ins:
            for other in stack:
                if other is block:
                    break
                other.forward = lambda *_, recorded=recorded, **__: recorded[position]
                replaced.append(other)
        for position, batch in enumerate(inputs):  # noqa: B007 - the stand-ins read it
            try:
                model(**batch, use_cache=False)
            except _Reached:
                continue
            raise CompressionError(
                f"{type(model).__name__} did not run its block {index} on the calibration data",
                "choose a pruning that needs no calibration, such as magnitude-50",
            )
    finally:
        handle.remove()
        for other in replaced:
            del other.forward
    return answers


@contextmanager
def _observed(maps: tuple[LinearMap, ...], observer: Observer) -> Iterator[None]:
    def hook_of(linear_map: LinearMap) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            observer(linear_map, args[0].reshape(-1, args[0].shape[-1]).float())

        return hook

    handles = [linear_map.module.register_forward_pre_hook(hook_of(linear_map)) for linear_map in maps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
