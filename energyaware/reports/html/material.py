"""What a report is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from energyaware.baselines.gate import Judgement
from energyaware.ranking.score import Detail, Ranking, Row
from energyaware.records import Benchmark, RowSource, Run
from energyaware.reports.columns import Grams
from energyaware.reports.drivers import Analysis
from energyaware.reports.sections import Section

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
        sections: what follows the rankings in the terminal too: fine-tuning, its total cost, the papers' conclusions.
        launches: full name and metric to one log ratio for each launch of a comparison in turns, in their order.
    """

    run: Run
    rankings: tuple[Ranking, ...]
    grams: Grams
    runs: tuple[Run, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    baseline: str = ""
    analyses: tuple[Analysis, ...] = ()
    sections: tuple[Section, ...] = ()
    launches: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)

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
    """The ranking that answers which variant to deploy: the first of inference with R, else with R, else with a rank.

    What was fine-tuned cheapest is no answer: what is deployed answers requests.
    """
    scored = [ranking for ranking in rankings if any(row.r is not None for row in ranking.rows)]
    ranked = [ranking for ranking in rankings if any(row.rank is not None for row in ranking.rows)]
    serving = [ranking for ranking in scored if any(_serves(row) for row in ranking.rows)]
    return next(iter([*serving, *scored, *ranked]), None)


def _serves(row: Row) -> bool:
    return any(item.benchmark.phase == "inference" for item in row.details)


def said_source(source: RowSource | None) -> str:
    """Where joules come from, in words; empty where there are none."""
    return "measured and estimated" if source == "mixed" else source or ""


def said_meters(benchmarks: Iterable[Benchmark]) -> str:
    """`estimated (cpu: cpu-time)`: where the joules of benchmarks come from; empty where none was read."""
    found: dict[str, dict[str, None]] = {}
    for item in benchmarks:
        if item.rounds and item.source:
            found.setdefault(said_source(item.source), {})[item.meters] = None
    return "; ".join(f"{source} ({'; '.join(sorted(meters))})" for source, meters in found.items())


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
