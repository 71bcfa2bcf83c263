"""Quantized precisions: what each name stands for, what was really quantized, and what really computes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn

from energyaware.compression.linear import is_torchao, linear_maps, quantized_as
from energyaware.errors import CompressionError

INT8_THRESHOLD = 6.0
"""Default outlier threshold of LLM.int8 (Dettmers et al. 2022) and of transformers; 0.0 is the fast path without."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a quantized precision's name stands for.

    Attributes:
        library: who quantizes and computes.
        stored: what the weights are stored in: `int8`, `nf4` or `fp4`.
        int8_threshold: outlier threshold of bitsandbytes' int8, None elsewhere.
        double_quant: whether the 4-bit scales are quantized too (QLoRA, Dettmers et al. 2023).
        dynamic: torchao only: activations are quantized to int8 token by token, so integers are multiplied; else the
            weights are expanded and multiplied in the activations' dtype.
    """

    library: Literal["bitsandbytes", "torchao"]
    stored: str
    int8_threshold: float | None = None
    double_quant: bool = False
    dynamic: bool = False


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "int8": Scheme("bitsandbytes", "int8", int8_threshold=INT8_THRESHOLD),
        "nf4": Scheme("bitsandbytes", "nf4"),
        "fp4": Scheme("bitsandbytes", "fp4"),
        "int8fast": Scheme("bitsandbytes", "int8", int8_threshold=0.0),
        "nf4dq": Scheme("bitsandbytes", "nf4", double_quant=True),
        "int8wo": Scheme("torchao", "int8"),
        "int8dyn": Scheme("torchao", "int8", dynamic=True),
    }
)
QUANTIZED = tuple(SCHEMES)
_CONFIGURED = ("int8", "nf4", "fp4")

# bitsandbytes' packed 4-bit CPU kernel works on tiles of 32 outputs and on whole blocks of 64 inputs.
_PACKED_OUTPUTS = 32
_PACKED_INPUTS = 64


def quantization_config(
    precision: str,
    *,
    compute_dtype: torch.dtype = torch.float32,
    int8_threshold: float = INT8_THRESHOLD,
    double_quant: bool = False,
) -> Any:
    """The `BitsAndBytesConfig` for `from_pretrained(quantization_config=…)`.

    Args:
        precision: `int8`, `nf4` or `fp4`.
        compute_dtype: dtype that 4-bit weights are expanded to; bitsandbytes may use another one, see
            `kernel_dtype`. int8 multiplies integers and ignores it.
        int8_threshold: activation columns with a magnitude of at least this are computed in floating point;
            0.0 switches the search for them off, which is faster and less exact where outliers exist.
        double_quant: quantize the 4-bit scales too (QLoRA, Dettmers et al. 2023).

    Raises:
        CompressionError: unknown precision, negative threshold, or bitsandbytes is not installed.
    """
    if precision not in _CONFIGURED:
        raise CompressionError(f"{precision!r} is not a quantized precision", f"use one of: {', '.join(_CONFIGURED)}")
    if not int8_threshold >= 0:
        raise CompressionError(f"int8 threshold {int8_threshold} is negative", "use 6.0, or 0.0 for the fast path")
    try:
        import bitsandbytes  # noqa: F401
        from transformers import BitsAndBytesConfig
    except ImportError as error:
        raise CompressionError(
            f"{precision} needs bitsandbytes, which cannot be imported ({error})",
            'install it: pip install "energyaware[models]"',
        ) from error
    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=float(int8_threshold))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=precision,
        bnb_4bit_compute_dtype=compute_dtype,
        bnb_4bit_use_double_quant=double_quant,
    )


def require_quantized(model: nn.Module, precision: str) -> None:
    """Refuse a model whose block linear maps are not all quantized: bitsandbytes skips some classes silently.

    Raises:
        CompressionError: names the modules that were skipped.
    """
    skipped = [
        f"{linear_map.name} ({type(linear_map.module).__name__})"
        for linear_map in linear_maps(model)
        if quantized_as(linear_map.module) != precision
    ]
    if skipped:
        shown = ", ".join(skipped[:4]) + (f" and {len(skipped) - 4} more" if len(skipped) > 4 else "")
        raise CompressionError(
            f"{len(skipped)} modules were left without {precision}: {shown}",
            "choose another precision for this model",
        )


def kernel_dtype(model: nn.Module) -> str | None:
    """The dtype in which the model's quantized modules really multiply, or None where none is quantized.

    int8: `int8` where the device has integer kernels, else `fp32` (bitsandbytes converts back on a CPU without
    AVX-512); torchao's weight-only int8 in the activations' dtype. 4 bit: on a CPU with AVX512-bf16 bitsandbytes
    computes in bf16 whatever was asked; elsewhere in the module's compute dtype. Different answers within one model are
    joined by `+`.
    """
    found = {
        _module_kernel_dtype(linear_map.module)
        for linear_map in linear_maps(model)
        if quantized_as(linear_map.module) is not None
    }
    return "+".join(sorted(found)) or None


def unpack_misfits(model: nn.Module) -> tuple[str, ...]:
    """Switch bitsandbytes' packed CPU kernel off where it would crash; call it before the first forward.

    On a CPU with AVX512-bf16 evaluation packs 4-bit weights, which fails where out_features % 32 or in_features % 64
    is not 0. Those modules then expand their weights in the compute dtype that was asked for.

    Returns:
        Names of these modules; empty on any other machine.
    """
    names = []
    for linear_map in linear_maps(model):
        module: Any = linear_map.module
        if quantized_as(module) not in ("nf4", "fp4") or not module.support_avx512bf16_for_cpu:
            continue
        if module.out_features % _PACKED_OUTPUTS or module.in_features % _PACKED_INPUTS:
            module.support_avx512bf16_for_cpu = False
            names.append(linear_map.name)
    return tuple(names)


def silence_cast_warning() -> None:
    """Stop the line that bitsandbytes logs on every int8 call, because it would be written inside timed regions.

    Only the logger of that one message is raised to ERROR; a level, not a filter, so that no record is built.
    """
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def _module_kernel_dtype(module: Any) -> str:
    if is_torchao(module):
        if module.weight.act_quant_kwargs is not None:
            return "int8"
        return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[module.weight.dtype]
    if quantized_as(module) == "int8":
        if module.weight.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() != "AVX512":
            return "fp32"
        return "int8"
    packed = getattr(module.weight.quant_state, "packing_format_for_cpu", False)
    if module.weight.device.type == "cpu" and (packed or module.support_avx512bf16_for_cpu):
        return "bf16"
    return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[module.compute_dtype]
