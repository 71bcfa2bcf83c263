from __future__ import annotations

import pytest
import torch

from energyaware.errors import ModelError
from energyaware.models.device import resolve, spread_gpus


@pytest.fixture
def cuda(monkeypatch):
    """A function: let torch see so many GPUs."""

    def see(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


@pytest.mark.parametrize(
    ("device", "count", "first", "several"),
    [
        ("auto", 0, "cpu", ()),
        ("auto", 4, "cuda", ()),
        ("cpu", 4, "cpu", ()),
        ("cuda", 4, "cuda", ()),
        ("cuda:2", 4, "cuda:2", ()),
        ("cuda:2,0", 4, "cuda:0", (0, 2)),
        ("cuda:all", 4, "cuda:0", (0, 1, 2, 3)),
        ("cuda:all", 1, "cuda:0", ()),
    ],
)
def test_where_inputs_go_and_over_what_a_model_is_spread(cuda, device, count, first, several):
    cuda(count)
    assert resolve(device) == first
    assert spread_gpus(device) == several


@pytest.mark.parametrize(("device", "count"), [("cuda", 0), ("cuda:all", 0), ("cuda:1", 1), ("cuda:0,4", 4)])
def test_a_gpu_that_torch_does_not_see_is_refused(cuda, device, count):
    cuda(count)
    for ask in (resolve, spread_gpus):
        with pytest.raises(ModelError, match=f"torch sees {count} CUDA devices"):
            ask(device)
