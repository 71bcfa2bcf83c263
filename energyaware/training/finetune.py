"""Fine-tuning in epochs that a caller can meter one by one: all weights, or LoRA adapters beside frozen ones.

LoRA (Hu et al. 2022) learns a product of two thin matrices beside each linear map; over a quantized base this is QLoRA
(Dettmers et al. 2023). The optimizer is AdamW in both cases, so that settings differ by what they train and in which
precision, and by nothing else.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from energyaware.errors import ModelError
from energyaware.progress import Progress, silent
from energyaware.training.batches import step_examples
from energyaware.training.loop import rate_factor, set_rates
from energyaware.training.losses import losses
from energyaware.training.settings import EncodedExample, TrainSettings

_ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """How a fine-tuning is shaped.

    Attributes:
        lr: learning rate of AdamW at its highest.
        epochs: passes over the data; rates fall to 0 over all of them.
        batch_size: sequences per step.
        weight_decay: decoupled.
        warmup: share of the steps in which the rate rises from 0.
        decay: share of the steps in which it falls to 0, at the end.
        answer_weight: weight of the answers' loss; that of the mean loss of all tokens is 1.
        clip: largest norm of the gradient.
        seed: of the order of the data, of dropout and of the adapters' first values.
    """

    lr: float
    epochs: int = 4
    batch_size: int = 32
    weight_decay: float = 0.01
    warmup: float = 0.05
    decay: float = 0.6
    answer_weight: float = 2.0
    clip: float = 1.0
    seed: int = 0

    @property
    def schedule(self) -> TrainSettings:
        """The same as the other trainings know it: order of the data and course of the rates."""
        return TrainSettings(
            epochs=self.epochs, batch_size=self.batch_size, warmup=self.warmup, decay=self.decay, seed=self.seed
        )


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Size of the adapters.

    Attributes:
        rank: inner width of each adapter.
        alpha: its output is scaled by alpha / rank.
        dropout: on its input, while training.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class EpochLoss:
    """Losses of one epoch, in nats per token of the answers, every example counting the same.

    Attributes:
        epoch: counted from 1.
        training: mean over the epoch's steps, each taken before its update.
        validation: after the epoch.
    """

    epoch: int
    training: float
    validation: float


def add_lora(model: Any, targets: Sequence[str], settings: LoraSettings, seed: int = 0) -> Any:
    """Put a LoRA adapter beside each linear map of `targets`, in place, and freeze everything else.

    The adapters are fp32 whatever the base is. At the start they add nothing.

    Args:
        model: in floating point, or quantized and declared so.
        targets: names of the maps.
        settings: of the adapters.
        seed: of their first values.

    Returns:
        peft's wrapper, for `save_adapter`; `model` itself is what is trained.

    Raises:
        ModelError: peft is missing, or it cannot adapt one of the maps.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ModelError(
            f"LoRA needs peft, which cannot be imported ({error})", 'install it: pip install "energyaware[finetune]"'
        ) from error
    # GPT-2's Conv1D stores inputs × outputs; peft would warn and set this itself.
    transposed = any(type(model.get_submodule(name)).__name__ == "Conv1D" for name in targets)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(targets),
        bias="none",
        fan_in_fan_out=transposed,
    )
    with _seeded(seed, next(model.parameters()).device):
        try:
            wrapper = get_peft_model(model, config)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise ModelError(
                f"peft cannot adapt {type(model).__name__} ({str(error)[:200]})", "fine-tune all of its weights instead"
            ) from error
    left = [name for name in targets if not hasattr(model.get_submodule(name), "lora_A")]
    if left:
        raise ModelError(f"peft passed over {len(left)} linear maps ({left[0]}, …)", "fine-tune all weights instead")
    return wrapper


@torch.no_grad()
def lora_deltas(model: Any, targets: Sequence[str]) -> dict[str, torch.Tensor]:
    """What each adapter adds to its map's weight, by name: outputs × inputs in fp32, on the CPU."""
    deltas = {}
    for name in targets:
        layer = model.get_submodule(name)
        product = layer.lora_B[_ADAPTER].weight.float() @ layer.lora_A[_ADAPTER].weight.float()
        deltas[name] = (product * layer.scaling[_ADAPTER]).cpu()
    return deltas


def save_adapter(wrapper: Any, folder: Path) -> None:
    """Write the adapter alone (safetensors) as peft reads it."""
    # "auto" would look for the base model's config, on the hub if need be.
    wrapper.save_pretrained(str(folder), save_embedding_layers=False)


def keep_unpacked(model: nn.Module) -> tuple[str, ...]:
    """Switch bitsandbytes' packing of 4-bit weights off, before the first forward pass.

    On a CPU with AVX512-bf16, bitsandbytes 0.50 repacks the weights of a `Linear4bit` in place as soon as it runs in
    evaluation mode. The backward pass does not know that layout: after a validation, gradients would silently be wrong.

    Returns:
        names of the modules in which packing was on.

    Raises:
        ModelError: a module is packed already.
    """
    names = []
    modules: Iterable[tuple[str, Any]] = model.named_modules()
    for name, module in modules:
        if not hasattr(module, "support_avx512bf16_for_cpu"):
            continue
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if getattr(state, "packing_format_for_cpu", False):
            raise ModelError(
                f"{name} is packed for evaluation, and its gradients would be wrong",
                "load the model again and train it before it is evaluated",
            )
        if module.support_avx512bf16_for_cpu:
            module.support_avx512bf16_for_cpu = False
            names.append(name)
    return tuple(names)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training changes, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class Finetuning:
    """A fine-tuning under way: each call of `train_epoch` trains one epoch, `validate` scores what it did.

    Args:
        model: on its device; parameters that require a gradient are trained.
        train: encoded training examples, at least one.
        validation: encoded validation examples, at least one.
        settings: of the training.
        autocast: multiply in bf16 over fp32 weights, as `bf16=True` of transformers' Trainer does.
        after_step: called after each optimizer step, to keep a pruned model's zeros.
        progress: called after each step.
        label: what `progress` shows.

    Attributes:
        curve: one entry for each validated epoch.

    Raises:
        ModelError: no examples, nothing to train, or 4-bit weights whose packing is on.
    """

    def __init__(
        self,
        model: Any,
        train: Sequence[EncodedExample],
        validation: Sequence[EncodedExample],
        settings: FinetuneSettings,
        *,
        autocast: bool = False,
        after_step: Callable[[], None] | None = None,
        progress: Progress = silent,
        label: str = "fine-tuning",
    ) -> None:
        if not train or not validation:
            raise ModelError(
                f"{len(train)} examples to train on and {len(validation)} to validate", "give larger splits"
            )
        if any(getattr(module, "support_avx512bf16_for_cpu", False) for module in model.modules()):
            raise ModelError("4-bit weights would be repacked while they are trained", "call keep_unpacked first")
        self.model = model
        self.settings = settings
        self.curve: list[EpochLoss] = []
        self.epochs_done = 0
        self._train, self._validation = train, validation
        self._autocast = autocast
        self._after_step = after_step
        self._progress, self._label = progress, label
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self._parameters:
            raise ModelError("no parameter of the model requires a gradient", "add adapters, or unfreeze its weights")
        self._device = next(model.parameters()).device
        self._optimizer = torch.optim.AdamW(self._parameters, lr=settings.lr, weight_decay=settings.weight_decay)
        self._training_loss = math.nan

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return -(-len(self._train) // self.settings.batch_size)

    @property
    def tokens_per_epoch(self) -> int:
        """Real tokens of one epoch, padding not counted."""
        return sum(len(example.token_ids) for example in self._train)

    def warm_up(self) -> None:
        """One forward and backward pass without an update: libraries load and memory is claimed."""
        self.model.train()
        with _seeded(self.settings.seed, self._device):
            self._loss(step_examples(self._train, self.settings.schedule, 0))[0].backward()  # type: ignore[no-untyped-call]
        self._optimizer.zero_grad(set_to_none=True)

    def train_epoch(self) -> float:
        """Train one epoch; beyond the last one the rate stays at its lowest.

        Returns:
            the mean training loss of the answers, nats per token.

        Raises:
            ModelError: the loss is no longer finite.
        """
        total = self.settings.epochs * self.steps_per_epoch
        first = self.epochs_done * self.steps_per_epoch
        seen, count = 0.0, 0
        self.model.train()
        with _seeded((self.settings.seed << 16) + self.epochs_done, self._device):
            for step in range(first, first + self.steps_per_epoch):
                chosen = step_examples(self._train, self.settings.schedule, step)
                set_rates([self._optimizer], rate_factor(min(step, total - 1), total, self.settings.schedule))
                answer = self._step(chosen, step)
                seen += answer * len(chosen)
                count += len(chosen)
                self._progress(self._label, step + 1, max(total, step + 1), f"loss {answer:.2f}")
        self.epochs_done += 1
        self._training_loss = seen / count
        return self._training_loss

    def validate(self) -> EpochLoss:
        """Score the epoch that was trained last, and add it to the curve. The next gradient is the same as without it.

        Raises:
            ModelError: no epoch was trained, or the loss is not finite.
        """
        if not self.epochs_done:
            raise ModelError("no epoch was trained yet", "call train_epoch first")
        found = EpochLoss(self.epochs_done, self._training_loss, self.validation_loss())
        self.curve.append(found)
        return found

    def validation_loss(self) -> float:
        """Nats per token of the validation split's answers, in evaluation mode.

        Raises:
            ModelError: it is not finite.
        """
        was_training = self.model.training
        self.model.eval()
        total, size = 0.0, self.settings.batch_size
        # no_grad and not inference_mode: what a module keeps from there could not enter the next backward pass.
        with torch.no_grad(), self._cast():
            for start in range(0, len(self._validation), size):
                chosen = self._validation[start : start + size]
                total += losses(self.model, chosen, self._device, early=False).answer.item() * len(chosen)
        self.model.train(was_training)
        loss = total / len(self._validation)
        if not math.isfinite(loss):
            raise ModelError(
                f"the validation loss is {loss} after {self.epochs_done} epochs", "lower the learning rate"
            )
        return loss

    def epochs(self) -> Iterator[EpochLoss]:
        """Train and validate what is left, epoch by epoch."""
        while self.epochs_done < self.settings.epochs:
            self.train_epoch()
            yield self.validate()

    def _cast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast)

    def _loss(self, chosen: Sequence[EncodedExample]) -> tuple[torch.Tensor, torch.Tensor]:
        """What is minimized, and the answers' part of it."""
        with self._cast():
            found = losses(self.model, chosen, self._device, early=False)
        weight = self.settings.answer_weight
        return (found.token + weight * found.answer) / (1 + weight), found.answer

    def _step(self, chosen: Sequence[EncodedExample], step: int) -> float:
        loss, answer = self._loss(chosen)
        if not torch.isfinite(loss):
            raise ModelError(f"the fine-tuning loss is {loss.item()} at step {step}", "lower the learning rate")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, self.settings.clip)
        self._optimizer.step()
        if self._after_step is not None:
            self._after_step()
        return answer.item()


def facts_of_curve(curve: Sequence[EpochLoss]) -> Mapping[str, list[float]]:
    """The curve as samples of a record: `training_loss` and `validation_loss`, one value per epoch."""
    return {
        "training_loss": [item.training for item in curve],
        "validation_loss": [item.validation for item in curve],
    }


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a generator of our own, and leave the process's as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
