"""Which core a round runs on is chance too: two processes that take turns must not each keep a core of their own."""

from __future__ import annotations

import os


def move_to_core(share: float) -> None:
    """Move the calling thread to one of the cores that it may use; it is free to leave it again.

    Threads started later may use all of these cores, because the bounds are as before when this returns. Does nothing
    where the system has no such call (macOS, Windows).

    Args:
        share: in [0, 1), chooses the core: with equal cores the same value is the same core in every process.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[int(share * len(cores))]})
    os.sched_setaffinity(0, cores)
