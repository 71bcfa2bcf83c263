"""Compressions of other plugins: what the hook `pytest_energy_compressions` may offer, and under which names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from energyaware.errors import CompressionError
from energyaware.variants.grid import METHODS

Compress = Callable[[Any, Sequence[Any]], Iterable[str] | None]
"""Changes a dense fp32 model in place. Called with the model and batches of token ids of the training split (each a
tensor, batch × tokens, or keyword arguments of the model); returns notes for the row, or None."""


def gather(offers: Iterable[Mapping[str, Compress]]) -> dict[str, Compress]:
    """All that is offered, by name.

    Raises:
        CompressionError: a name that ids cannot hold, one that means something already, one that is offered twice.
    """
    found: dict[str, Compress] = {}
    for offer in offers:
        for name, compress in offer.items():
            if not re.fullmatch("[a-z][a-z0-9]*", name):
                raise CompressionError(
                    f"pytest_energy_compressions offers {name!r}", "use a name of lower-case letters and digits"
                )
            if name in METHODS or name in found:
                raise CompressionError(
                    f"pytest_energy_compressions offers {name!r}, which is taken", "choose another name"
                )
            found[name] = compress
    return found
