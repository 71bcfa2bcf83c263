"""How a training run is shaped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """One training sequence.

    A decoder reads all of it; an encoder-decoder reads the prompt and writes the rest.

    Attributes:
        token_ids: prompt (its first token marks the beginning), answer and end of text.
        answer: index in `token_ids` of the answer's first token, at least 1.
        answer_tokens: how many tokens, from the first of the answer on, are learnt as the answer: 1 where that one
            decides, all with the end of text where the answer is free.
        cut: whether it was longer, and lost what did not fit.
    """

    token_ids: tuple[int, ...]
    answer: int
    answer_tokens: int = 1
    cut: bool = False


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of `energyaware.training.loop.train`.

    Attributes:
        epochs: passes over the data.
        batch_size: sequences per step.
        matrix_lr: learning rate of the blocks' matrices (Muon: the update's spectral norm).
        other_lr: learning rate of embeddings, norms and biases (Adam).
        momentum: of Muon.
        weight_decay: decoupled, on the blocks' matrices.
        warmup: share of the steps in which the rates rise from 0.
        decay: share of the steps in which the rates fall to 0, at the end.
        answer_weight: weight of each loss of the answer; that of the mean loss of all tokens is 1.
        early_until: share of the steps, at the start, that also ask for the answer after every token of the prompt.
        clip: largest norm of the gradient.
        seed: of the order of the data.
        checkpoint_s: least seconds between two checkpoints.
    """

    epochs: int = 1
    batch_size: int = 128
    matrix_lr: float = 0.05
    other_lr: float = 4e-3
    momentum: float = 0.95
    weight_decay: float = 0.05
    warmup: float = 0.1
    decay: float = 0.6
    answer_weight: float = 2.0
    early_until: float = 0.7
    clip: float = 1.0
    seed: int = 0
    checkpoint_s: float = 20.0

    def steps(self, examples: int) -> int:
        """Optimizer steps over that many examples; an incomplete last batch of an epoch is a step too."""
        return self.epochs * -(-examples // self.batch_size)
