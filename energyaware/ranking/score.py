"""R(i) = w·φ(i) + (1−w)·ρ(i), with intervals.

ρ(i) is the mean over tasks of the variant's quality, in [0, 1]. φ(i) is the geometric mean over tasks of
E_best / E_i, with E the energy per request and E_best the least among variants above the trivial baseline, so that a
broken cheap variant resets nobody. The paper's abstract gives R but not φ: this choice is ours.

Energies are compared after division by the candle beside each round, because the machine's speed drifts while a suite
runs; the joules that people read are raw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from energyaware.records import Benchmark
from energyaware.stats.location import TRIM, log_values, trimmed_mean

FORMULA = "R = w·φ + (1−w)·ρ;  φ = geometric mean over tasks of E_best/E;  ρ = mean quality"
DRAWS = 2000
# A variant stands behind another when it loses in at least this share of resampled runs.
CERTAINTY = 0.975

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detail:
    """One task of one row, raw numbers for people.

    Attributes:
        energy_j: joules per request, raw.
        energy_error: half of its 95 % interval over rounds, relative.
        latency_s: seconds of one call.
        quality: what entered ρ, with its metric's name.
    """

    benchmark: Benchmark
    energy_j: float | None
    energy_error: float | None
    energy_per_token_j: float | None
    latency_s: float | None
    quality: float | None
    quality_name: str


@dataclass(frozen=True)
class Row:
    """One ranked variant; rank, φ, ρ, R are None where they cannot be had, and `remark` says why."""

    group: str
    name: str
    details: tuple[Detail, ...]
    rank: int | None = None
    phi: float | None = None
    rho: float | None = None
    r: float | None = None
    r_low: float | None = None
    r_high: float | None = None
    first_probability: float | None = None
    pareto: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Winner:
    """The row that wins for every weight from `low` to `high`."""

    low: float
    high: float
    name: str


@dataclass(frozen=True)
class Ranking:
    """Rows of one group, best first, and what the order rests on."""

    group: str
    rows: tuple[Row, ...]
    weight: float
    winners: tuple[Winner, ...]
    normalised: bool
    source: str


def quality_of(benchmark: Benchmark) -> tuple[str, float | None]:
    """The metric that enters ρ: the first one recorded."""
    return next(iter(benchmark.quality.items()), ("", None))


def trivial_quality_of(benchmark: Benchmark) -> float | None:
    """What the trivial reader scores by the same metric; None where it was not recorded."""
    return benchmark.trivial_quality.get(quality_of(benchmark)[0])


def detail(benchmark: Benchmark) -> Detail:
    """Raw numbers of one benchmark, per request and per token."""
    requests = benchmark.work.requests or 1
    tokens = (benchmark.work.tokens_in or 0) + (benchmark.work.tokens_out or 0)
    energy = error = latency = None
    if benchmark.rounds:
        estimate = trimmed_mean(
            log_values([item.reading.above_idle_j(benchmark.idle_w) / item.calls for item in benchmark.rounds])
        )
        energy, error = math.exp(estimate.centre) / requests, estimate.half_width
        times = trimmed_mean(log_values([item.duration_s / item.calls for item in benchmark.rounds]))
        latency = math.exp(times.centre)
    name, quality = quality_of(benchmark)
    per_token = energy * requests / tokens if energy is not None and tokens else None
    return Detail(benchmark, energy, error, per_token, latency, quality, name)


def rank(benchmarks: Sequence[Benchmark], weight: float, seed: int = 0) -> tuple[Ranking, ...]:
    """Rank the rows of each group; the groups come in the order in which they were measured."""
    groups: dict[str, list[Benchmark]] = {}
    for benchmark in benchmarks:
        groups.setdefault(benchmark.group, []).append(benchmark)
    return tuple(_rank_group(group, items, weight, seed) for group, items in groups.items())


def _rank_group(group: str, benchmarks: Sequence[Benchmark], weight: float, seed: int) -> Ranking:
    by_row: dict[str, list[Benchmark]] = {}
    for benchmark in benchmarks:
        by_row.setdefault(benchmark.row, []).append(benchmark)
    tasks = {item.task for item in benchmarks if item.rounds}
    normalised = {task: _one_candle([item for item in benchmarks if item.task == task]) for task in tasks}
    meters = {(item.meters, item.source) for item in benchmarks if item.rounds}
    rows = [
        Row(group, name, tuple(map(detail, items)), remark=_problem(items, tasks)) for name, items in by_row.items()
    ]
    if len(meters) > 1:
        reason = "not ranked: its group was read by different meters"
        rows = [replace(row, remark=row.remark or reason) for row in rows]
    valid = [row for row in rows if not row.remark]
    if valid:
        ranked = _scored(valid, by_row, weight, normalised, np.random.default_rng(seed))
        front = pareto_front(list(ranked.values()))
        rows = [replace(ranked.get(row.name, row), pareto=row.name in front) for row in rows]
    rows.sort(key=lambda row: (row.rank is None, -(row.r if row.r is not None else row.phi or 0.0)))
    sources = sorted({str(item.source) for item in benchmarks if item.source})
    return Ranking(group, tuple(rows), weight, winners_by_weight(rows), all(normalised.values()), " and ".join(sources))


def _one_candle(benchmarks: Sequence[Benchmark]) -> bool:
    """Whether the rows of one task can be compared after division by their candle: all have the same, in each round."""
    candles = {item.candle for item in benchmarks if item.rounds}
    return len(candles) == 1 and all(entry.candle for item in benchmarks for entry in item.rounds)


def _problem(items: Sequence[Benchmark], tasks: set[str]) -> str:
    """Why a row cannot be ranked; empty where it can."""
    for item in items:
        if item.outcome == "failed":
            return f"error: {item.error}" if item.error else "its test failed"
        if not item.rounds:
            return "no valid reading: " + (", ".join(f"{n} × {why}" for why, n in item.discarded.items()) or "no round")
    if len({item.task for item in items}) < len(items):
        return "not ranked: two benchmarks of one task; give them different tasks or groups"
    absent = tasks - {item.task for item in items}
    if absent:
        return f"not ranked: lacks the task {', '.join(sorted(absent))}"
    for item in items:
        name, value = quality_of(item)
        floor = trivial_quality_of(item)
        if value is not None and not 0 <= value <= 1:
            return f"not ranked: {name} {value:g} is outside [0, 1]"
        if value is not None and floor is not None and value <= floor:
            return f"not ranked: {name} {value:.3f} is not above the trivial baseline {floor:.3f}"
    return ""


def _energy_draws(item: Benchmark, normalised: bool, rng: np.random.Generator) -> tuple[float, Floats]:
    """Log energy per request: its estimate, and the same from resampled rounds, shape (DRAWS,)."""
    values = np.log([entry.reading.above_idle_j(item.idle_w) / entry.calls for entry in item.rounds])
    if normalised:
        values = values - np.log([entry.candle.above_idle_j(item.idle_w) for entry in item.rounds if entry.candle])
    values = values - math.log(item.work.requests or 1)
    picks = rng.integers(0, len(values), size=(DRAWS, len(values)))
    # The same trimmed centre as everywhere else, on each resample.
    cut = int(TRIM * len(values))
    ordered = np.sort(values[picks], axis=1)
    centres: Floats = ordered[:, cut : len(values) - cut].mean(axis=1)
    return trimmed_mean(values.tolist()).centre, centres


def _quality_draws(item: Benchmark, picks: dict[int, npt.NDArray[np.int64]], rng: np.random.Generator) -> Floats | None:
    """The quality from resampled examples, shape (DRAWS,); the same examples are drawn for every row."""
    name, value = quality_of(item)
    if value is None:
        return None
    scores = np.asarray(item.scores.get(name, ()), dtype=float)
    if not len(scores):
        return np.full(DRAWS, value)
    if len(scores) not in picks:
        picks[len(scores)] = rng.integers(0, len(scores), size=(DRAWS, len(scores)))
    means: Floats = scores[picks[len(scores)]].mean(axis=1)
    return means


def _scored(
    rows: Sequence[Row],
    by_row: Mapping[str, Sequence[Benchmark]],
    weight: float,
    normalised: Mapping[str, bool],
    rng: np.random.Generator,
) -> dict[str, Row]:
    picks: dict[int, npt.NDArray[np.int64]] = {}
    energy: dict[str, dict[str, tuple[float, Floats]]] = {}
    quality: dict[str, list[Floats | None]] = {}
    for row in rows:
        energy[row.name] = {item.task: _energy_draws(item, normalised[item.task], rng) for item in by_row[row.name]}
        quality[row.name] = [_quality_draws(item, picks, rng) for item in by_row[row.name]]
    tasks = sorted(next(iter(energy.values())))
    best = {task: min(energy[name][task][0] for name in energy) for task in tasks}
    best_draws = {task: np.min([energy[name][task][1] for name in energy], axis=0) for task in tasks}

    phi: dict[str, float] = {}
    rho: dict[str, float | None] = {}
    score_draws: dict[str, Floats] = {}
    for row in rows:
        name = row.name
        phi[name] = math.exp(math.fsum(best[task] - energy[name][task][0] for task in tasks) / len(tasks))
        phi_draws = np.exp(np.mean([best_draws[task] - energy[name][task][1] for task in tasks], axis=0))
        values = [item.quality for item in row.details]
        known = [value for value in values if value is not None]
        drawn = [draw for draw in quality[name] if draw is not None]
        if len(known) == len(values):
            rho[name] = math.fsum(known) / len(known)
            score_draws[name] = weight * phi_draws + (1 - weight) * np.mean(drawn, axis=0)
        else:
            rho[name] = None
            score_draws[name] = phi_draws
    # Without quality everywhere there is no R: the rows are ranked by energy alone.
    with_quality = all(value is not None for value in rho.values())
    if not with_quality:
        score_draws = {
            row.name: np.exp(np.mean([best_draws[t] - energy[row.name][t][1] for t in tasks], axis=0)) for row in rows
        }
    matrix = np.stack([score_draws[row.name] for row in rows])
    winners = np.bincount(matrix.argmax(axis=0), minlength=len(rows)) / DRAWS
    ranks = shared_ranks(matrix)
    scored = {}
    for index, row in enumerate(rows):
        quality_value = rho[row.name]
        total = None
        if with_quality and quality_value is not None:
            total = weight * phi[row.name] + (1 - weight) * quality_value
        low, high = np.quantile(matrix[index], [0.025, 0.975])
        scored[row.name] = replace(
            row,
            rank=int(ranks[index]),
            phi=phi[row.name],
            rho=quality_value,
            r=total,
            r_low=float(low) if total is not None else None,
            r_high=float(high) if total is not None else None,
            first_probability=float(winners[index]),
        )
    return scored


def shared_ranks(draws: Floats) -> npt.NDArray[np.int64]:
    """The rank of each row: one more than the number of rows that score higher in at least `CERTAINTY` of the draws.

    Most pairs are told apart by their quantiles, and only those left over draw by draw, one row against the rest: time
    and memory stay small with thousands of rows.

    Args:
        draws: scores, shape (rows, draws), columns paired.

    Returns:
        shape (rows,).
    """
    count = draws.shape[1]
    # A row is behind another if that one does not score higher in at most so many draws.
    allowed = count - math.ceil(CERTAINTY * count)
    ordered = np.sort(draws, axis=1)
    # Half of the allowed draws below the one, half above the other: all others are in order, whatever their pairing.
    low, high = ordered[:, allowed // 2], ordered[:, count - 1 - allowed // 2]
    # Where the one is at its median or below, the other is below that too, but for the allowed draws.
    middle = count // 2
    median, floor = ordered[:, middle], ordered[:, max(middle - allowed, 0)]
    ranks = np.ones(len(draws), dtype=np.int64)
    for index, row in enumerate(draws):
        surely = low[index] > high
        ranks += surely
        open_ = np.flatnonzero(~surely & (floor < median[index]))
        if len(open_):
            ranks[open_] += np.count_nonzero(row <= draws[open_], axis=1) <= allowed
    return ranks


def pareto_front(rows: Sequence[Row]) -> frozenset[str]:
    """Rows that no other row beats in φ or ρ without losing in the other; rows without both are left out."""
    points = {row.name: (row.phi, row.rho) for row in rows if row.phi is not None and row.rho is not None}
    return frozenset(
        name
        for name, (phi, rho) in points.items()
        if not any(
            other_phi >= phi and other_rho >= rho and (other_phi, other_rho) != (phi, rho)
            for other_phi, other_rho in points.values()
        )
    )


def winners_by_weight(rows: Sequence[Row]) -> tuple[Winner, ...]:
    """Which row has the highest R for which w: exact, since R is linear in w and winners change only at crossings."""
    lines = [(row.name, row.phi, row.rho) for row in rows if row.r is not None]
    known = [(name, phi, rho) for name, phi, rho in lines if phi is not None and rho is not None]
    if not known:
        return ()
    winners: list[Winner] = []
    low = 0.0
    # Just above w = 0 the highest ρ wins, of equal ones that which rises fastest.
    name, phi, rho = max(known, key=lambda line: (line[2], line[1]))
    while True:
        slope = phi - rho
        # Whoever overtakes first comes next; of several at one point the one that rises fastest.
        overtaking = [
            ((rho - other[2]) / (other[1] - other[2] - slope), -(other[1] - other[2]), position)
            for position, other in enumerate(known)
            if other[1] - other[2] > slope
        ]
        high, _, position = min(overtaking, default=(1.0, 0.0, 0))
        if high >= 1:
            return (*winners, Winner(low, 1.0, name))
        if high > low:
            winners.append(Winner(low, high, name))
            low = high
        name, phi, rho = known[position]
