"""`energyaware models`: the catalogue, its terms, and what of it is at hand."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from energyaware.errors import ModelError
from energyaware.paths import cache_dir
from energyaware.reports.tables import TERMINAL, fitted

if TYPE_CHECKING:
    from energyaware.models.catalogue import ModelSpec


# What goes first when the terminal is narrow.
_DROP_ORDER = ("family", "licence", "source")


def show() -> int:
    """Print every catalogue entry: parameters, licence, where it comes from and whether it is at hand. No network."""
    from energyaware.models.catalogue import CATALOGUE

    trained = cache_dir() / "models"
    rows = []
    for spec in CATALOGUE.values():
        source = spec.hub_id or "embedded"
        rows.append(
            (
                spec.name,
                spec.family,
                _count(spec.parameters),
                spec.licence + (" (gated)" if spec.gated else ""),
                f"{source}@{spec.revision}" if spec.revision else source,
                _trained(spec, trained) if spec.embedded else _downloaded(spec),
            )
        )
    titles = ("model", "family", "parameters", "licence", "source", "state")
    table = {title: [title, *(row[place] for row in rows)] for place, title in enumerate(titles)}
    # A file or a pipe gets every column.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(fitted(table, _DROP_ORDER, width, TERMINAL))
    print(f"cache: {cache_dir()}")
    return 0


def _count(parameters: int | None) -> str:
    if parameters is None:
        return "–"
    return f"{parameters / 1e9:.2f}B" if parameters >= 1e9 else f"{parameters / 1e6:.1f}M"


def _trained(spec: ModelSpec, trained: Path) -> str:
    copies = [path for path in trained.glob(f"{spec.name}-" + "[0-9a-f]" * 16) if (path / "config.json").is_file()]
    return f"trained ×{len(copies)}" if copies else "trained on first use"


def _downloaded(spec: ModelSpec) -> str:
    from energyaware.models.hub import cached_snapshot

    if spec.hub_id is None:
        return "local"
    try:
        return "cached" if cached_snapshot(spec.hub_id, spec.revision) else "downloaded on first use"
    except ImportError:
        return "needs energyaware[models]"
    except ModelError as error:
        return f"damaged: {error.cause}"
