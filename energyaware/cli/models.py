"""`energyaware models`: the catalogue and what of it is trained."""

from __future__ import annotations

from tabulate import tabulate

from energyaware.paths import cache_dir


def show() -> int:
    """Print every catalogue entry: where it comes from, its size, and how many trained copies the cache holds."""
    from energyaware.models.catalogue import CATALOGUE

    trained = cache_dir() / "models"
    rows = []
    for spec in CATALOGUE.values():
        copies = [path for path in trained.glob(f"{spec.name}-*") if (path / "config.json").is_file()]
        state = (f"trained ×{len(copies)}" if copies else "trained on first use") if spec.embedded else "from the hub"
        rows.append((spec.name, spec.family, spec.size, spec.hub_id or "embedded", spec.revision or "", state))
    print(tabulate(rows, headers=("model", "family", "size", "source", "revision", "state")))
    print(f"cache: {cache_dir()}")
    return 0
