"""Count the least bytes that a call must read from memory: weights as stored, and the key and value cache.

What counts, per forward pass (one call of the outermost module):
- the weights of every module that ran, once, as stored: packed where packed, with their scales. A tied head is the
  embedding matrix, which is then read in full, once. Modules that did not run are not read: the encoder while decoding,
  and the cross attention's key and value maps once their cache is full.
- of an embedding that is not also a head, only the rows looked up: one per index, at most the whole table. Two equal
  indices count as two, so that the number depends on shapes alone and not on which tokens a model happens to choose.
- the cache as it stood before the pass: this pass computes its own keys and values and need not fetch them.
Activations, masks and rotary tables count nothing, nor do the copies that a growing cache makes of itself, nor weights
that a kernel expands before it multiplies: this is a lower bound of what the hardware moves, and a share of bandwidth
computed from it cannot be flattered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from energyaware.work.storage import memory_key, module_tensors


class Traffic:
    """What has been seen so far.

    Attributes:
        read_bytes: least bytes read by all forward passes.
        kv_bytes: bytes of the cache after the last pass; 0 where that pass kept none.
    """

    def __init__(self) -> None:
        self.read_bytes = 0
        self.kv_bytes = 0
        self._depth = 0
        self._whole: dict[tuple[object, ...], int] = {}
        self._rows: Counter[tuple[object, ...]] = Counter()
        self._tables: dict[tuple[object, ...], nn.Embedding] = {}

    def enter(self, _: nn.Module, __: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook: a pass begins where no other module runs."""
        self._depth += 1
        if self._depth == 1:
            self.read_bytes += cache_bytes(kwargs.get("past_key_values"))

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Forward hook: notes what the module read, and adds a finished pass up."""
        self._depth -= 1
        if isinstance(module, nn.Embedding):
            key = memory_key(module.weight)
            self._tables[key] = module
            self._rows[key] += (args[0] if args else kwargs["input"]).numel()
        else:
            for tensor in module_tensors(module):
                if isinstance(tensor, torch.Tensor):
                    self._whole[memory_key(tensor)] = tensor.nbytes
        if self._depth == 0:
            self._finish(getattr(output, "past_key_values", None))

    def _finish(self, cache: Any) -> None:
        self.kv_bytes = cache_bytes(cache)
        self.read_bytes += sum(self._whole.values())
        for key, table in self._tables.items():
            if key not in self._whole:
                row_bytes = table.weight.nbytes // table.num_embeddings
                self.read_bytes += min(self._rows[key], table.num_embeddings) * row_bytes
        self._whole.clear()
        self._rows.clear()
        self._tables.clear()


@contextmanager
def watch(model: nn.Module) -> Iterator[Traffic]:
    """Count what `model` reads while the context is open.

    The cache is seen where it is passed as `past_key_values`, as transformers' own `generate` does.
    """
    traffic = Traffic()
    handles: list[Any] = []
    try:
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(traffic.enter, with_kwargs=True))
            handles.append(module.register_forward_hook(traffic.leave, with_kwargs=True))
        yield traffic
    finally:
        for handle in handles:
            handle.remove()


def cache_bytes(cache: Any) -> int:
    """Bytes of the keys and values that a transformers `Cache` holds; 0 for None and for one that is still empty.

    An encoder-decoder's cache counts self and cross attention. A layer with a sliding window counts what lies inside
    the window. States of linear attention are no keys or values and count nothing.
    """
    if cache is None:
        return 0
    if hasattr(cache, "cross_attention_cache"):
        return cache_bytes(cache.self_attention_cache) + cache_bytes(cache.cross_attention_cache)
    tensors = (getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values"))
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))
