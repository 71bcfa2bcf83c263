"""What a step minimizes: nats per token, nats per answer, and answers asked for too early.

Asking early teaches from one ticket what each of its words adds. It is done for answers that one token decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from energyaware.training.batches import Batch, pad
from energyaware.training.settings import EncodedExample

_IGNORED = -100
"""What transformers takes for a label that is none."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one batch, each a scalar in nats.

    Attributes:
        token: mean over all tokens that the model is asked for.
        answer: mean over examples of the mean over the answer's tokens.
        early: mean over the answers asked for early; None where that was not wanted or no example is fit for it.
    """

    token: torch.Tensor
    answer: torch.Tensor
    early: torch.Tensor | None


def losses(model: Any, chosen: Sequence[EncodedExample], device: torch.device, *, early: bool) -> Losses:
    """Run the model over some examples.

    Args:
        early: whether to ask for answers early.
    """
    if model.config.is_encoder_decoder:
        return _of_encoder_decoder(model, chosen, device, early=early)
    return _of_decoder(model, pad(chosen, device), early=early)


@torch.inference_mode()
def mean_answer_loss(model: Any, examples: Sequence[EncodedExample], batch_size: int = 64) -> float:
    """Nats per token of the answers, every example counting the same; the model should be in evaluation mode."""
    device = next(model.parameters()).device
    total = 0.0
    for start in range(0, len(examples), batch_size):
        chosen = examples[start : start + batch_size]
        total += losses(model, chosen, device, early=False).answer.item() * len(chosen)
    return total / len(examples)


def _of_decoder(model: Any, batch: Batch, *, early: bool) -> Losses:
    """Early answers: the first token of the answer after every token of the prompt, all from one forward pass."""
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    log_probs = logits.float()[:, :-1].log_softmax(dim=-1)
    nll = -log_probs.gather(2, batch.ids[:, 1:, None])[..., 0]
    places = torch.arange(nll.shape[1], device=nll.device)
    first, count = batch.answers[:, None] - 1, batch.answer_tokens[:, None]
    inside = (places >= first) & (places < first + count)
    token = nll[batch.mask[:, 1:].bool()].mean()
    answer = (torch.where(inside, nll, 0.0).sum(dim=1) / batch.answer_tokens).mean()
    asked = (places <= first) & (count == 1)
    if not early or not bool(asked.any()):
        return Losses(token, answer, None)
    answers = batch.ids.gather(1, batch.answers[:, None])
    of_answer = -log_probs.gather(2, answers[:, None].expand(-1, log_probs.shape[1], 1))[..., 0]
    return Losses(token, answer, of_answer[asked].mean())


def _of_encoder_decoder(model: Any, chosen: Sequence[EncodedExample], device: torch.device, *, early: bool) -> Losses:
    """Early answers: see `_read_causally`."""
    read = _rectangle([example.token_ids[: example.answer] for example in chosen], 0).to(device)
    labels = _rectangle([example.token_ids[example.answer :] for example in chosen], _IGNORED).to(device)
    lengths = torch.tensor([example.answer for example in chosen], device=device)
    mask = (torch.arange(read.shape[1], device=device) < lengths[:, None]).long()
    written = model.prepare_decoder_input_ids_from_labels(labels)
    logits = model(input_ids=read, attention_mask=mask, decoder_input_ids=written, use_cache=False).logits
    nll = -logits.float().log_softmax(dim=-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
    counts = torch.tensor([example.answer_tokens for example in chosen], device=device)
    inside = torch.arange(nll.shape[1], device=device) < counts[:, None]
    token = nll[labels != _IGNORED]
    answer = (torch.where(inside, nll, 0.0).sum(dim=1) / counts).mean()
    if not early or not bool((counts == 1).any()):
        return Losses(token.mean(), answer, None)
    following, asked = _read_causally(model, read, mask, labels[:, :1])
    return Losses(torch.cat([token, following]).mean(), answer, asked[counts == 1].mean())


def _read_causally(
    model: Any, read: torch.Tensor, mask: torch.Tensor, answers: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the encoder alone makes of the prompts, each token seeing only those before it.

    So one pass asks for the answer, and for the next token, after every token of the prompt, as a decoder is asked.
    Without it an encoder-decoder learns from one token per ticket, and a decoder from all. Mixing attention masks in
    training follows Dong et al. 2019, "Unified Language Model Pre-training".

    Args:
        read: [sequences, tokens].
        mask: [sequences, tokens], 1 for real tokens.
        answers: [sequences, 1], first tokens of the answers.

    Returns:
        nats of all next tokens [tokens], and of the answers [sequences], the mean over the places of each.
    """
    width = read.shape[1]
    visible = torch.ones(width, width, dtype=torch.bool, device=read.device).tril() & mask[:, None, None].bool()
    states = model.get_encoder()(input_ids=read, attention_mask=visible).last_hidden_state
    log_probs = model.get_output_embeddings()(states).float().log_softmax(dim=-1)
    following = -log_probs[:, :-1].gather(2, read[:, 1:, None])[..., 0][mask[:, 1:].bool()]
    asked = -log_probs.gather(2, answers[:, None].expand(-1, width, 1))[..., 0]
    return following, (asked * mask).sum(dim=1) / mask.sum(dim=1)


def _rectangle(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    """[rows, tokens], padded on the right."""
    filled = torch.full((len(rows), max(map(len, rows))), filler, dtype=torch.long)
    for index, row in enumerate(rows):
        filled[index, : len(row)] = torch.tensor(row)
    return filled
