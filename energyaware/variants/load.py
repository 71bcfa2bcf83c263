"""Put a variant together: load the model, prune it in fp32, cast or quantize it, and prove that it changed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from energyaware.compression.linear import convert_to_linear
from energyaware.compression.proof import (
    DTYPE_NAMES,
    Proof,
    Snapshot,
    prove,
    require_change,
    require_dtype,
    snapshot,
)
from energyaware.compression.pruning import prune_magnitude, prune_n_m
from energyaware.compression.quantization import (
    INT8_THRESHOLD,
    QUANTIZED,
    kernel_dtype,
    quantization_config,
    require_quantized,
    silence_cast_warning,
    unpack_misfits,
)
from energyaware.compression.structured import drop_layers
from energyaware.errors import CompressionError
from energyaware.models.loading import load_causal_lm, load_tokenizer
from energyaware.records import Variant
from energyaware.variants.grid import PRECISIONS, Pruning, parse_pruning
from energyaware.work.storage import weight_bytes

_DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}


@dataclass(frozen=True)
class LoadedVariant:
    """A model ready to run.

    Attributes:
        model: transformers model in evaluation mode.
        compute_dtype: what the blocks' linear maps really multiply in (`fp32 bf16 fp16 int8`).
        weight_dtype: what they are stored in.
        proof: what the compression changed; all zero counts of change for the fp32 dense variant.
        notes: what a reader must know (`conv1d→linear`, `zeros run dense (masked)`).
    """

    model: Any
    tokenizer: Any
    variant: Variant
    compute_dtype: str
    weight_dtype: str
    proof: Proof
    notes: tuple[str, ...]


def load_variant(
    model_dir: str | Path,
    variant: Variant,
    device: str = "cpu",
    *,
    revision: str | None = None,
    int8_threshold: float = INT8_THRESHOLD,
    double_quant: bool = False,
) -> LoadedVariant:
    """Load one variant.

    Pruning happens in fp32, before the cast or the quantization; a pruned model is quantized by way of a temporary
    folder, because bitsandbytes quantizes while `from_pretrained` reads. In **every** variant each `Conv1D` and each
    subclass of `nn.Linear` in the blocks becomes a plain `nn.Linear` (or bitsandbytes' form of one), so that rows
    differ by their precision and not by their kernel: on a CPU without fp16 instructions GPT-2's `Conv1D` takes 14
    times as long in fp16 as the same map in `nn.Linear`, while in fp32 and bf16 the two are within 20 %.

    Args:
        model_dir: a local folder or a Hugging Face id.
        variant: precision and pruning.
        device: where it runs.
        revision: git revision, where `model_dir` is a Hugging Face id.
        int8_threshold: outlier threshold of int8, see `quantization_config`.
        double_quant: quantize the scales of nf4 and fp4 too.

    Raises:
        CompressionError: unknown name, a compression that does not fit the model, or one that changed nothing.
        ModelError: the model cannot be loaded.
    """
    if variant.precision not in PRECISIONS:
        raise CompressionError(f"unknown precision {variant.precision!r}", f"use one of: {', '.join(PRECISIONS)}")
    pruning = parse_pruning(variant.pruning)
    notes: list[str] = []
    model = load_causal_lm(model_dir, dtype=torch.float32, revision=revision)
    before = snapshot(model)
    if pruning.method != "dense":
        notes += _prune(model, pruning, before)
    if variant.precision in QUANTIZED:
        config = quantization_config(
            variant.precision,
            compute_dtype=_unquantized_dtype(variant.precision, device),
            int8_threshold=int8_threshold,
            double_quant=double_quant,
        )
        if pruning.method == "dense":
            model = _quantized(model_dir, variant.precision, config, device, revision)
        else:
            with tempfile.TemporaryDirectory(prefix="energyaware-") as folder:
                model.save_pretrained(folder)
                model = _quantized(folder, variant.precision, config, device, None)
        if variant.precision == "int8":
            notes.append(f"int8 outlier threshold {int8_threshold:g}")
        elif double_quant:
            notes.append("double quantization")
        if unpack_misfits(model):
            notes.append("some layers too narrow for the packed 4-bit kernel")
        _settle(model)
        compute_dtype = kernel_dtype(model) or variant.precision
    else:
        if convert_to_linear(model):
            notes.append("conv1d→linear")
        _cast(model, _DTYPES[variant.precision])
        model.to(device)
        compute_dtype = variant.precision
    model.eval()
    after = snapshot(model)
    require_dtype(after, variant.precision)
    return LoadedVariant(
        model=model,
        tokenizer=load_tokenizer(model_dir, revision=revision),
        variant=variant,
        compute_dtype=compute_dtype,
        weight_dtype=variant.precision,
        proof=prove(before, after, weight_bytes(model)),
        notes=tuple(notes),
    )


def _prune(model: Any, pruning: Pruning, before: Snapshot) -> list[str]:
    if pruning.method == "depth":
        removed = drop_layers(model, _share(pruning))
        note = "without blocks " + ", ".join(map(str, removed))
    else:
        if pruning.pattern is not None:
            prune_n_m(model, *pruning.pattern)
        else:
            prune_magnitude(model, _share(pruning))
        note = "zeros run dense (masked)"
    after = snapshot(model)
    require_change(prove(before, after, weight_bytes(model)), after, pruning.name)
    return [note]


def _share(pruning: Pruning) -> float:
    if pruning.percent is None:
        raise CompressionError(f"{pruning.name} names no percentage", "use a name such as depth-50")
    return pruning.percent / 100


def _cast(model: Any, dtype: torch.dtype) -> None:
    # Parameters only, as from_pretrained(dtype=…) does: rotary frequencies are buffers and stay in fp32.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype


def _quantized(source: str | Path, precision: str, config: Any, device: str, revision: str | None) -> Any:
    model = load_causal_lm(
        source,
        dtype=_unquantized_dtype(precision, device),
        quantization_config=config,
        device_map={"": device},
        revision=revision,
    )
    require_quantized(model, precision)
    if precision == "int8":
        silence_cast_warning()
    return model


@torch.no_grad()
def _settle(model: Any) -> None:
    # bitsandbytes repacks weights at the first call; after it, stored bytes and the kernel's dtype are what they stay.
    model(torch.zeros(1, 1, dtype=torch.long, device=model.device))


def _unquantized_dtype(precision: str, device: str) -> torch.dtype:
    # On a CPU fp32 is the dtype with fast kernels everywhere; int8 casts its inputs to fp16 on a GPU anyway.
    if torch.device(device).type == "cpu":
        return torch.float32
    return torch.float16 if precision == "int8" else torch.bfloat16
