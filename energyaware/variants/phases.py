"""Generation in its two phases, each run by itself: prefill fills the key and value cache, decode goes on from it.

Both do what `model.generate(do_sample=False)` of transformers 5 does, pass by pass, and choose the same tokens. No
phase is ever had by subtracting two runs. Which first token follows from prefill's logits is decode's business, so
decoding `steps` tokens takes `steps - 1` forward passes.
"""

from __future__ import annotations

import copy
import functools
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from energyaware.errors import ModelError, TaskError
from energyaware.models.tokenizer import pieces
from energyaware.tasks.encoding import position_limit

# These grow by concatenation, which makes new tensors: sharing the old ones is safe.
_GROWING_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
_MOST_GENERATIONS = 30


@dataclass(frozen=True)
class Prefilled:
    """What prefill leaves behind. Decoding never changes it, so it may be decoded from again and again.

    Attributes:
        logits: [batch, vocabulary], of the next token.
        cache: transformers `Cache`; an `EncoderDecoderCache` for encoder-decoders.
        attention_mask: [batch, tokens], 1 for real tokens; None where nothing is padded. An encoder-decoder's belongs
            to the encoder's tokens.
        positions: [batch, 1], position of the next token; None where the model takes no positions.
        encoder_outputs: what the decoder attends to; None for decoders.
    """

    logits: torch.Tensor
    cache: Any
    attention_mask: torch.Tensor | None
    positions: torch.Tensor | None
    encoder_outputs: Any = None


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """When the tokens of one generation came.

    Attributes:
        ttft_s: time to first token: from the call until the first token of every request is known to the host.
        tpot_s: time per output token, one value for each token after the first.
    """

    ttft_s: float
    tpot_s: tuple[float, ...]


@torch.inference_mode()
def prefill(model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Prefilled:
    """Read the prompts in one forward pass and keep their keys and values. Waits until a GPU is done.

    Logits are asked for at the last position only, where the architecture allows. An encoder-decoder runs its encoder
    and the decoder's first step.

    Args:
        model: transformers model with a language modeling head, in evaluation mode.
        input_ids: [batch, tokens], padded on the left for decoders.
        attention_mask: [batch, tokens], 1 for real tokens; None says that nothing is padded.

    Raises:
        TaskError: a decoder's prompts are padded on the right.
        ModelError: an encoder-decoder that names no token to start with, or a model that returned no cache.
    """
    options = _options(model)
    if model.config.is_encoder_decoder:
        start = _start_token(model)
        options["decoder_input_ids"] = input_ids.new_full((len(input_ids), 1), start)
        positions = None
    else:
        if attention_mask is not None and bool(attention_mask.all()):
            attention_mask = None  # as `generate` does: attention without a mask is faster
        if attention_mask is not None and not bool(attention_mask[:, -1].all()):
            raise TaskError("the prompts are padded on the right", "pad on the left: padding_side='left'")
        positions = _positions(model, input_ids, attention_mask)
        if positions is not None:
            options["position_ids"] = positions
            positions = positions[:, -1:] + 1
    output = model(input_ids=input_ids, attention_mask=attention_mask, **options)
    if output.past_key_values is None:
        raise ModelError(
            f"{type(model).__name__} keeps no cache of keys and values", "its phases cannot be told apart: leave it out"
        )
    encoder_outputs = None
    if model.config.is_encoder_decoder:
        encoder_outputs = BaseModelOutput(last_hidden_state=output.encoder_last_hidden_state)
    prefilled = Prefilled(output.logits[:, -1], output.past_key_values, attention_mask, positions, encoder_outputs)
    _wait_for(prefilled.logits)
    return prefilled


@torch.inference_mode()
def decode(
    model: Any,
    prefilled: Prefilled,
    steps: int,
    *,
    stop_at_eos: bool = False,
    on_token: Callable[[torch.Tensor], object] | None = None,
) -> torch.Tensor:
    """Choose the most likely token, `steps` times. Waits until a GPU is done.

    Args:
        prefilled: of the same model; not changed.
        steps: tokens for each request, the first one from prefill's logits.
        stop_at_eos: stop once every request has ended, filling the others up with padding tokens, as
            `generate(max_new_tokens=steps)` does. Otherwise no request ends: end tokens are never chosen, as in
            `generate(max_new_tokens=steps, min_new_tokens=steps)`, so that the work does not depend on what is said.
        on_token: called with the tokens [batch] of each step, for time stamps.

    Returns:
        [batch, steps] token ids, or fewer columns where all ended.

    Raises:
        ValueError: less than one step.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps of decoding")
    options = _options(model)
    cache = _branch(prefilled.cache)
    logits, mask, positions = prefilled.logits, prefilled.attention_mask, prefilled.positions
    ends = torch.tensor(_end_tokens(model, logits.shape[-1]), dtype=torch.long, device=logits.device)
    running = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    padding = _padding_token(model)
    chosen: list[torch.Tensor] = []
    for step in range(steps):
        if step > 0:
            if prefilled.encoder_outputs is not None:
                inputs = {"decoder_input_ids": chosen[-1][:, None], "encoder_outputs": prefilled.encoder_outputs}
            else:
                inputs = {"input_ids": chosen[-1][:, None]}
                if mask is not None:
                    mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
                if positions is not None:
                    inputs["position_ids"] = positions
                    positions = positions + 1
            logits = model(**inputs, attention_mask=mask, past_key_values=cache, **options).logits[:, -1]
        scores = logits.to(torch.float32, copy=True)
        if not stop_at_eos and len(ends):
            scores.index_fill_(1, ends, -torch.inf)
        tokens = scores.argmax(dim=-1)
        if stop_at_eos and len(ends):
            tokens = torch.where(running, tokens, padding)
            running = running & ~torch.isin(tokens, ends)
        chosen.append(tokens)
        if on_token is not None:
            on_token(tokens)
        if stop_at_eos and not bool(running.any()):
            break
    result = torch.stack(chosen, dim=1)
    _wait_for(result)
    return result


@dataclass(frozen=True)
class PhaseWorkload:
    """Fixed prompts and a fixed number of tokens to answer with: each call does the same work.

    Attributes:
        input_ids: [requests, tokens] on the model's device.
        attention_mask: as in `prefill`.
        new_tokens: for each request.
    """

    model: Any
    input_ids: torch.Tensor
    new_tokens: int
    attention_mask: torch.Tensor | None = None

    @property
    def requests(self) -> int:
        """Prompts per call."""
        return len(self.input_ids)

    @property
    def tokens_in(self) -> int:
        """Real prompt tokens per call, padding not counted."""
        return self.input_ids.numel() if self.attention_mask is None else int(self.attention_mask.sum())

    @property
    def tokens_out(self) -> int:
        """Tokens that `generate` answers with, over all requests."""
        return self.requests * self.new_tokens

    @property
    def tokens_decoded(self) -> int:
        """Tokens that `decode` adds over all requests: the first one of each is prefill's."""
        return self.requests * (self.new_tokens - 1)

    def prefill(self) -> Prefilled:
        """Read the prompts."""
        return prefill(self.model, self.input_ids, self.attention_mask)

    def decode(self, prefilled: Prefilled) -> torch.Tensor:
        """Answer, [requests, new_tokens]."""
        return decode(self.model, prefilled, self.new_tokens)

    def generate(self) -> torch.Tensor:
        """Both phases, [requests, new_tokens]."""
        return self.decode(self.prefill())

    def library_generate(self) -> torch.Tensor:
        """The same tokens through the model's own `generate`, which prepares and checks more around the passes."""
        mask = torch.ones_like(self.input_ids) if self.attention_mask is None else self.attention_mask
        tokens: torch.Tensor = self.model.generate(
            self.input_ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=self.new_tokens,
            min_new_tokens=self.new_tokens,
            pad_token_id=_padding_token(self.model),
        )
        return tokens[:, -self.new_tokens :]

    def token_times(self) -> TokenTimes:
        """When each token was known to the host, in one generation.

        On a GPU the host waits for every token, as a server that streams them does. That costs time which
        `generate` does not spend, so this is never metered.
        """
        marks: list[float] = []

        def mark(tokens: torch.Tensor) -> None:
            _wait_for(tokens)
            marks.append(time.perf_counter())

        _wait_for(self.input_ids)
        start = time.perf_counter()
        decode(self.model, self.prefill(), self.new_tokens, on_token=mark)
        return TokenTimes(marks[0] - start, tuple(later - earlier for earlier, later in pairwise(marks)))


def phase_workload(
    model: Any, tokenizer: Any, texts: Sequence[str], *, batch_size: int, input_tokens: int, new_tokens: int
) -> PhaseWorkload:
    """A workload of prompts that are exactly `input_tokens` long, so that nothing is padded.

    Raises:
        TaskError: lengths below one, no text, or more tokens than the model has positions for.
    """
    limit = position_limit(model)
    if limit is not None and input_tokens + new_tokens > limit:
        raise TaskError(
            f"{input_tokens} tokens in and {new_tokens} out are more than the {limit} positions of this model",
            "ask for fewer",
        )
    if new_tokens < 1:
        raise TaskError(f"{new_tokens} tokens to answer with", "ask for at least one")
    ids = prompts(tokenizer, texts, batch_size, input_tokens)
    return PhaseWorkload(model, ids.to(model.device), new_tokens)


def token_times(
    workload: PhaseWorkload, before: Callable[[], object] | None = None, budget_s: float = 1.0, least: int = 5
) -> list[TokenTimes]:
    """Time stamps of several generations, unmetered: `least`, and as many more as fit the budget, up to 30.

    Args:
        before: called before each, for instance to lay weights out anew; one generation goes unrecorded after it.
    """
    found: list[TokenTimes] = []
    start = time.perf_counter()
    workload.generate()
    while len(found) < least or (len(found) < _MOST_GENERATIONS and time.perf_counter() - start < budget_s):
        if before is not None:
            before()
            workload.generate()
        found.append(workload.token_times())
    return found


def prompts(tokenizer: Any, texts: Sequence[str], batch_size: int, length: int) -> torch.Tensor:
    """Token ids [batch_size, length]: each row begins with another text and goes on with those after it, then is cut.

    The texts are repeated where they do not suffice. Rows begin with the tokenizer's start token if its prompts do.

    Raises:
        TaskError: no token in any text, or a batch or length below one.
    """
    if batch_size < 1 or length < 1:
        raise TaskError(f"{batch_size} prompts of {length} tokens", "ask for at least one of each")
    tokenized = [row for row in (pieces(tokenizer, text) for text in texts) if row]
    if not tokenized:
        raise TaskError("no text to make prompts of", "give a dataset whose test split holds texts")
    start = tokenizer.bos_token_id
    begins = start is not None and list(tokenizer(texts[0])["input_ids"])[:1] == [start]
    rows = []
    for first in range(batch_size):
        row = [start] if begins else []
        position = first
        while len(row) < length:
            row += tokenized[position % len(tokenized)]
            position += 1
        rows.append(row[:length])
    return torch.tensor(rows)


def _branch(cache: Any) -> Any:
    """A cache that may grow without changing `cache`.

    Layers that grow by concatenation are new objects on the same tensors, so this copies no keys and takes
    microseconds; layers of any other class, which may write in place, are copied in full. Cropping afterwards would do
    for plain layers only: one with a sliding window has thrown away what it would have to give back.
    """
    twin = copy.copy(cache)
    if isinstance(cache, EncoderDecoderCache):
        twin.self_attention_cache = _branch(cache.self_attention_cache)
        twin.cross_attention_cache = _branch(cache.cross_attention_cache)
        twin.is_updated = dict(cache.is_updated)
    else:
        twin.layers = [
            copy.copy(layer) if type(layer) in _GROWING_LAYERS else copy.deepcopy(layer) for layer in cache.layers
        ]
    return twin


@functools.lru_cache(maxsize=64)
def _parameters(forward: Any) -> frozenset[str]:
    # Asking for a signature takes as long as a small layer: not in every metered call.
    return frozenset(inspect.signature(forward).parameters)


def _options(model: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"use_cache": True, "return_dict": True}
    if "logits_to_keep" in _parameters(type(model).forward):
        options["logits_to_keep"] = 1
    return options


def _positions(model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
    if "position_ids" not in _parameters(type(model).forward):
        return None
    if attention_mask is None:
        return torch.arange(input_ids.shape[1], device=input_ids.device).expand(len(input_ids), -1)
    # Padding in front must not shift what the real tokens see.
    return (attention_mask.long().cumsum(dim=-1) - 1).masked_fill(attention_mask == 0, 0)


def _start_token(model: Any) -> int:
    start = model.generation_config.decoder_start_token_id
    if start is None:
        start = model.generation_config.bos_token_id  # as `generate` does
    if start is None:
        raise ModelError(
            f"{type(model).__name__} does not say which token its decoder starts with",
            "set decoder_start_token_id in the model's generation_config.json",
        )
    return int(start)


def _end_tokens(model: Any, vocabulary: int) -> list[int]:
    ends = model.generation_config.eos_token_id
    listed = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return [int(end) for end in listed if 0 <= int(end) < vocabulary]


def _padding_token(model: Any) -> int:
    padding = model.generation_config.pad_token_id
    if padding is not None:
        return int(padding)
    ends = model.generation_config.eos_token_id
    if ends is None:
        return 0
    return ends if isinstance(ends, int) else int(ends[0])


def _wait_for(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        # Over several GPUs too: the last one's result is there only when those before it are done.
        torch.cuda.synchronize(tensor.device)
