"""What fine-tuning cost: joules and losses epoch by epoch, and joules until a loss is reached.

The target loss is by default the worst final validation loss among the settings of one base model: the lowest loss that
every setting has reached in the end, so that each has an answer and none is favoured by a number picked by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from energyaware.records import Benchmark

PHASE = "finetune"
BASE_TRAIT = "base model"
EPOCHS_FEATURE = "epochs"
TRAINABLE = "trainable parameters"


@dataclass(frozen=True)
class Tuning:
    """One fine-tuning.

    Attributes:
        row: the variant's id.
        base: name of the model before it.
        epoch_j: joules of each epoch, in order; None where a round was discarded, so that epochs cannot be told apart.
        training_loss, validation_loss: nats per token of the answers, one per epoch.
        trainable_parameters: how many numbers were trained.
        peak_memory_bytes: of the process while it trained.
        target_loss: validation loss asked for.
        epochs_to_target: first epoch after which it was reached; None where it never was.
        joules_to_target: joules up to then.
    """

    row: str
    base: str
    epoch_j: tuple[float, ...] | None
    training_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    trainable_parameters: int | None
    peak_memory_bytes: int | None
    target_loss: float | None = None
    epochs_to_target: int | None = None
    joules_to_target: float | None = None


def tunings(benchmarks: Sequence[Benchmark], targets: Mapping[str, float] | None = None) -> tuple[Tuning, ...]:
    """Every fine-tuning among the benchmarks, in their order.

    Args:
        targets: base model to target loss; by default the worst final loss among its settings.
    """
    found = [_tuning(item) for item in benchmarks if is_tuning(item)]
    chosen = {
        base: target_loss([item for item in found if item.base == base]) for base in {item.base for item in found}
    }
    chosen |= targets or {}
    return tuple(reach(item, chosen[item.base]) for item in found)


def is_tuning(benchmark: Benchmark) -> bool:
    """Whether a benchmark is a finished fine-tuning."""
    return benchmark.phase == PHASE and benchmark.outcome == "passed" and bool(benchmark.rounds)


def target_loss(settings: Sequence[Tuning]) -> float | None:
    """The worst final validation loss of some settings; None where none has one."""
    finals = [item.validation_loss[-1] for item in settings if item.validation_loss]
    return max(finals) if finals else None


def reach(tuning: Tuning, target: float | None) -> Tuning:
    """The tuning with what it took to bring the validation loss down to `target`, in whole epochs."""
    if target is None:
        return tuning
    reached = next((epoch for epoch, loss in enumerate(tuning.validation_loss, 1) if loss <= target), None)
    joules = None
    if reached is not None and tuning.epoch_j is not None:
        joules = math.fsum(tuning.epoch_j[:reached])
    return replace(tuning, target_loss=target, epochs_to_target=reached, joules_to_target=joules)


def _tuning(benchmark: Benchmark) -> Tuning:
    validation = benchmark.samples.get("validation_loss", ())
    joules = tuple(item.reading.above_idle_j(benchmark.idle_w) / item.calls for item in benchmark.rounds)
    trainable = benchmark.features.get(TRAINABLE)
    return Tuning(
        row=benchmark.row,
        base=benchmark.traits.get(BASE_TRAIT, ""),
        epoch_j=joules if len(joules) == len(validation) else None,
        training_loss=benchmark.samples.get("training_loss", ()),
        validation_loss=validation,
        trainable_parameters=None if trainable is None else int(trainable),
        peak_memory_bytes=benchmark.peak_memory_bytes,
    )
