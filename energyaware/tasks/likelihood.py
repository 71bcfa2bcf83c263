"""How likely a model finds given answers to given prompts: one forward pass for each batch of pairs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from energyaware.errors import TaskError
from energyaware.tasks.encoding import (
    batches_by_length,
    device_of,
    encode_prompt,
    pad_rows,
    padding_side_of,
    padding_token,
    room_for,
    start_token_of,
)

_NOTHING = -1


@dataclass(frozen=True, slots=True)
class AnswerLikelihood:
    """How likely one answer is, given its prompt.

    Attributes:
        bits: −log2 of its probability; infinite where the model's logits are not finite.
        tokens: of the answer, without an end of text.
        size_bytes: of the answer in UTF-8.
        cut: whether the beginning of its prompt was cut off.
    """

    bits: float
    tokens: int
    size_bytes: int
    cut: bool = False

    @property
    def bits_per_byte(self) -> float:
        """Independent of the tokenizer, so that models of different vocabularies compare."""
        return self.bits / self.size_bytes

    @property
    def score(self) -> float:
        """2^−(bits per byte), in [0, 1]: the geometric mean probability of a byte."""
        return math.pow(2.0, -self.bits_per_byte)


@dataclass(frozen=True)
class PairBatch:
    """Some prompts with their answers, padded to one rectangle.

    Attributes:
        input_ids: [pairs, tokens]: prompts and answers; for an encoder-decoder prompts only.
        attention_mask: [pairs, tokens], 1 for real tokens.
        decoder_input_ids: [pairs, longest answer] for an encoder-decoder, else None.
        targets: [pairs, longest answer], token ids of the answers, −1 where one is shorter. Where padding is on the
            left, answers end in the last column, else they begin in the first.
        prompt_tokens: [pairs].
        positions: where in the pairs given to `encode_pairs` each row stood.
        sizes_bytes: [pairs], of the answers.
        padding_side: `left` or `right`.
        cuts: [pairs], whether the prompt was cut.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    decoder_input_ids: torch.Tensor | None
    targets: torch.Tensor
    prompt_tokens: torch.Tensor
    positions: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    padding_side: str
    cuts: tuple[bool, ...]

    @property
    def tokens_in(self) -> int:
        """Real tokens that are read, padding not counted."""
        return int(self.attention_mask.sum()) + (
            0 if self.decoder_input_ids is None else int((self.targets != _NOTHING).sum())
        )


def encode_pairs(model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], batch_size: int) -> list[PairBatch]:
    """Tokenize (prompt, answer) pairs and pad them, on the model's device.

    Raises:
        TaskError: an answer without any token, or one that leaves no room for its prompt.
    """
    encoder_decoder = bool(model.config.is_encoder_decoder)
    side = "right" if encoder_decoder else padding_side_of(model)
    device, padding = device_of(model), padding_token(tokenizer)
    prompts: list[list[int]] = []
    cuts: list[bool] = []
    answers: list[list[int]] = []
    for prompt, answer in pairs:
        spelled = list(tokenizer(answer, add_special_tokens=False)["input_ids"])
        if not spelled:
            raise TaskError(f"the answer {answer!r} has no token", "give every example an answer")
        read, cut = encode_prompt(tokenizer, prompt, room_for(model, len(spelled)))
        prompts.append(read)
        cuts.append(cut)
        answers.append(spelled)
    lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    batches = []
    for chosen in batches_by_length(lengths, batch_size):
        sequences = [prompts[index] if encoder_decoder else prompts[index] + answers[index] for index in chosen]
        ids, mask = pad_rows(sequences, padding, side)
        targets, _ = pad_rows([answers[index] for index in chosen], _NOTHING, side)
        before: torch.Tensor | None = None
        if encoder_decoder:
            start = start_token_of(model)
            before, _ = pad_rows([[start, *answers[index][:-1]] for index in chosen], padding, "right")
            before = before.to(device)
        batches.append(
            PairBatch(
                ids.to(device),
                mask.to(device),
                before,
                targets.to(device),
                torch.tensor([len(prompts[index]) for index in chosen], device=device),
                tuple(chosen),
                tuple(len(pairs[index][1].encode()) for index in chosen),
                side,
                tuple(cuts[index] for index in chosen),
            )
        )
    return batches


def answer_bits(model: Any, batch: PairBatch) -> torch.Tensor:
    """[pairs] −log2 of each answer's probability, in fp32. One forward pass."""
    real = batch.targets != _NOTHING
    log_probs = _answer_logits(model, batch).float().log_softmax(dim=-1)
    taken = log_probs.gather(2, batch.targets.clamp(min=0)[..., None])[..., 0]
    bits: torch.Tensor = -taken.masked_fill(~real, 0.0).sum(dim=1) / math.log(2)
    return bits


def likelihoods(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], batch_size: int
) -> tuple[list[AnswerLikelihood], int]:
    """How likely each answer is, in the order of the pairs, and how many prompts were cut to fit the model.

    Raises:
        TaskError: see `encode_pairs`.
    """
    found: dict[int, AnswerLikelihood] = {}
    with torch.inference_mode():
        for batch in encode_pairs(model, tokenizer, pairs, batch_size):
            bits = answer_bits(model, batch).tolist()
            tokens = (batch.targets != _NOTHING).sum(dim=1).tolist()
            for row, index in enumerate(batch.positions):
                value = bits[row] if math.isfinite(bits[row]) else math.inf
                found[index] = AnswerLikelihood(value, tokens[row], batch.sizes_bytes[row], batch.cuts[row])
    return [found[index] for index in range(len(pairs))], sum(item.cut for item in found.values())


def _answer_logits(model: Any, batch: PairBatch) -> torch.Tensor:
    """[pairs, longest answer, vocabulary], each the logits that predict the target in its place."""
    parameters = inspect.signature(model.forward).parameters
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in parameters else {}
    longest = batch.targets.shape[1]
    if batch.decoder_input_ids is not None:
        options["decoder_input_ids"] = batch.decoder_input_ids
    elif batch.padding_side == "left":
        # Padding in front must not shift what the real tokens see.
        options["position_ids"] = (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        if "logits_to_keep" in parameters:
            options["logits_to_keep"] = longest + 1
    logits: torch.Tensor = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options).logits
    if batch.decoder_input_ids is not None:
        return logits
    if batch.padding_side == "left":
        return logits[:, -longest - 1 : -1]
    steps = torch.arange(longest, device=logits.device)
    places = (batch.prompt_tokens[:, None] - 1 + steps).clamp(max=logits.shape[1] - 1)
    return logits[torch.arange(len(logits), device=logits.device)[:, None], places]
