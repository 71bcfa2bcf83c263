"""What every row of a loaded variant has in common, whatever task it is metered on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from energyaware.compression.proof import DTYPE_NAMES, Proof
from energyaware.examples import Dataset
from energyaware.variants.layout import policy, redraw
from energyaware.variants.load import LoadedVariant
from energyaware.variants.prepare import PreparedModel


@dataclass(frozen=True)
class LayoutPlan:
    """How a model's weights are laid out anew in memory, and what the record says about it.

    Attributes:
        before_round: draws a new place for every weight; None where that was done once, when the plan was made.
        description: `redrawn every round` or `redrawn once per launch`.
    """

    before_round: Callable[[], None] | None
    description: str


def plan_layout(model: Any, seed: str) -> LayoutPlan:
    """Redraw before every round where `policy` says so, else once, now."""
    draw = random.Random(seed)  # noqa: S311 - a place in memory, no secret
    chosen = policy(model)

    def again() -> None:
        redraw(model, draw)

    if chosen != "every round":
        again()
    return LayoutPlan(again if chosen == "every round" else None, f"redrawn {chosen}")


def row_facts(loaded: LoadedVariant, prepared: PreparedModel, dataset: Dataset, device: str) -> dict[str, Any]:
    """What `energy.record` should be told about a variant, whatever it is metered on: conditions and notes."""
    fingerprint = loaded.weights or prepared.fingerprint
    weights = {"weights": fingerprint} if fingerprint else {}
    other_dtype = (f"computes in {loaded.compute_dtype}",) if loaded.compute_dtype != loaded.weight_dtype else ()
    notes = (*dataset.notes, *prepared.notes, *loaded.notes, *other_dtype)
    return {
        "variant": loaded.variant,
        "fingerprints": {"dataset": dataset.fingerprint} | weights,
        "gpus": loaded.gpus,
        "traits": {
            "device": _place(loaded, device),
            "weight dtype": loaded.weight_dtype,
            "compute dtype": loaded.compute_dtype,
        },
        "features": {"parameters": loaded.parameters} | _proof(loaded.proof),
        "notes": tuple(dict.fromkeys(notes)),  # two trainings on the same examples may say the same
    }


def _place(loaded: LoadedVariant, device: str) -> str:
    """Where a variant runs: every GPU where there are several, since a run on two is not compared with one on four."""
    return "+".join(f"cuda:{index}" for index in loaded.gpus) if len(loaded.gpus) > 1 else device


def _proof(proof: Proof) -> dict[str, float]:
    """What the compression changed, as numbers of the record; what was not compared is absent."""
    found = {"weights changed": proof.weights_changed, "share of weights changed": proof.share_changed}
    if proof.logits is not None:
        found |= {"largest logit error": proof.logits.max_error, "label flip rate": proof.logits.flip_rate}
    return found


def product_dtypes(loaded: LoadedVariant) -> str:
    """Every dtype in which this model multiplies matrices, joined by `+`: a quantized one's head and attention stay
    in floating point.
    """
    unquantized = DTYPE_NAMES[loaded.model.dtype]
    return "+".join(sorted({*loaded.compute_dtype.split("+"), unquantized}))
