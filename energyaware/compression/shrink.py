"""Structured pruning inside the blocks: MLP width and attention heads, with matrices that are really smaller.

Importance. Of a hidden unit j of an MLP: ‖xⱼ‖₂ · ‖W_down[:, j]‖₂, the size of what it adds to the block's output over
the calibration tokens (Wanda's score, Sun et al. 2024, summed over outputs as in FLAP, An et al. 2024). Without data
‖xⱼ‖₂ gives way to the norms of the weights that make xⱼ (after Li et al. 2017). Of an attention head: the root of the
summed squares of the same score over its dimensions, where x enters the output map; without data ‖xⱼ‖₂ gives way to the
norm of the row of the value map that makes it.

transformers' configs know one width and one number of heads for all blocks, so every block keeps the same number, and
the model saves and loads again. Which ones it keeps each block decides for itself, except where one position bias
serves the heads of all blocks (T5). Hidden widths are rounded to multiples of 64, which 4-bit CPU kernels and tensor
cores want; heads are not divided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from energyaware.compression.calibration import Batch, visit_blocks
from energyaware.compression.linear import LinearMap, block_lists, linear_maps, maps_in, quantized_as
from energyaware.compression.masks import check_finite, check_sparsity
from energyaware.errors import CompressionError

MULTIPLE = 64

# Names by which transformers' architectures call the two sides of an MLP, and where their configs keep its width.
_MLPS = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("wi_0", "wi_1"), "wo"),
    (("wi",), "wo"),
    (("c_fc",), "c_proj"),
    (("fc_in",), "fc_out"),
    (("dense_h_to_4h",), "dense_4h_to_h"),
)
_WIDTH_KEYS = ("intermediate_size", "n_inner", "ffn_hidden_size", "d_ff")
_ATTENTIONS = ((("q_proj", "k_proj", "v_proj"), "o_proj"), (("q", "k", "v"), "o"))
_HEAD_DIM_KEYS = ("head_dim", "d_kv")


@dataclass(frozen=True, slots=True)
class Group:
    """Linear maps of one module that share an inner dimension.

    Attributes:
        name: of the module that holds them.
        owner: that module.
        into: maps whose outputs are the inner dimension.
        out: the map whose inputs are the inner dimension.
    """

    name: str
    owner: nn.Module
    into: tuple[LinearMap, ...]
    out: LinearMap


def shrink_width(model: Any, fraction: float, calibration: Iterable[Batch] | None = None) -> tuple[int, int]:
    """Remove the least important hidden units of every MLP, in place.

    Args:
        model: transformers model in floating point.
        fraction: share to remove, inside (0, 1); what stays is rounded to a multiple of 64, at least 64.
        calibration: batches of token ids without padding; None ranks by the weights alone.

    Returns:
        Hidden units of each MLP before and after.

    Raises:
        CompressionError: fraction outside (0, 1), no MLP that is known, a width that rounding would leave as it is,
            quantized weights, weights that are not finite, or an empty calibration set.
    """
    check_sparsity(fraction)
    groups = _groups(model, _MLPS)
    key = next((key for key in _WIDTH_KEYS if key in model.config.to_dict()), None)
    if not groups or key is None:
        raise CompressionError(
            f"{type(model).__name__} ({_first_block(model)}) has no MLP whose width its config can change",
            "choose another pruning for this model",
        )
    widths = {group.out.weight.shape[1] for group in groups}
    if len(widths) != 1:
        raise CompressionError(
            f"the MLPs of {type(model).__name__} have different widths: {', '.join(map(str, sorted(widths)))}",
            "choose another pruning for this model",
        )
    width = widths.pop()
    kept = max(round(width * (1 - fraction) / MULTIPLE), 1) * MULTIPLE
    if kept >= width:
        raise CompressionError(
            f"{groups[0].name} is {width} wide, and {1 - fraction:.0%} of that is {kept} in steps of {MULTIPLE}",
            "remove a larger share, or choose a wider model",
        )
    importance = _importance(model, groups, calibration)
    for group in groups:
        units = _best(importance[group.name], kept)
        for linear_map in group.into:
            select(linear_map.module, outputs=units)
        select(group.out.module, inputs=units)
    for config in _configs(model):
        setattr(config, key, kept)
    return width, kept


def drop_heads(model: Any, fraction: float, calibration: Iterable[Batch] | None = None) -> tuple[int, int]:
    """Remove the least important attention heads of every attention module, in place.

    Where several query heads share a key head, they go together. The head dimension stays, so this needs a config that
    names it apart from the hidden size: Mistral's, Llama's, T5's. GPT-2, GPT-Neo, GPT-J and Falcon divide the hidden
    size by the number of heads.

    Args:
        model: transformers model in floating point.
        fraction: share to remove, inside (0, 1).
        calibration: batches of token ids without padding; None ranks by the weights alone.

    Returns:
        Attention heads of each module before and after.

    Raises:
        CompressionError: fraction outside (0, 1); a config that cannot say fewer heads (module and reason are named);
            no head, or every head, would go; quantized weights, weights that are not finite, or no calibration data.
    """
    check_sparsity(fraction)
    config = model.config
    head_dim = next((getattr(config, key) for key in _HEAD_DIM_KEYS if key in config.to_dict()), None)
    groups = _groups(model, _ATTENTIONS)
    if head_dim is None or not groups:
        raise CompressionError(
            f"the attention of {_first_block(model)} has hidden size / heads as its head dimension, "
            f"so {type(config).__name__} cannot say fewer heads",
            "choose width-50 or depth-50 for this model",
        )
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    shared = heads // key_heads
    kept = key_heads - round(fraction * key_heads)
    if not 0 < kept < key_heads:
        raise CompressionError(
            f"removing {fraction:.0%} of {key_heads} groups of heads in {groups[0].name} would leave {kept}",
            "choose a share that removes at least one and leaves at least one",
        )
    _require_valid(config, kept * shared, kept, groups[0].name)
    importance = {
        name: values.view(key_heads, -1).sum(dim=1)
        for name, values in _importance(model, groups, calibration, head_dim).items()
    }
    for _, members in _by_stack(model, groups):
        # T5's first block computes a bias per head that all blocks of its stack use.
        common = any(hasattr(group.owner, "relative_attention_bias") for group in members)
        joint = torch.stack([importance[group.name] for group in members]).sum(dim=0)
        for group in members:
            chosen = _best(joint if common else importance[group.name], kept)
            _shrink_attention(group, chosen, head_dim, shared)
    for owned in _configs(model):
        owned.num_attention_heads = kept * shared
        if "num_key_value_heads" in owned.to_dict():
            owned.num_key_value_heads = kept
    return heads, kept * shared


@torch.no_grad()
def select(module: Any, outputs: torch.Tensor | None = None, inputs: torch.Tensor | None = None) -> None:
    """Keep these outputs and inputs of a linear map, in place; the weight is a new, smaller parameter."""
    weight = module.weight
    transposed = isinstance(module, Conv1D)
    for indices, dimension in ((outputs, 0), (inputs, 1)):
        if indices is not None:
            weight = weight.index_select(1 - dimension if transposed else dimension, indices)
    module.weight = nn.Parameter(weight.contiguous(), requires_grad=module.weight.requires_grad)
    if outputs is not None and module.bias is not None:
        module.bias = nn.Parameter(module.bias[outputs].clone(), requires_grad=module.bias.requires_grad)
    if transposed:
        module.nx, module.nf = module.weight.shape
    else:
        module.out_features, module.in_features = module.weight.shape


def _shrink_attention(group: Group, chosen: torch.Tensor, head_dim: int, shared: int) -> None:
    query, key, value = group.into
    key_rows = _rows(chosen, head_dim)
    query_rows = _rows(_rows(chosen, shared), head_dim)
    select(query.module, outputs=query_rows)
    select(key.module, outputs=key_rows)
    select(value.module, outputs=key_rows)
    select(group.out.module, inputs=query_rows)
    owner: Any = group.owner
    if hasattr(owner, "n_heads"):
        owner.n_heads = len(chosen) * shared
        owner.inner_dim = owner.n_heads * head_dim
    bias = getattr(owner, "relative_attention_bias", None)
    if bias is not None:
        bias.weight = nn.Parameter(bias.weight.detach()[:, _rows(chosen, shared)].contiguous())
        bias.embedding_dim = bias.weight.shape[1]


def _rows(units: torch.Tensor, size: int) -> torch.Tensor:
    """Indices of the rows that belong to units of `size` rows each."""
    return (units[:, None] * size + torch.arange(size, device=units.device)).flatten()


def _best(importance: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of the `count` most important units, in their old order; among equals the first."""
    return importance.argsort(descending=True, stable=True)[:count].sort().values


def _importance(
    model: Any, groups: tuple[Group, ...], calibration: Iterable[Batch] | None, head_dim: int | None = None
) -> dict[str, torch.Tensor]:
    """Squared importance of each inner dimension of each group."""
    for group in groups:
        for linear_map in (*group.into, group.out):
            if quantized_as(linear_map.module) is not None:
                raise CompressionError(
                    f"{linear_map.name} is quantized, so no unit can be taken out",
                    "prune first and quantize afterwards",
                )
            check_finite(linear_map.weight, linear_map.name)
    out_norms = {group.name: group.out.weight.square().sum(dim=0) for group in groups}
    if calibration is None:
        return {group.name: out_norms[group.name] * _into_norms(group, head_dim) for group in groups}
    names = {group.out.name: group.name for group in groups}
    squares: dict[str, torch.Tensor] = {}

    def observe(linear_map: LinearMap, x: torch.Tensor) -> None:
        if linear_map.name in names:
            name = names[linear_map.name]
            squares[name] = squares.get(name, 0) + x.square().sum(dim=0)

    visit_blocks(model, calibration, lambda *_: observe, lambda *_: None)
    for group in groups:
        if group.name not in squares:
            raise CompressionError(f"no calibration token reaches {group.out.name}", "calibrate on more data")
        check_finite(squares[group.name], f"the list of input norms of {group.out.name}")
    return {name: squares[name] * out_norms[name] for name in out_norms}


def _into_norms(group: Group, head_dim: int | None) -> torch.Tensor:
    """Squared norms of the weights that make each inner dimension."""
    inner = group.out.weight.shape[1]
    if head_dim is None:
        norms = torch.ones(inner, device=group.out.weight.device)
        for linear_map in group.into:
            norms = norms * linear_map.weight.square().sum(dim=1)
        return norms
    # Attention mixes values over time, not over dimensions; query heads that share a value head get the same values.
    value = group.into[2].weight.square().sum(dim=1).view(-1, 1, head_dim)
    return value.expand(-1, inner // value.numel(), -1).flatten()


def _groups(model: Any, names: tuple[tuple[tuple[str, ...], str], ...]) -> tuple[Group, ...]:
    found = []
    for stack_name, stack in block_lists(model):
        for index, block in enumerate(stack):
            maps = {linear_map.name: linear_map for linear_map in maps_in(block, f"{stack_name}.{index}")}
            for holder in dict.fromkeys(name.rpartition(".")[0] for name in maps):
                for into, out in names:
                    parts = [maps.get(f"{holder}.{part}") for part in (*into, out)]
                    if all(part is not None for part in parts):
                        *first, last = (part for part in parts if part is not None)
                        found.append(Group(holder, model.get_submodule(holder), tuple(first), last))
                        break
    return tuple(found)


def _by_stack(model: Any, groups: tuple[Group, ...]) -> list[tuple[str, list[Group]]]:
    """Groups of the same stack and the same name inside the block belong together (T5: self and cross attention)."""
    together: dict[str, list[Group]] = {}
    for stack_name, _ in block_lists(model):
        for group in groups:
            if group.name.startswith(f"{stack_name}."):
                inside = group.name.removeprefix(f"{stack_name}.").partition(".")[2]
                together.setdefault(f"{stack_name}:{inside}", []).append(group)
    return list(together.items())


def _configs(model: Any) -> list[Any]:
    """The model's config and the copies that its encoder and decoder hold."""
    found = [module.config for module in model.modules() if hasattr(module, "config")]
    return list({id(config): config for config in (model.config, *found)}.values())


def _require_valid(config: Any, heads: int, key_heads: int, name: str) -> None:
    key = type(config).attribute_map.get("num_attention_heads", "num_attention_heads")
    values = config.to_dict() | {key: heads}
    if "num_key_value_heads" in values:
        values["num_key_value_heads"] = key_heads
    try:
        type(config).from_dict(values)
    except Exception as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CompressionError(
            f"{name} cannot keep {heads} heads, because {type(config).__name__} refuses it ({reason})",
            "choose another share, or width-50",
        ) from error


def _first_block(model: Any) -> str:
    return linear_maps(model)[0].name
