"""Put a variant together: load the model, prune it in fp32, cast or quantize it, and prove that it changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from energyaware.compression.calibration import Batch, model_inputs
from energyaware.compression.linear import convert_to_linear, linear_maps
from energyaware.compression.proof import (
    DTYPE_NAMES,
    Proof,
    Snapshot,
    compare_logits,
    prove,
    require_change,
    require_dtype,
    snapshot,
)
from energyaware.compression.pruning import prune_magnitude, prune_n_m, prune_sparsegpt, prune_wanda
from energyaware.compression.quantization import QUANTIZED, SCHEMES, kernel_dtype, silence_cast_warning, unpack_misfits
from energyaware.compression.quantize import quantize
from energyaware.compression.semi_structured import pack_semi_structured
from energyaware.compression.shrink import drop_heads, shrink_width
from energyaware.compression.structured import drop_layers
from energyaware.errors import CompressionError
from energyaware.models.fingerprint import weights_fingerprint
from energyaware.models.loading import load_model, load_tokenizer
from energyaware.models.spread import occupied_gpus, spread
from energyaware.records import Variant
from energyaware.tasks.encoding import position_limit
from energyaware.variants.grid import CALIBRATED, MASKS, PRECISIONS, Pruning, parse_pruning
from energyaware.variants.offered import Compress
from energyaware.work.storage import weight_bytes

_DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}

Calibration = Iterable[Batch] | Callable[[Any], Iterable[Batch]]
"""Batches of token ids without padding, or a function that makes them with the model's tokenizer."""

Probe = Batch | Callable[[Any], Batch]
"""One batch on which logits are compared, or a function that makes it with the model's tokenizer."""


@dataclass(frozen=True)
class LoadedVariant:
    """A model ready to run.

    Attributes:
        model: transformers model in evaluation mode.
        compute_dtype: what the blocks' linear maps really multiply in (`fp32 bf16 fp16 int8`).
        weight_dtype: what they are stored in (`fp32 bf16 fp16 int8 nf4 fp4`).
        proof: what the compression changed; all zero counts of change for the fp32 dense variant. `proof.logits` is
            there where a probe was given.
        notes: what a reader must know (`conv1d→linear`, `zeros run dense (masked)`).
        parameters: how many there are, tied ones once; structured pruning lowers it, masks and quantization do not.
        weights: fingerprint of the recovered weights; None where the weights are the dense model's, pruned or not.
        gpus: those that hold a part of it, as torch numbers them; empty on the CPU.
    """

    model: Any
    tokenizer: Any
    variant: Variant
    compute_dtype: str
    weight_dtype: str
    proof: Proof
    notes: tuple[str, ...]
    parameters: int
    weights: str | None = None
    gpus: tuple[int, ...] = ()


def load_variant(
    model_dir: str | Path,
    variant: Variant,
    device: str = "cpu",
    *,
    revision: str | None = None,
    calibration: Calibration | None = None,
    probe: Probe | None = None,
    int8_threshold: float | None = None,
    double_quant: bool | None = None,
    recovered: str | Path | None = None,
    offered: Mapping[str, Compress] = MappingProxyType({}),
    gpus: Sequence[int] = (),
) -> LoadedVariant:
    """Load one variant.

    Pruning happens in fp32, before the cast or the quantization. In **every** variant each `Conv1D` and each subclass
    of `nn.Linear` in the blocks becomes a plain `nn.Linear` (or a quantized form of one), so that rows differ by their
    precision and not by their kernel: on a CPU without fp16 instructions GPT-2's `Conv1D` takes 14 times as long in
    fp16 as the same map in `nn.Linear`, while in fp32 and bf16 the two are within 20 %.

    Args:
        model_dir: a local folder or a Hugging Face id.
        variant: precision and pruning.
        device: where it runs.
        revision: git revision, where `model_dir` is a Hugging Face id.
        calibration: rows of tokens, cut to the positions that the model has; needed by `wanda` and `sparsegpt`;
            `width`, `heads` and `depth` rank by it where it is given, else by weights or position. A function is called
            only where it is used.
        probe: inputs on which the variant's logits are compared with the fp32 dense model's.
        int8_threshold: replaces the outlier threshold of the precision's name, see `quantization_config`.
        double_quant: replaces the precision's own choice for the scales of nf4 and fp4.
        recovered: folder of the pruned model that was trained again; needed by names that end in `-recovered`.
        offered: compressions of other plugins, by name.
        gpus: spread an unquantized model over these, the first of which is `device`; quantized weights stay on
            `device`, and a note says so.

    Raises:
        CompressionError: unknown name, a compression that does not fit the model, one that changed nothing, or one
            that needs calibration data or recovered weights and has none.
        ModelError: the model cannot be loaded.
    """
    if variant.precision not in PRECISIONS:
        raise CompressionError(f"unknown precision {variant.precision!r}", f"use one of: {', '.join(PRECISIONS)}")
    pruning = parse_pruning(variant.pruning, offered)
    if pruning.method in CALIBRATED and calibration is None:
        raise CompressionError(
            f"{pruning.name} needs calibration data and got none",
            "pass calibration=… (batches of training tokens), or choose a magnitude pruning",
        )
    if pruning.recovered and recovered is None:
        raise CompressionError(
            f"{pruning.name} needs weights that were trained again after the pruning",
            "load it with energyaware.variants.calibrated.load_prepared, which trains them",
        )
    model = load_model(model_dir, dtype=torch.float32, revision=revision)
    tokenizer = load_tokenizer(model_dir, revision=revision)
    batch = probe(tokenizer) if callable(probe) else probe
    if batch is not None:
        batch = _cut(batch, position_limit(model))
    reference = None if batch is None else _logits(model, batch)
    before = snapshot(model)
    notes: list[str] = []
    if pruning.recovered and recovered is not None:
        model = load_model(recovered, dtype=torch.float32)
        notes.append("trained again after pruning (recovered)")
        if pruning.method in MASKS and pruning.pattern is None:
            notes.append(_MASKED)
        _require_pruned(model, before, pruning)
    elif pruning.method != "dense":
        batches = calibration(tokenizer) if callable(calibration) and pruning.method != "magnitude" else calibration
        given = None if callable(batches) else batches
        if variant.pruning in offered:
            notes += _compress(model, variant.pruning, offered[variant.pruning], given)
        else:
            notes += prune(model, pruning, given)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if variant.precision in QUANTIZED:
        weight_dtype = SCHEMES[variant.precision].stored
        notes += _quantize(model, variant.precision, device, int8_threshold, double_quant)
        compute_dtype = kernel_dtype(model) or weight_dtype
        notes += ["quantized: on one GPU, not spread"] if gpus else []
    else:
        if convert_to_linear(model):
            notes.append("conv1d→linear" if model.config.model_type == "gpt2" else "subclasses→linear")
        _cast(model, _DTYPES[variant.precision])
        if gpus:
            spread(model, gpus)
        else:
            model.to(device)
        compute_dtype = weight_dtype = variant.precision
    model.eval()
    after = snapshot(model)
    require_dtype(after, weight_dtype)
    if pruning.pattern is not None:
        notes.append(_sparse_kernels(model, pruning.pattern, device))
    proof = prove(before, after, weight_bytes(model))
    if reference is not None and batch is not None:
        proof = dataclasses.replace(proof, logits=compare_logits(reference, _logits(model, batch)))
    return LoadedVariant(
        model=model,
        tokenizer=tokenizer,
        variant=variant,
        compute_dtype=compute_dtype,
        weight_dtype=weight_dtype,
        proof=proof,
        notes=tuple(notes),
        parameters=parameters,
        weights=weights_fingerprint(Path(recovered)) if pruning.recovered and recovered is not None else None,
        gpus=occupied_gpus(model),
    )


def prune(model: Any, pruning: Pruning, calibration: Iterable[Batch] | None) -> list[str]:
    """Prune a dense fp32 model in place, as `load_variant` does.

    Args:
        calibration: see `load_variant`.

    Returns:
        what a reader must know.

    Raises:
        CompressionError: the pruning does not fit the model, changed nothing, or needs data and has none.
    """
    before = snapshot(model)
    calibration = None if calibration is None else _fitting(model, calibration)
    amount = pruning.pattern if pruning.pattern is not None else _share(pruning)
    notes = []
    match pruning.method:
        case "depth":
            removed = drop_layers(model, _share(pruning), calibration)
            notes.append("without blocks " + ", ".join(map(str, removed)))
        case "width":
            notes.append("MLP width {} → {}".format(*shrink_width(model, _share(pruning), calibration)))
        case "heads":
            notes.append("attention heads {} → {}".format(*drop_heads(model, _share(pruning), calibration)))
        case "wanda":
            prune_wanda(model, amount, calibration or ())
        case "sparsegpt":
            prune_sparsegpt(model, amount, calibration or ())
        case _ if isinstance(amount, tuple):
            prune_n_m(model, *amount)
        case _:
            prune_magnitude(model, amount)
    if pruning.method in ("depth", "width", "heads"):
        notes.append("chosen by calibration" if calibration is not None else "chosen without data")
    elif pruning.pattern is None:
        notes.append(_MASKED)
    _require_pruned(model, before, pruning)
    return notes


def _compress(model: Any, name: str, compress: Compress, calibration: Iterable[Batch] | None) -> list[str]:
    """Let another plugin change the model; it may change weights without making any of them zero."""
    before = _checksums(model)
    notes = list(compress(model, _fitting(model, calibration or ())) or ())
    if _checksums(model) == before:
        raise CompressionError(f"{name} changed no weight of the blocks", "mend the plugin that offers it")
    return notes


def _checksums(model: Any) -> list[tuple[str, tuple[int, ...], str, float]]:
    return [
        (item.name, tuple(item.weight.shape), str(item.weight.dtype), float(item.weight.double().square().sum()))
        for item in linear_maps(model)
    ]


def _fitting(model: Any, calibration: Iterable[Batch]) -> list[Batch]:
    limit = position_limit(model)
    return [_cut(item, limit) for item in calibration]


def _require_pruned(model: Any, before: Snapshot, pruning: Pruning) -> None:
    after = snapshot(model)
    require_change(prove(before, after, weight_bytes(model)), after, pruning.name)


def _sparse_kernels(model: Any, pattern: tuple[int, int], device: str) -> str:
    """Pack 2:4 weights where the device has kernels for them; what the table must say."""
    if pattern != (2, 4) or torch.device(device).type != "cuda":
        return _MASKED
    packed, dense = pack_semi_structured(model)
    if not packed:
        return f"{_MASKED}: {next(iter(dense.values()))}"
    return f"2:4 sparse kernels in {len(packed)} of {len(packed) + len(dense)} linear maps"


_MASKED = "zeros run dense (masked)"


def _share(pruning: Pruning) -> float:
    if pruning.percent is None:
        raise CompressionError(f"{pruning.name} names no percentage", "use a name such as depth-50")
    return pruning.percent / 100


def _cast(model: Any, dtype: torch.dtype) -> None:
    # Parameters only, as from_pretrained(dtype=…) does: rotary frequencies are buffers and stay in fp32.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype


def _quantize(
    model: Any, precision: str, device: str, int8_threshold: float | None, double_quant: bool | None
) -> list[str]:
    scheme = SCHEMES[precision]
    quantize(
        model,
        precision,
        device=device,
        compute_dtype=_unquantized_dtype(precision, device),
        int8_threshold=int8_threshold,
        double_quant=double_quant,
    )
    notes = []
    if scheme.int8_threshold is not None:
        silence_cast_warning()
        threshold = scheme.int8_threshold if int8_threshold is None else int8_threshold
        notes.append(f"int8 outlier threshold {threshold:g}")
    elif scheme.library == "torchao":
        notes.append("torchao, activations quantized per token" if scheme.dynamic else "torchao, weight-only")
    elif scheme.double_quant if double_quant is None else double_quant:
        notes.append("double quantization")
    if unpack_misfits(model):
        notes.append("some layers too narrow for the packed 4-bit kernel")
    model.eval()
    # bitsandbytes repacks weights at the first call; after it, stored bytes and the kernel's dtype are what they stay.
    _logits(model, torch.zeros(1, 1, dtype=torch.long))
    return notes


@torch.no_grad()
def _logits(model: Any, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(**model_inputs(model, batch)).logits
    return logits


def _unquantized_dtype(precision: str, device: str) -> torch.dtype:
    # On a CPU fp32 is the dtype with fast kernels everywhere; int8 casts its inputs to fp16 on a GPU anyway.
    if torch.device(device).type == "cpu":
        return torch.float32
    return torch.float16 if SCHEMES[precision].int8_threshold is not None else torch.bfloat16


def _cut(batch: Batch, limit: int | None) -> Batch:
    """The batch without what lies beyond the model's positions."""
    if isinstance(batch, torch.Tensor):
        return batch[:, :limit]
    return {name: tensor[:, :limit] for name, tensor in batch.items()}
