"""Where a callable's objects land on the heap is chance too: shift the heap before every round."""

from __future__ import annotations

import random

# Blocks under 512 bytes come from Python's own arenas, larger ones from malloc, and from 128 KiB on from the kernel.
_SMALL_BYTES, _LARGE_BYTES = 512, 1 << 18
_MOST_BLOCKS = 64


class HeapShift:
    """Holds random-sized blocks until it is called again, so that what is allocated next lies elsewhere."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._held: list[bytearray] = []

    def __call__(self) -> None:
        """Let the old blocks go and take new ones."""
        self._held.clear()
        for _ in range(self._rng.randrange(1, _MOST_BLOCKS)):
            most = self._rng.choice((_SMALL_BYTES, _LARGE_BYTES))
            self._held.append(bytearray(self._rng.randrange(1, most)))
