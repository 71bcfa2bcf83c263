"""Quantize a loaded model in place, whatever classes its linear maps are of.

transformers quantizes while it reads files and looks at classes: bitsandbytes passes over subclasses of `nn.Linear`
(Falcon's) and over what an architecture keeps in fp32 (T5's `wo`), torchao over `Conv1D` (GPT-2's). Here every linear
map of the blocks first becomes a plain `nn.Linear`, exactly, and is then replaced; embeddings and the output head stay
as they are, tied or not. Pruned and shrunk models need no detour through files.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from energyaware.compression.linear import convert_to_linear, linear_maps, quantized_as
from energyaware.compression.quantization import SCHEMES, quantization_config, require_quantized
from energyaware.errors import CompressionError


def quantize(
    model: Any,
    precision: str,
    *,
    device: str = "cpu",
    compute_dtype: torch.dtype = torch.float32,
    int8_threshold: float | None = None,
    double_quant: bool | None = None,
) -> tuple[str, ...]:
    """Quantize every linear map of the blocks, in place.

    Args:
        model: transformers model in floating point, on the CPU or on `device`.
        precision: a name of `energyaware.compression.quantization.SCHEMES`.
        device: where it will run.
        compute_dtype: of everything that is not quantized; 4-bit weights are expanded to it.
        int8_threshold: replaces the scheme's own outlier threshold (bitsandbytes' int8 only).
        double_quant: replaces the scheme's own choice (4 bit only).

    Returns:
        Names of the modules that had to become `nn.Linear` first.

    Raises:
        CompressionError: unknown precision, a library that is missing, a module that could not be quantized (named),
            a model that is quantized already, or one without linear layers.
    """
    if precision not in SCHEMES:
        raise CompressionError(f"{precision!r} is not a quantized precision", f"use one of: {', '.join(SCHEMES)}")
    scheme = SCHEMES[precision]
    config = None
    if scheme.library == "bitsandbytes":
        threshold = scheme.int8_threshold if int8_threshold is None else int8_threshold
        config = quantization_config(
            scheme.stored,
            compute_dtype=compute_dtype,
            int8_threshold=0.0 if threshold is None else threshold,
            double_quant=scheme.double_quant if double_quant is None else double_quant,
        )
    _refuse_quantized(model)
    converted = convert_to_linear(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(compute_dtype)
    model.config.dtype = compute_dtype
    model.to(device)
    if config is None:
        _torchao(model, dynamic=scheme.dynamic)
    else:
        replace_by_bitsandbytes(model, config)
        declare(model, config)
    require_quantized(model, scheme.stored)
    return converted


def replace_by_bitsandbytes(model: Any, config: Any) -> None:
    """Replace every `nn.Linear` of the blocks by bitsandbytes' module with its quantized weight.

    Args:
        model: its linear maps are plain `nn.Linear`.
        config: `transformers.BitsAndBytesConfig`.
    """
    kept = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    for linear_map in linear_maps(model):
        old: Any = linear_map.module
        # Code that keeps such a module in fp32 casts activations to the dtype of its weight, so 4-bit codes are stored
        # in tensors of that dtype: the bits are the same, and the cast does nothing.
        storage = old.weight.dtype if linear_map.name.rpartition(".")[2] in kept else torch.uint8
        try:
            new = bitsandbytes_linear(old, config, storage)
        except Exception as error:  # bitsandbytes raises asserts, RuntimeErrors and ValueErrors
            raise CompressionError(
                f"{linear_map.name} ({old.out_features} × {old.in_features}) cannot be quantized ({error})",
                "choose another precision for this model",
            ) from error
        model.set_submodule(linear_map.name, new)


def bitsandbytes_linear(old: nn.Linear, config: Any, storage: torch.dtype = torch.uint8) -> nn.Module:
    """The `Linear8bitLt` or `Linear4bit` that stands for `old`, on the same device."""
    import bitsandbytes as bnb

    sizes = (old.in_features, old.out_features, old.bias is not None)
    # bitsandbytes quantizes when a weight comes from the CPU.
    weight, device = old.weight.data.cpu(), old.weight.device
    new: Any
    if config.load_in_8bit:
        new = bnb.nn.Linear8bitLt(
            *sizes, has_fp16_weights=False, threshold=config.llm_int8_threshold, device=torch.device("meta")
        )
        new.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to(device)
    else:
        new = bnb.nn.Linear4bit(
            *sizes,
            config.bnb_4bit_compute_dtype,
            compress_statistics=config.bnb_4bit_use_double_quant,
            quant_type=config.bnb_4bit_quant_type,
            quant_storage=storage,
            device=torch.device("meta"),
        )
        new.weight = bnb.nn.Params4bit(
            weight,
            requires_grad=False,
            compress_statistics=config.bnb_4bit_use_double_quant,
            quant_type=config.bnb_4bit_quant_type,
            quant_storage=storage,
            module=new,
        ).to(device)
        if storage != torch.uint8:
            # The packed CPU kernel would turn the weight into bytes again at the first call.
            new.support_avx512bf16_for_cpu = False
    new.bias = old.bias
    new.requires_grad_(False)
    return new.train(old.training)  # type: ignore[no-any-return]


def declare(model: Any, config: Any) -> None:
    """Tell transformers and peft that the model is quantized, as `from_pretrained` would have."""
    from transformers.quantizers.auto import AutoHfQuantizer

    quantizer = AutoHfQuantizer.from_config(config, pre_quantized=False)
    model.hf_quantizer = quantizer
    model.config.quantization_config = config
    model.is_quantized = True
    model.quantization_method = config.quant_method
    quantizer.postprocess_model(model)


def _torchao(model: Any, *, dynamic: bool) -> None:
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise CompressionError(
            f"this precision needs torchao, which cannot be imported ({error})", "install it: pip install torchao"
        ) from error
    # Off: the setting changes torch's compiler and its precision of fp32 products for the whole process.
    config = (Int8DynamicActivationInt8WeightConfig if dynamic else Int8WeightOnlyConfig)(set_inductor_config=False)
    chosen = {id(linear_map.module) for linear_map in linear_maps(model)}
    try:
        quantize_(model, config, filter_fn=lambda module, _: id(module) in chosen)
    except Exception as error:  # torchao raises asserts, NotImplementedErrors and RuntimeErrors
        raise CompressionError(
            f"torchao cannot quantize {type(model).__name__} ({error})", "choose another precision for this model"
        ) from error


def _refuse_quantized(model: Any) -> None:
    for linear_map in linear_maps(model):
        if quantized_as(linear_map.module) is not None:
            raise CompressionError(
                f"{linear_map.name} ({type(linear_map.module).__name__}) is quantized already",
                "start from the dense model",
            )
