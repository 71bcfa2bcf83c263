"""`energyaware rank RUN`: the ranking of a stored run."""

from __future__ import annotations

import shutil
from pathlib import Path

from energyaware.baselines.store import load_run
from energyaware.errors import OptionError
from energyaware.ranking.score import rank
from energyaware.reports.columns import plain
from energyaware.reports.tables import ranking_notes, ranking_table, remarks, totals_line, wrapped
from energyaware.units import kwh


def show(path: Path, weight: float | None, sort: str) -> int:
    """Print the ranking of every group in a stored run.

    Raises:
        StoredRunError: the file is missing or damaged.
        OptionError: the weight is outside [0, 1].
    """
    run = load_run(path)
    if weight is None:
        stored = run.options.get("weight")
        weight = float(stored) if isinstance(stored, int | float) else 0.5
    if not 0 <= weight <= 1:
        raise OptionError(f"--weight={weight:g} is outside [0, 1]", "give a share, as --weight=0.5")
    per_kwh = run.totals.intensity_g_per_kwh
    width = shutil.get_terminal_size().columns

    def grams(energy_j: float) -> float:
        return kwh(energy_j) * (per_kwh if per_kwh is not None else float("nan"))

    for ranking in rank(run.benchmarks, weight):
        print(plain(ranking.group) or "ranking")
        print(ranking_table(ranking, grams, sort=sort, width=width))
        for line in (*remarks(ranking), *ranking_notes(ranking, run.totals)):
            print("\n".join(wrapped(line, width)))
        print()
    print("\n".join(wrapped(totals_line(run.totals), width)))
    return 0
