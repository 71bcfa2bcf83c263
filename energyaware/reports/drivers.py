"""What drives energy in stored runs: records to regressions, rank correlations and tests between variants.

A row is one benchmark of one run. Its energy is the trimmed mean over rounds of the log of joules per request, at the
mean speed that the machine had in that run: what the candle beside each round says about the moment is taken out.
Each run has a level of its own, so only differences within a run count. Rows that were not measured alike (another
meter, source, power model, device or machine) are never put into one regression.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from energyaware.baselines.comparability import MACHINE_FIELDS
from energyaware.baselines.values import candle_value, round_value, session_candle, session_value
from energyaware.records import Benchmark, Run
from energyaware.stats.location import log_values, trimmed_mean
from energyaware.stats.multiple import holm_levels
from energyaware.stats.pairwise import Difference, independent, paired
from energyaware.stats.ranks import spearman
from energyaware.stats.regression import Driver, Fit, TooFewRowsError, fit

ALPHA = 0.05
FEATURES = {
    "character_entropy_bits": ("character entropy", " bits"),
    "word_entropy_bits": ("word entropy", " bits"),
    "type_token_ratio": ("type-token ratio", ""),
    "entity_density": ("entity density", ""),
}
"""Numbers about the texts, as `energyaware.data.features` counts them: recorded name to title and unit."""

ALL_WORK = "all work"

Evidence = Literal["launches", "tasks", "rounds"]
"""What a test between two variants rests on: several launches; several tasks of one launch; rounds of one task."""

MIN_VARIANTS = 4
"""With fewer variants than these, what varies within a variant is judged by its rows: for these variants only."""

_NO_VARIANT = "no variant"


@dataclass(frozen=True)
class Cell:
    """One row of a regression.

    Attributes:
        run: index of the run, which is one launch.
        log_energy: natural log of joules per request.
        kind: the phase, parted further where some of its rows have no such thing as output tokens.
    """

    run: int
    item: Benchmark
    log_energy: float
    kind: str


@dataclass(frozen=True)
class Section:
    """The regression of one kind of work.

    Attributes:
        fit: None where nothing could be fitted, and then `problem` says why.
        unknown: drivers that the records do not tell, with the reason.
        ranks: driver to Spearman's rank correlation with energy, of drivers that are numbers.
        notes: what a reader must know.
    """

    kind: str
    rows: int
    fit: Fit | None
    problem: str = ""
    unknown: Mapping[str, str] = field(default_factory=dict)
    ranks: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two variants of one group: log energy of `first` minus that of `second`.

    Attributes:
        count: launches, tasks or rounds that the difference rests on.
        differs: whether Holm's procedure over all pairs of the analysis rejects “no difference”; None where nothing
            was tested.
    """

    group: str
    first: str
    second: str
    difference: Difference
    evidence: Evidence
    count: int
    differs: bool | None = None


@dataclass(frozen=True)
class Analysis:
    """Everything that was measured alike.

    Attributes:
        conditions: what all rows share (`meter`, `source`, `machine cpu`, …).
        runs: names of the runs.
        apart: by how much separate fits for each kind of work explain more than one fit for all, as R²; None where
            not all kinds could be fitted.
        order: group to its variants, least energy first.
        left_out: rows without a value, by reason.
    """

    conditions: Mapping[str, str]
    runs: tuple[str, ...]
    rows: int
    sections: tuple[Section, ...]
    apart: float | None
    pairs: tuple[Pair, ...]
    order: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, int]


def analyses(runs: Sequence[Run]) -> tuple[Analysis, ...]:
    """One analysis for each way in which rows were measured, in the order in which they come."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[int, Benchmark]]] = {}
    left_out: dict[str, int] = {}
    for index, run in enumerate(runs):
        for item in run.benchmarks:
            problem = "its test failed" if item.outcome == "failed" else "" if item.rounds else "no valid reading"
            if problem:
                left_out[problem] = left_out.get(problem, 0) + 1
            else:
                groups.setdefault(_conditions(run, item), []).append((index, item))
    return tuple(_analysis(runs, dict(conditions), rows, left_out) for conditions, rows in groups.items())


def _conditions(run: Run, item: Benchmark) -> tuple[tuple[str, str], ...]:
    """What must agree before joules are put into one regression."""
    return (
        ("meter", item.meters),
        ("source", str(item.source)),
        ("idle power", "taken off" if item.idle_w else "included"),
        *((f"power model of {name}", domain.detail) for name, domain in sorted(item.domains.items())),
        ("device", item.traits.get("device", "")),
        *((f"machine {name}", run.machine.get(name, "")) for name in MACHINE_FIELDS),
    )


def _analysis(
    runs: Sequence[Run],
    conditions: Mapping[str, str],
    rows: Sequence[tuple[int, Benchmark]],
    left_out: Mapping[str, int],
) -> Analysis:
    cells = _cells(rows)
    kinds = list(dict.fromkeys(cell.kind for cell in cells))
    sections = [_section(ALL_WORK if len(kinds) > 1 else kinds[0], cells)]
    apart = None
    if len(kinds) > 1:
        each = [_section(kind, [cell for cell in cells if cell.kind == kind]) for kind in kinds]
        whole, parts = sections[0].fit, [section.fit for section in each]
        fitted = [part for part in parts if part is not None]
        if whole is not None and len(fitted) == len(parts) and whole.total_squares > 0:
            apart = 1 - sum(part.residual_squares for part in fitted) / whole.total_squares - whole.r2
        sections += each
    pairs, order = _pairs(cells)
    return Analysis(
        conditions=conditions,
        runs=tuple(Path(runs[index].path).stem or f"run {index + 1}" for index in sorted({cell.run for cell in cells})),
        rows=len(cells),
        sections=tuple(sections),
        apart=apart,
        pairs=pairs,
        order=order,
        left_out=left_out,
    )


# --- rows ----------------------------------------------------------------------------------------------------------


def _cells(rows: Sequence[tuple[int, Benchmark]]) -> list[Cell]:
    speeds: dict[tuple[int, str], list[float]] = {}
    values = []
    for run, item in rows:
        speed = session_candle(item, "energy")
        value = session_value(item, "energy", 1.0)
        if value is None:  # a benchmark without a round has been left out before
            continue
        values.append((run, item, value.centre, speed))
        if speed is not None:
            speeds.setdefault((run, item.candle), []).append(speed)
    means = {key: math.fsum(found) / len(found) for key, found in speeds.items()}
    kinds = _kinds([item for _, item in rows])
    return [
        Cell(run, item, value + (means[run, item.candle] if speed is not None else 0.0), kinds[_applies(item)])
        for run, item, value, speed in values
    ]


def _applies(item: Benchmark) -> tuple[str, tuple[bool, ...]]:
    """The phase, and which of its lengths a benchmark has."""
    return item.phase, tuple(read(item) is not None for read in _LENGTHS.values())


def _kinds(items: Sequence[Benchmark]) -> dict[tuple[str, tuple[bool, ...]], str]:
    patterns: dict[str, set[tuple[bool, ...]]] = {}
    for item in items:
        phase, pattern = _applies(item)
        patterns.setdefault(phase, set()).add(pattern)
    names = {}
    for phase, found in patterns.items():
        for pattern in found:
            lacking = [
                name
                for index, name in enumerate(_LENGTHS)
                if not pattern[index] and any(other[index] for other in found)
            ]
            title = phase or "work"
            names[phase, pattern] = f"{title} without {' or '.join(lacking)}" if lacking else title
    return names


# --- drivers -------------------------------------------------------------------------------------------------------


def number(item: Benchmark, name: str) -> float | None:
    """A positive or zero number that a benchmark recorded about its row; None where it did not."""
    features: Mapping[str, float] = getattr(item, "features", {})
    if name in features:
        return float(features[name])
    try:
        value = float(item.traits[name])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def input_tokens(item: Benchmark) -> float | None:
    """Tokens that a request brings: what the call read, or what the cache held when decoding began."""
    work = item.work
    return work.tokens_in / (work.requests or 1) if work.tokens_in else number(item, "input tokens") or None


def output_tokens(item: Benchmark) -> float | None:
    """Tokens that one request is answered with in this call."""
    work = item.work
    return work.tokens_out / (work.requests or 1) if work.tokens_out else None


def batch_size(item: Benchmark) -> float | None:
    """Requests per call."""
    return float(item.work.requests) if item.work.requests else number(item, "batch size") or None


def parameters(item: Benchmark) -> float | None:
    """How many numbers the model has learnt."""
    return number(item, "parameters") or None


Reader = Callable[[Benchmark], float | None]
_LENGTHS: dict[str, Reader] = {"input tokens": input_tokens, "output tokens": output_tokens, "batch size": batch_size}


def _drivers(cells: Sequence[Cell]) -> tuple[list[Driver], dict[str, str], list[str]]:
    """Drivers in the order in which they are believed, those the records do not tell, and notes."""
    variants = [cell.item.row for cell in cells]
    named = [cell.item.variant for cell in cells]
    models = [variant.model if variant else _NO_VARIANT for variant in named]
    found: list[Driver] = []
    unknown: dict[str, str] = {}
    notes: list[str] = []
    within: Sequence[Hashable] = variants
    if len(set(variants)) < MIN_VARIANTS:
        within = range(len(cells))
        notes.append(
            f"Fewer than {MIN_VARIANTS} variants: the intervals of phase, tokens and batch size hold for these alone."
        )
    kinds = [cell.kind for cell in cells]
    if len(set(kinds)) > 1:
        found.append(_factor("phase", kinds, _most_common(kinds), within))
    for name, read in _LENGTHS.items():
        values = [read(cell.item) for cell in cells]
        have = sum(value is not None for value in values)
        if not have:
            unknown[name] = "no row has any"
            continue
        if have < len(values):
            notes.append(f"The effect of {name} is read from the {have} rows that have any.")
        found.append(Driver(name, {f"twice the {name}": _log2_filled(values)}, within))
    architectures = [cell.item.traits.get("architecture", "") for cell in cells]
    if all(architectures):
        found.append(_factor("architecture", architectures, _most_common(architectures), variants))
    else:
        found.append(_factor("model", models, _most_common(models), variants))
    precisions = [variant.precision if variant else _NO_VARIANT for variant in named]
    prunings = [variant.pruning if variant else _NO_VARIANT for variant in named]
    found.append(_factor("precision", precisions, "fp32", variants))
    found.append(_factor("pruning", prunings, "dense", variants))
    counts = _complete(parameters, cells)
    if counts is None:
        unknown["parameters"] = _lacking(parameters, cells)
    else:
        found.append(Driver("parameters", {"twice the parameters": _log2_filled(counts)}, models, "model"))
    texts = [tuple(number(cell.item, name) for name in FEATURES) for cell in cells]
    for recorded, (name, unit) in FEATURES.items():
        read_feature = partial(number, name=recorded)
        features = _complete(read_feature, cells)
        if features is None:
            unknown[name] = _lacking(read_feature, cells)
        else:
            found.append(_standardized(name, unit, features, texts))
    return found, unknown, notes


def _complete(read: Reader, cells: Sequence[Cell]) -> list[float] | None:
    values = [read(cell.item) for cell in cells]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _lacking(read: Reader, cells: Sequence[Cell]) -> str:
    known = sum(read(cell.item) is not None for cell in cells)
    return f"recorded in {known} of {len(cells)} rows" if known else "not recorded"


def _most_common(labels: Sequence[str]) -> str:
    return max(dict.fromkeys(labels), key=labels.count)


def _factor(name: str, labels: Sequence[str], reference: str, clusters: Sequence[Hashable]) -> Driver:
    base = reference if reference in labels else _most_common(labels)
    levels = [level for level in dict.fromkeys(labels) if level != base]
    columns = {f"{level} instead of {base}": [float(label == level) for label in labels] for level in levels}
    return Driver(name, columns or {base: [0.0] * len(labels)}, clusters)


def _log2_filled(values: Sequence[float | None]) -> list[float]:
    """Logs to base 2; rows without a value get the mean, which the level of their kind of work makes harmless."""
    logs = [None if value is None else math.log2(value) for value in values]
    known = [value for value in logs if value is not None]
    mean = math.fsum(known) / len(known)
    return [mean if value is None else value for value in logs]


def _standardized(name: str, unit: str, values: Sequence[float], texts: Sequence[Hashable]) -> Driver:
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    title = f"{spread:.3g}{unit} more {name}" if spread else name
    return Driver(name, {title: [(value - mean) / (spread or 1.0) for value in values]}, texts, "text")


def _section(kind: str, cells: Sequence[Cell]) -> Section:
    drivers, unknown, notes = _drivers(cells)
    outcome = [cell.log_energy for cell in cells]
    blocks = [cell.run for cell in cells]
    ranks: dict[str, float | None] = {}
    for driver in drivers:
        if driver.name in (*_LENGTHS, "parameters", *(title for title, _ in FEATURES.values())):
            read = _LENGTHS.get(driver.name)
            have = [index for index, cell in enumerate(cells) if read is None or read(cell.item) is not None]
            (column,) = driver.columns.values()
            chosen = [column[index] for index in have], [outcome[index] for index in have]
            ranks[driver.name] = spearman(*chosen, [blocks[index] for index in have])
    section = Section(kind, len(cells), None, unknown=unknown, ranks=ranks, notes=tuple(notes))
    try:
        return replace(section, fit=fit(outcome, drivers, blocks))
    except TooFewRowsError as error:
        return replace(
            section, problem=f"{error.rows} rows are too few: the drivers that vary here need {error.needed}"
        )


# --- pairs ---------------------------------------------------------------------------------------------------------


def _pairs(cells: Sequence[Cell]) -> tuple[tuple[Pair, ...], dict[str, tuple[str, ...]]]:
    groups: dict[str, dict[str, dict[tuple[int, Hashable], Cell]]] = {}
    for cell in cells:
        item = cell.item
        work = (item.task, item.phase, *(read(item) for read in _LENGTHS.values()))
        groups.setdefault(item.group, {}).setdefault(item.row, {})[cell.run, work] = cell
    pairs: list[Pair] = []
    order = {}
    for group, rows in groups.items():
        means = {
            name: math.fsum(cell.log_energy for cell in found.values()) / len(found) for name, found in rows.items()
        }
        order[group] = tuple(sorted(means, key=lambda name: means[name]))
        for second, first in itertools.combinations(order[group], 2):
            pair = _pair(group, first, second, rows[first], rows[second])
            if pair is not None:
                pairs.append(pair)
    tested = [(index, pair.difference.p_value) for index, pair in enumerate(pairs)]
    known = [(index, p_value) for index, p_value in tested if p_value is not None]
    levels = holm_levels([p_value for _, p_value in known], ALPHA)
    for (index, p_value), level in zip(known, levels, strict=True):
        pairs[index] = replace(pairs[index], differs=p_value <= level)
    return tuple(pairs), order


def _pair(
    group: str,
    first: str,
    second: str,
    mine: Mapping[tuple[int, Hashable], Cell],
    other: Mapping[tuple[int, Hashable], Cell],
) -> Pair | None:
    """The best evidence there is: launches, else tasks, else rounds; None where the two never did the same work."""
    common = [key for key in mine if key in other]
    launches = list(dict.fromkeys(run for run, _ in common))
    works = [
        work for work in dict.fromkeys(work for _, work in common) if all((run, work) in common for run in launches)
    ]
    if not works:
        return None

    def gap(run: int, work: Hashable) -> float:
        return mine[run, work].log_energy - other[run, work].log_energy

    if len(launches) > 1:
        # A launch is the replicate: what its tasks say is averaged first.
        values = [math.fsum(gap(run, work) for work in works) / len(works) for run in launches]
        return Pair(group, first, second, paired(values), "launches", len(launches))
    (run,) = launches
    if len(works) > 1:
        return Pair(group, first, second, paired([gap(run, work) for work in works]), "tasks", len(works))
    one, two = mine[run, works[0]], other[run, works[0]]
    difference = independent(_round_values(one), _round_values(two))
    return Pair(group, first, second, difference, "rounds", difference.count)


def _round_values(cell: Cell) -> list[float]:
    """Log energy of each round, with the cell's own level."""
    item = cell.item
    values = log_values([round_value(item, "energy", entry) for entry in item.rounds])
    candles = [candle for entry in item.rounds if (candle := candle_value(item, "energy", entry)) is not None]
    if len(candles) == len(values):
        values = [value - control for value, control in zip(values, log_values(candles), strict=True)]
    shift = cell.log_energy - trimmed_mean(values).centre
    return [value + shift for value in values]
