"""One run at a time makes a model of the cache; the others wait for it and find it made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from energyaware.progress import Progress

_POLL_S = 2.0


@contextmanager
def only_one_trains(place: Path, label: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of a model's directory, a file beside it; whoever waits for it says so.

    The lock of a run that was killed is free. It does not nest, not even in one process.

    Args:
        place: where the model will lie; its parent exists.
        label: what progress shows.
    """
    lock = FileLock(place.with_name(f"{place.name}.lock"))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL_S)
        except Timeout:
            progress(label, 0, 1, "another run is training it: waiting")
    try:
        yield
    finally:
        lock.release()
