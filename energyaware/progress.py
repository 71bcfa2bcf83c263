"""How long work tells how far it is, without knowing who shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called after each step: `done` of `total` steps of `label`, with a short free `detail`."""

    def __call__(self, label: str, done: int, total: int, detail: str = "") -> None: ...


def silent(label: str, done: int, total: int, detail: str = "") -> None:
    """Show nothing."""
