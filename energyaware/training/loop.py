"""The training loop of the embedded models. A killed run resumes and ends in the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from energyaware.errors import ModelError
from energyaware.progress import Progress, silent
from energyaware.training.batches import step_examples
from energyaware.training.checkpoint import load_checkpoint, save_checkpoint
from energyaware.training.losses import losses
from energyaware.training.muon import Muon
from energyaware.training.settings import EncodedExample, TrainSettings


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training run did.

    Attributes:
        steps: optimizer steps, those before a resume included.
        resumed_from: step at which this call began.
        tokens: real tokens that this call trained on.
        duration_s: of this call.
        token_loss: nats per token, mean of the last tenth of the steps of this call; None if it had none left to do.
        answer_loss: the same for the answers' tokens.
        dtype: `bf16` where autocast was on, else `fp32`.
    """

    steps: int
    resumed_from: int
    tokens: int
    duration_s: float
    token_loss: float | None
    answer_loss: float | None
    dtype: str


def train(
    model: Any,
    examples: Sequence[EncodedExample],
    settings: TrainSettings,
    checkpoint_dir: Path,
    progress: Progress = silent,
    label: str = "training",
) -> TrainReport:
    """Train in place on the model's device; the model is left in evaluation mode.

    The loss joins the mean over all tokens with that of the answers and, in the first part of the run, with that of
    answers given early (see `energyaware.training.losses`). The last part unlearns the side effect (answers in the
    middle of a text). The blocks' matrices are updated by Muon, everything else by Adam. bf16 autocast is used only
    where the processor multiplies bf16 natively.

    Args:
        examples: at least one.
        checkpoint_dir: an existing directory; a matching checkpoint in it is resumed.
        progress: called after each step.
        label: what `progress` shows.

    Raises:
        ModelError: no examples, or the loss is no longer finite.
    """
    if not examples:
        raise ModelError("no examples to train on", "give a larger training split")
    total = settings.steps(len(examples))
    facts = {"total": total, "settings": asdict(replace(settings, checkpoint_s=0.0))}
    optimizers = make_optimizers(model, settings)
    found = load_checkpoint(checkpoint_dir, model, optimizers, facts)
    start = int(found["step"]) if found else 0
    began = saved = time.monotonic()
    device = next(model.parameters()).device
    autocast = native_bf16(device)
    tokens, seen = 0, []
    model.train()
    for step in range(start, total):
        chosen = step_examples(examples, settings, step)
        set_rates(optimizers, rate_factor(step, total, settings))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            found_losses = losses(model, chosen, device, early=step < settings.early_until * total)
        asked = [part for part in (found_losses.answer, found_losses.early) if part is not None]
        weight = settings.answer_weight
        loss = (found_losses.token + weight * sum(asked)) / (1 + weight * len(asked))
        if not torch.isfinite(loss):
            raise ModelError(f"the training loss is {loss.item()} at step {step}", "lower the learning rates")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for optimizer in optimizers:
            optimizer.step()
        tokens += sum(len(example.token_ids) for example in chosen)
        seen.append((found_losses.token.item(), found_losses.answer.item()))
        progress(label, step + 1, total, f"loss {seen[-1][1]:.2f}")
        if step + 1 < total and time.monotonic() - saved >= settings.checkpoint_s:
            save_checkpoint(checkpoint_dir, model, optimizers, facts | {"step": step + 1})
            saved = time.monotonic()
    model.eval()
    tail = seen[-max(1, total // 10) :]
    return TrainReport(
        steps=total,
        resumed_from=start,
        tokens=tokens,
        duration_s=time.monotonic() - began,
        token_loss=float(np.mean([pair[0] for pair in tail])) if tail else None,
        answer_loss=float(np.mean([pair[1] for pair in tail])) if tail else None,
        dtype="bf16" if autocast else "fp32",
    )


def native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 natively; elsewhere bf16 is emulated and slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16") or found.get("bf16"))


# Where attention takes products of queries and keys as they are, how the maps to queries are called, and what tells the
# width of a head. Everywhere else products are divided by the root of that width.
_UNSCALED: Mapping[str, tuple[str, Callable[[Any], int]]] = MappingProxyType(
    {
        "gpt_neo": (".q_proj.weight", lambda config: config.hidden_size // config.num_heads),
        "t5": (".q.weight", lambda config: config.d_kv),
    }
)


def unscaled_queries(model: Any) -> tuple[frozenset[int], float]:
    """The maps to queries of attention that does not scale, by `id`, and the factor of their learning rate.

    A step of such a map moves the attention √width times as far as a step of any other map moves anything, so that at
    rates at which the rest learns attention forgets. Divided by that root, it moves as far as where attention scales.
    """
    if model.config.model_type not in _UNSCALED:
        return frozenset(), 1.0
    ending, width = _UNSCALED[model.config.model_type]
    found = frozenset(id(parameter) for name, parameter in model.named_parameters() if name.endswith(ending))
    return found, width(model.config) ** -0.5


def make_optimizers(model: Any, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, at smaller rates for `unscaled_queries`; Adam for the rest."""
    conv1d = {
        id(module.weight) for module in model.modules() if type(module).__name__ == "Conv1D"
    }  # stored [in, out], unlike nn.Linear
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    head = model.get_output_embeddings()
    if head is not None:  # an embedding too, where it is not tied to the input's
        embeddings.add(id(head.weight))
    queries, factor = unscaled_queries(model)
    groups: dict[str, list[torch.nn.Parameter]] = {"linear": [], "queries": [], "conv1d": [], "rest": []}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        matrix = parameter.ndim == 2 and id(parameter) not in embeddings
        linear = "queries" if id(parameter) in queries else "linear"
        groups["conv1d" if id(parameter) in conv1d else linear if matrix else "rest"].append(parameter)
    dtype = torch.bfloat16 if native_bf16(next(model.parameters()).device) else torch.float32
    matrices = [
        {"params": groups["linear"], "transposed": False},
        {"params": groups["queries"], "transposed": False, "lr": factor * settings.matrix_lr},
        {"params": groups["conv1d"], "transposed": True},
    ]
    return [
        Muon(
            [group for group in matrices if group["params"]],
            settings.matrix_lr,
            settings.momentum,
            settings.weight_decay,
            dtype,
        ),
        torch.optim.AdamW(groups["rest"], lr=settings.other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate_factor(step: int, total: int, settings: TrainSettings) -> float:
    """Learning rates' factor in (0, 1]: a linear rise, a plateau, a linear fall."""
    rise = min(1.0, (step + 1) / max(1.0, settings.warmup * total))
    fall = min(1.0, (total - step) / max(1.0, settings.decay * total))
    return rise * fall


def set_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set each group's rate to `factor` times the rate with which it was made."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
