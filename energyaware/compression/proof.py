"""Proof that a compression changed something: what the model stored before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from energyaware.compression.linear import LinearMap, block_lists, is_torchao, linear_maps, quantized_as
from energyaware.errors import CompressionError


@dataclass(frozen=True, slots=True)
class StoredMap:
    """What one linear map stores.

    Attributes:
        dtype: `int8`, `nf4` or `fp4` where bitsandbytes quantized it, else the parameter's dtype.
    """

    name: str
    dtype: str
    weights: int
    zeros: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the blocks of a model store: cheap to keep, because it holds counts and no weights."""

    maps: tuple[StoredMap, ...]
    blocks: int


@dataclass(frozen=True, slots=True)
class LogitChange:
    """How far a model's answers moved from the fp32 dense model's on the same inputs.

    Attributes:
        max_error: largest absolute difference of a logit.
        flips: positions whose most likely class is another one.
        positions: positions compared.
    """

    max_error: float
    flips: int
    positions: int

    @property
    def flip_rate(self) -> float:
        """`flips` over `positions`."""
        return self.flips / self.positions


@dataclass(frozen=True, slots=True)
class Proof:
    """What a compression did to the linear maps of the blocks.

    Attributes:
        weights_changed: weights that were zeroed, removed, or are stored in another type than before. What SparseGPT
            adds to the weights that stay is not counted.
        weights_total: weights before.
        zeros: weights stored as exactly zero, after.
        stored_bytes: bytes of all weights of the model as stored, after.
        modules: names of the linear maps that changed.
        blocks_before: transformer blocks before.
        blocks_after: transformer blocks after.
        weight_dtypes: distinct dtypes of the linear maps, after.
        logits: distance from the fp32 dense model, None where it was not measured.
    """

    weights_changed: int
    weights_total: int
    zeros: int
    stored_bytes: int
    modules: tuple[str, ...]
    blocks_before: int
    blocks_after: int
    weight_dtypes: tuple[str, ...]
    logits: LogitChange | None = None

    @property
    def share_changed(self) -> float:
        """`weights_changed` over `weights_total`."""
        return self.weights_changed / self.weights_total


def snapshot(model: nn.Module) -> Snapshot:
    """Count what the blocks store.

    Raises:
        CompressionError: the model has no linear layers.
    """
    return Snapshot(
        maps=tuple(_stored(linear_map) for linear_map in linear_maps(model)),
        blocks=sum(len(stack) for _, stack in block_lists(model)),
    )


def prove(before: Snapshot, after: Snapshot, stored_bytes: int) -> Proof:
    """Compare two snapshots of one model.

    A map that is stored in another dtype changed whole, one that kept it changed by as many weights as its zeros grew.
    Where blocks were removed, their weights changed; the blocks behind them moved up, so the names that are missing
    afterwards are those of the last positions.
    """
    new = {stored.name: stored for stored in after.maps}
    same_blocks = before.blocks == after.blocks
    changed = {stored.name: _weights_changed(stored, new.get(stored.name), same_blocks) for stored in before.maps}
    return Proof(
        weights_changed=sum(changed.values()),
        weights_total=sum(stored.weights for stored in before.maps),
        zeros=sum(stored.zeros for stored in after.maps),
        stored_bytes=stored_bytes,
        modules=tuple(name for name, count in changed.items() if count),
        blocks_before=before.blocks,
        blocks_after=after.blocks,
        weight_dtypes=tuple(sorted({stored.dtype for stored in after.maps})),
    )


def compare_logits(reference: torch.Tensor, candidate: torch.Tensor) -> LogitChange:
    """Compare the answers of two models to the same inputs.

    Args:
        reference: logits of the fp32 dense model, … × classes.
        candidate: logits of the compressed one, of the same shape, in any dtype.

    Raises:
        CompressionError: other shapes, nothing to compare, or logits that are NaN or infinite.
    """
    if reference.shape != candidate.shape or not reference.numel():
        raise CompressionError(
            f"logits of shapes {tuple(reference.shape)} and {tuple(candidate.shape)} cannot be compared",
            "give both models the same, non-empty inputs",
        )
    expected, found = reference.float().cpu(), candidate.float().cpu()
    for name, logits in (("dense", expected), ("compressed", found)):
        if not bool(torch.isfinite(logits).all()):
            raise CompressionError(
                f"the {name} model gives logits that are NaN or infinite",
                "choose another precision (bf16 has the range of fp32) or another pruning",
            )
    flips = expected.argmax(dim=-1) != found.argmax(dim=-1)
    return LogitChange(float((expected - found).abs().max()), int(flips.sum()), flips.numel())


def require_change(proof: Proof, after: Snapshot, what: str) -> None:
    """Refuse a compression that left every linear map as it was.

    Args:
        proof: the comparison.
        after: where the names of the untouched modules come from.
        what: the compression, for the message.

    Raises:
        CompressionError: names the modules.
    """
    if proof.weights_changed:
        return
    names = [stored.name for stored in after.maps]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    raise CompressionError(
        f"{what} changed none of the {proof.weights_total} weights in {shown}",
        "start from a dense fp32 model, or choose another compression",
    )


def require_dtype(after: Snapshot, dtype: str) -> None:
    """Refuse a model that stores a linear map in another type than `dtype`.

    Raises:
        CompressionError: names the modules.
    """
    others = [f"{stored.name} ({stored.dtype})" for stored in after.maps if stored.dtype != dtype]
    if others:
        raise CompressionError(
            f"{len(others)} modules are not stored as {dtype}: {', '.join(others[:4])}",
            "choose another precision for this model",
        )


def _weights_changed(old: StoredMap, new: StoredMap | None, same_blocks: bool) -> int:
    if new is None or new.dtype != old.dtype:
        return old.weights
    # Where the matrix shrank, what it lost counts, not the zeros that went with it.
    gone = old.weights - new.weights
    return (gone or max(new.zeros - old.zeros, 0)) if same_blocks else 0


def _stored(linear_map: LinearMap) -> StoredMap:
    precision = quantized_as(linear_map.module)
    weight = linear_map.weight
    if is_torchao(linear_map.module):
        codes: torch.Tensor = getattr(linear_map.module.weight, "qdata")  # noqa: B009
        return StoredMap(linear_map.name, "int8", codes.numel(), int((codes == 0).sum()))
    if precision in ("nf4", "fp4"):
        state: Any = getattr(linear_map.module.weight, "quant_state")  # noqa: B009
        return StoredMap(linear_map.name, precision, state.shape.numel(), _four_bit_zeros(weight, state))
    dtype = precision or DTYPE_NAMES.get(weight.dtype, str(weight.dtype))
    return StoredMap(linear_map.name, dtype, weight.numel(), int((weight == 0).sum()))


def _four_bit_zeros(packed: torch.Tensor, state: Any) -> int:
    # Counting codes works on packed and repacked weights alike, because repacking only moves them about.
    data = packed.contiguous().view(torch.uint8)
    zero_codes = (state.code == 0).nonzero().flatten().tolist()
    nibbles = torch.cat([(data & 0xF).flatten(), (data >> 4).flatten()])
    return sum(int((nibbles == code).sum()) for code in zero_codes)


DTYPE_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
