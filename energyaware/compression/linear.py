"""Find the linear maps of a model's transformer blocks by structure, and turn all of them into `nn.Linear`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from energyaware.errors import CompressionError


@dataclass(frozen=True, slots=True)
class LinearMap:
    """One linear map y = W x + b inside a block: an `nn.Linear`, a subclass of it, or a transformers `Conv1D`."""

    name: str
    module: nn.Module

    @property
    def weight(self) -> torch.Tensor:
        """W as a view of the stored parameter: rows are outputs, columns are inputs.

        `Conv1D` stores its weight as inputs × outputs, so its view is transposed; writing to the view writes to the
        parameter. Quantized modules give what they store, which need not have this shape.
        """
        weight = self.module.get_parameter("weight").detach()
        return weight.T if isinstance(self.module, Conv1D) else weight


def block_lists(model: nn.Module) -> tuple[tuple[str, nn.ModuleList], ...]:
    """The stacks of transformer blocks: outermost module lists whose members share a class and hold linear maps.

    One for a decoder, two for an encoder-decoder. Lists inside a block (experts, sub-layers) belong to the block.
    """
    stacks: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) == 0:
            continue
        if any(name.startswith(f"{outer}.") for outer, _ in stacks):
            continue
        if len({type(block) for block in module}) == 1 and any(_is_linear(inner) for inner in module.modules()):
            stacks.append((name, module))
    return tuple(stacks)


def linear_maps(model: nn.Module) -> tuple[LinearMap, ...]:
    """Every linear map inside the blocks, in the order of the model. Embeddings and the output head are outside.

    Raises:
        CompressionError: the model has none.
    """
    maps = tuple(
        LinearMap(f"{stack_name}.{name}", module)
        for stack_name, stack in block_lists(model)
        for name, module in stack.named_modules()
        if _is_linear(module)
    )
    if not maps:
        raise CompressionError(
            f"{type(model).__name__} has no linear layers inside a list of blocks",
            "choose a transformer language model whose blocks hold nn.Linear or Conv1D modules",
        )
    return maps


def maps_in(block: nn.Module, prefix: str) -> tuple[LinearMap, ...]:
    """The linear maps of one block, named `prefix.…`; empty where it has none."""
    return tuple(
        LinearMap(".".join(filter(None, (prefix, name))), module)
        for name, module in block.named_modules()
        if _is_linear(module)
    )


def quantized_as(module: nn.Module) -> str | None:
    """`int8`, `nf4` or `fp4` for a module that holds weights quantized by bitsandbytes or torchao, else None."""
    weight: Any = getattr(module, "weight", None)
    # By class name: these modules exist only where bitsandbytes does, and asking must not need it.
    if type(weight).__name__ == "Int8Params" and weight.dtype == torch.int8:
        return "int8"
    if type(weight).__name__ == "Params4bit" and weight.quant_state is not None:
        return str(weight.quant_state.quant_type)
    return "int8" if is_torchao(module) else None


def is_torchao(module: nn.Module) -> bool:
    """Whether the module's weight is torchao's int8 tensor."""
    return type(getattr(module, "weight", None)).__name__ == "Int8Tensor"


def convert_to_linear(model: nn.Module) -> tuple[str, ...]:
    """Replace every `Conv1D` and every subclass of `nn.Linear` in the blocks by a plain `nn.Linear`, in place.

    The map is the same, so outputs are equal up to the rounding of another kernel. Modules that are quantized already
    are left alone. A converted `Conv1D` no longer has the shape its own class saves: save a pruned model before.

    Returns:
        Names of the replaced modules.

    Raises:
        CompressionError: a subclass computes something other than W x + b.
    """
    replaced = []
    for linear_map in linear_maps(model):
        module = linear_map.module
        if type(module) is nn.Linear or quantized_as(module) is not None:
            continue
        plain = _plain_linear(linear_map)
        if not isinstance(module, Conv1D) and not _same_map(module, plain):
            raise CompressionError(
                f"{linear_map.name} ({type(module).__name__}) is not W x + b, so it has no equal nn.Linear",
                "choose a precision that needs no conversion of this model",
            )
        model.set_submodule(linear_map.name, plain)
        replaced.append(linear_map.name)
    return tuple(replaced)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, Conv1D))


def _plain_linear(linear_map: LinearMap) -> nn.Linear:
    weight = linear_map.weight
    old = linear_map.module
    bias = old.get_parameter("bias") if getattr(old, "bias", None) is not None else None
    plain = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    plain.weight = nn.Parameter(weight.contiguous(), requires_grad=old.get_parameter("weight").requires_grad)
    if bias is not None:
        plain.bias = bias
    return plain.train(old.training)


@torch.no_grad()
def _same_map(old: nn.Module, new: nn.Linear) -> bool:
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(4, new.in_features, generator=generator).to(new.weight)
    expected = old(probe)
    # Two kernels sum the same products in another order: the error grows with the root of their number.
    tolerance = 8 * torch.finfo(new.weight.dtype).eps * new.in_features**0.5
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    return expected.shape == (4, new.out_features) and bool(
        torch.allclose(new(probe), expected, rtol=tolerance, atol=tolerance * max(scale, 1e-30))
    )
