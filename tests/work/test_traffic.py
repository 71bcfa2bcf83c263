from __future__ import annotations

import torch
from torch import nn

from energyaware.work.counters import count
from energyaware.work.traffic import cache_bytes, watch


def tied_head(vocabulary=20, hidden=4):
    embedding, head = nn.Embedding(vocabulary, hidden), nn.Linear(hidden, vocabulary, bias=False)
    head.weight = embedding.weight
    return nn.Sequential(embedding, head)


def test_a_tied_head_is_read_in_full_once_per_pass():
    model, ids = tied_head(), torch.tensor([[1, 2, 3]])
    with watch(model) as traffic:
        model(ids)
        model(ids)
    assert traffic.read_bytes == 2 * 20 * 4 * 4


def test_an_embedding_alone_is_read_by_the_rows_looked_up():
    model = nn.Embedding(20, 4)
    for ids, rows in ((torch.tensor([[1, 2], [1, 2]]), 4), (torch.zeros(5, 10, dtype=torch.long), 20)):
        with watch(model) as traffic:
            model(input=ids)
        assert traffic.read_bytes == rows * 4 * 4


def test_what_does_not_run_is_not_read():
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 8)])
    with watch(model) as traffic:
        model[1](torch.ones(1, 4))
    assert traffic.read_bytes == (32 + 8) * 4


def test_a_forward_pass_without_a_cache(make_model, ids):
    model = make_model()
    work = count(model, lambda: model(ids, use_cache=False))
    assert work.kv_bytes == 0
    assert work.read_bytes <= work.weight_bytes


def test_the_cache_before_a_pass_is_read_and_the_one_after_it_kept(make_model, ids):
    model = make_model()
    cache = model(ids, use_cache=True).past_key_values
    before = cache_bytes(cache)
    assert before == sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) > 0
    alone = count(model, lambda: model(ids[:, :1], use_cache=False))
    work = count(model, lambda: model(ids[:, :1], past_key_values=cache, use_cache=True))
    assert work.kv_bytes == before * 6 // 5
    assert work.read_bytes == alone.read_bytes + before


def test_half_precision_reads_half(make_model, ids):
    model = make_model()
    full = count(model, lambda: model(ids, use_cache=True))
    model.to(torch.bfloat16)
    half = count(model, lambda: model(ids, use_cache=True))
    assert 2 * half.read_bytes == full.read_bytes
    assert 2 * half.kv_bytes == full.kv_bytes


def test_hooks_are_gone_afterwards(gpt2):
    with watch(gpt2):
        pass
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in gpt2.modules())


def test_no_cache_holds_nothing():
    assert cache_bytes(None) == 0
