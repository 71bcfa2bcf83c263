"""The names of fine-tuned variants: `mini-gpt2-lora-nf4` is mini-gpt2, its LoRA trained over nf4, and run in nf4.

The way of training ends the model's name, and the precision is that of training and of inference alike. So one id
names a variant in the phase of fine-tuning and in that of inference, and their joules can be added up. Quantized
weights cannot be trained themselves: `mini-gpt2-full-nf4` is trained in fp32 and quantized after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from energyaware.records import Variant
from energyaware.variants.grid import make_variant

METHODS = ("full", "lora")
"""`full` trains every weight, `lora` thin adapters beside frozen weights."""

SETTINGS = (
    ("full", "fp32"),
    ("full", "bf16"),
    ("lora", "fp32"),
    ("lora", "bf16"),
    ("lora", "int8"),
    ("lora", "nf4"),
)
"""Ways of training with the precision of the weights that are multiplied meanwhile."""

QUANTIZED_LATER = (("full", "int8"), ("full", "nf4"))
"""What is quantized after its training in fp32."""

PRUNINGS = ("magnitude-50", "2of4", "wanda-2of4", "sparsegpt-2of4", "width-50", "depth-50")
"""What the best fine-tuned variants are pruned with."""


def tuned_name(model: str, method: str) -> str:
    """The model's name after fine-tuning: `mini-gpt2-lora`."""
    return f"{model}-{method}"


def untuned(name: str, models: Collection[str]) -> tuple[str, str] | None:
    """Model and way of training of a fine-tuned model's name; None where it names none of `models` fine-tuned."""
    for method in METHODS:
        base = name.removesuffix(f"-{method}")
        if base != name and base in models:
            return base, method
    return None


def tuned_grid(models: Iterable[str]) -> tuple[Variant, ...]:
    """The six settings of each model, unpruned."""
    return tuple(
        make_variant(tuned_name(model, method), precision) for model in models for method, precision in SETTINGS
    )


def inference_grid(models: Iterable[str]) -> tuple[Variant, ...]:
    """What is measured in inference of each model: the six settings, and what is quantized after its training."""
    return tuple(
        make_variant(tuned_name(model, method), precision)
        for model in models
        for method, precision in (*SETTINGS, *QUANTIZED_LATER)
    )


def trained_as(variant: Variant) -> Variant:
    """The unpruned variant of the fine-tuning that gave this one its weights."""
    for method, precision in QUANTIZED_LATER:
        if variant.precision == precision and variant.model.endswith(f"-{method}"):
            return make_variant(variant.model)
    return dense_of(variant)


def pruned_grid(variants: Iterable[Variant]) -> tuple[Variant, ...]:
    """Every pruning of each unpruned variant."""
    return tuple(make_variant(item.model, item.precision, pruning) for item in variants for pruning in PRUNINGS)


def dense_of(variant: Variant) -> Variant:
    """The unpruned variant that a pruned one comes from."""
    return replace(variant, pruning="dense")
