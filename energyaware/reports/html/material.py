"""What a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from energyaware.baselines.gate import Judgement
from energyaware.ranking.score import Detail, Ranking, Row
from energyaware.records import Benchmark, Run
from energyaware.reports.columns import Grams
from energyaware.reports.drivers import Analysis

REFERENCE_PRECISION, REFERENCE_PRUNING = "fp32", "dense"


@dataclass(frozen=True)
class Material:
    """Records and what was derived from them.

    Attributes:
        run: the one that is shown.
        rankings: of its groups.
        grams: joules to grams of CO₂ equivalent; nan where the run names no intensity.
        runs: all that were given, oldest first, `run` among them.
        judgements: verdicts against `baseline`; empty where nothing was compared.
        analyses: drivers of energy; empty where nobody asked for them.
    """

    run: Run
    rankings: tuple[Ranking, ...]
    grams: Grams
    runs: tuple[Run, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    baseline: str = ""
    analyses: tuple[Analysis, ...] = ()

    @property
    def details(self) -> tuple[tuple[Row, Detail], ...]:
        """Every benchmark with a reading, beside its ranked row, in the order of the rankings."""
        return tuple(
            (row, item)
            for ranking in self.rankings
            for row in ranking.rows
            for item in row.details
            if item.energy_j is not None and item.benchmark.outcome == "passed"
        )


def main_ranking(rankings: Sequence[Ranking]) -> Ranking | None:
    """The ranking that answers which variant to deploy: the first with R, else the first with a rank."""
    for has in (lambda row: row.r is not None, lambda row: row.rank is not None):
        for ranking in rankings:
            if any(has(row) for row in ranking.rows):
                return ranking
    return None


def is_reference(row: Row) -> bool:
    """Whether a row is an uncompressed model."""
    variant = row.details[0].benchmark.variant if row.details else None
    return variant is not None and (variant.precision, variant.pruning) == (REFERENCE_PRECISION, REFERENCE_PRUNING)


def reference_of(ranking: Ranking, row: Row) -> Row | None:
    """What a row is compared with: the ranked uncompressed variant of its model; None where there is none."""
    variant = row.details[0].benchmark.variant
    for other in ranking.rows:
        found = other.details[0].benchmark.variant if other.details else None
        if variant and found and other.rank is not None and found.model == variant.model and is_reference(other):
            return other
    return None


def work_of(benchmark: Benchmark) -> str:
    """What a benchmark does, as one picks it from a list: only rows with the same work can be compared."""
    parts = dict.fromkeys(part for part in (benchmark.group, benchmark.phase, benchmark.task) if part)
    return " · ".join(parts) or "all work"
