"""Reference work that resembles model work: plain callables for `measure` to meter, each a fixed number of FLOPs.

`matmul` resembles prefill, large matrix products at a small model's sizes. `small_ops` resembles decode at batch 1,
many small operations bound by dispatch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

MATMUL_VERSION = 1
SMALL_OPS_VERSION = 1


def matmul(device: str) -> Callable[[], object]:
    """Eight fp32 products of (256, 512) by (512, 2048) with the activation between: about 4.3 GFLOP."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 512, generator=generator).to(device)
    up = (torch.randn(2048, 512, generator=generator) / 512**0.5).to(device)
    down = (torch.randn(512, 2048, generator=generator) / 2048**0.5).to(device)

    @torch.inference_mode()
    def run() -> object:
        hidden = x
        for _ in range(4):
            hidden = torch.nn.functional.linear(torch.nn.functional.gelu(torch.nn.functional.linear(hidden, up)), down)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        return hidden

    return run


def small_ops(device: str) -> Callable[[], object]:
    """Two hundred rounds of normalise, multiply by a small matrix and add, on one vector of 64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 64, generator=generator).to(device)
    weight = (torch.randn(64, 64, generator=generator) / 8).to(device)

    @torch.inference_mode()
    def run() -> object:
        hidden = x
        for _ in range(200):
            hidden = hidden + torch.nn.functional.linear(torch.nn.functional.layer_norm(hidden, (64,)), weight)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        return hidden

    return run
