"""What drives a number: least squares with intervals that hold for few, clustered rows, and each driver's share.

Rows of one variant share its weights and its quirks, so they are no independent evidence about a driver that is fixed
within the variant. Errors are therefore clustered, by CR2 with Satterthwaite's degrees of freedom, which stay honest
where few clusters carry a driver. Where a single cluster carries it, there is an estimate and no interval.

Sources: Bell & McCaffrey (2002), “Bias reduction in standard errors for linear regression with multi-stage samples”;
Pustejovsky & Tipton (2018), “Small-sample methods for cluster-robust variance estimation and hypothesis testing in
fixed effects models”, JBES 36; Lindeman, Merenda & Gold (1980), for the shares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from energyaware.stats.student import quantile, tail

Floats = npt.NDArray[np.float64]

MIN_SPARE_ROWS = 3
"""Rows beyond the unknowns without which nothing is fitted."""

# Shares average over all orders of the drivers: 2**12 fits at most.
_MOST_SHARED_DRIVERS = 12
_TOLERANCE = 1e-8
# A variance inflation of 10: the usual mark of drivers that move together.
_CLOSE_R2 = 0.9


class TooFewRowsError(ValueError):
    """Fewer rows than the unknowns need.

    Attributes:
        rows: how many there are.
        needed: how many it takes.
    """

    def __init__(self, rows: int, needed: int) -> None:
        self.rows, self.needed = rows, needed
        super().__init__(f"{rows} rows, {needed} needed")


@dataclass(frozen=True)
class Driver:
    """Something that may drive the outcome.

    Attributes:
        columns: what one unit of a column means to its values, one per row: a single column for a number, one of zeros
            and ones per level except the reference for a factor.
        clusters: one label per row: rows of one label are one piece of evidence about this driver.
        clustered_by: what the labels name (`variant`).
    """

    name: str
    columns: Mapping[str, Sequence[float]]
    clusters: Sequence[Hashable]
    clustered_by: str = "variant"


@dataclass(frozen=True)
class Term:
    """The effect of one unit of one column, on the outcome's scale.

    Attributes:
        low, high: 95 % interval; None where there is none, and then `reason` says why.
        degrees: Satterthwaite's degrees of freedom.
    """

    driver: str
    name: str
    estimate: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    degrees: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Share:
    """How much of the variance within blocks a driver explains.

    Attributes:
        average: its part of R², averaged over all orders in which drivers can enter (LMG, Shapley); the parts of all
            drivers add up to R². None with more than twelve drivers.
        alone: by how much R² falls without it: what no other driver could explain in its stead.
    """

    driver: str
    average: float | None
    alone: float


@dataclass(frozen=True)
class Entanglement:
    """A column that others determine wholly (`r2` = 1: it has no estimate) or nearly.

    Attributes:
        partners: the drivers that do.
        r2: the share of the column's variance that they explain.
    """

    driver: str
    column: str
    partners: tuple[str, ...]
    r2: float


@dataclass(frozen=True)
class Fit:
    """A regression of one outcome.

    Attributes:
        rows, unknowns: how many.
        r2: share of the variance within blocks that all drivers explain together.
        residual_sd: standard deviation of what is left, on the outcome's scale.
        residual_squares, total_squares: sums behind `r2`.
        constant: drivers that do not vary, with the reason.
        aliased: columns without an estimate, because others determine them.
        close: columns that others nearly determine.
    """

    rows: int
    unknowns: int
    r2: float
    residual_sd: float
    residual_squares: float
    total_squares: float
    terms: tuple[Term, ...]
    shares: tuple[Share, ...]
    constant: Mapping[str, str]
    aliased: tuple[Entanglement, ...]
    close: tuple[Entanglement, ...]


@dataclass(frozen=True)
class _Column:
    """One column, with the means of its blocks taken off."""

    driver: Driver
    name: str
    values: Floats


def fit(outcome: Sequence[float], drivers: Sequence[Driver], blocks: Sequence[Hashable]) -> Fit:
    """Regress `outcome` on all drivers, with a level of its own for each block.

    Drivers are taken in their order: of two that cannot be told apart, the first has the estimate.

    Args:
        outcome: one value per row.
        blocks: one label per row (a run, a meter): only differences within a block count.

    Raises:
        TooFewRowsError: fewer rows than unknowns and `MIN_SPARE_ROWS`.
        ValueError: no row, or columns of different lengths.
    """
    y = np.asarray(outcome, dtype=float)
    if not len(y) or any(
        len(values) != len(y) for driver in drivers for values in (driver.clusters, *driver.columns.values())
    ):
        raise ValueError("as many values as rows, and at least one row")
    levels = _indicators(blocks)
    constant: dict[str, str] = {}
    kept: list[_Column] = []
    aliased: list[Entanglement] = []
    for driver in drivers:
        varying = []
        for name, values in driver.columns.items():
            inner = _varying(np.asarray(values, dtype=float), levels)
            if inner.any():
                varying.append(_Column(driver, name, inner))
        if not varying:
            everywhere = all(len({*values}) == 1 for values in driver.columns.values())
            constant[driver.name] = "the same in every row" if everywhere else "the same in all rows of each run"
        for candidate in varying:
            if _explained(candidate, kept, levels) > 1 - _TOLERANCE:
                partners = _partners(candidate, kept, levels, 1 - _TOLERANCE)
                aliased.append(Entanglement(driver.name, candidate.name, partners, 1.0))
            else:
                kept.append(candidate)
    design = np.column_stack([levels, *(column.values for column in kept)])
    unknowns = design.shape[1]
    if len(y) < unknowns + MIN_SPARE_ROWS:
        raise TooFewRowsError(len(y), unknowns + MIN_SPARE_ROWS)
    from statsmodels.regression.linear_model import OLS  # here, as importing it takes long

    solved = OLS(y, design).fit()
    residuals = np.asarray(solved.resid, dtype=float)
    inverse = np.asarray(solved.normalized_cov_params, dtype=float)
    first = levels.shape[1]
    terms = tuple(
        _term(column, float(solved.params[first + index]), design, inverse, residuals, first + index)
        for index, column in enumerate(kept)
    )
    varied = _varying(y, levels)
    total, rest = _squares(varied), float((residuals**2).sum())
    return Fit(
        rows=len(y),
        unknowns=unknowns,
        r2=1 - rest / total if total > 0 else 0.0,
        residual_sd=math.sqrt(rest / (len(y) - unknowns)),
        residual_squares=rest,
        total_squares=total,
        terms=terms,
        shares=_shares(varied, kept, levels),
        constant=constant,
        aliased=tuple(aliased),
        close=_close(kept, levels),
    )


def _indicators(labels: Sequence[Hashable]) -> Floats:
    """[rows, labels] of zeros and ones."""
    found = list(dict.fromkeys(labels))
    return np.array([[float(label == other) for other in found] for label in labels])


def _within(values: Floats, levels: Floats) -> Floats:
    """`values` without their means over blocks; along the first axis."""
    means = (levels.T @ values) / (levels.sum(axis=0) if values.ndim == 1 else levels.sum(axis=0)[:, None])
    centred: Floats = values - levels @ means
    return centred


def _varying(values: Floats, levels: Floats) -> Floats:
    """`values` without their means over blocks, and zero throughout where only rounding is left."""
    centred = _within(values, levels)
    rounding = np.abs(centred).max() <= _TOLERANCE * max(1.0, float(np.abs(values).max()))
    return np.zeros_like(centred) if rounding else centred


def _squares(values: Floats) -> float:
    return float((values**2).sum())


def _r2(values: Floats, columns: Sequence[_Column], levels: Floats) -> float:
    """Share of the variance of `values` within blocks that the columns explain."""
    inner = _within(values, levels)
    if not columns or not _squares(inner):
        return 0.0
    regressors = _within(np.column_stack([column.values for column in columns]), levels)
    scales = np.sqrt((regressors**2).sum(axis=0))
    regressors = regressors / np.where(scales > 0, scales, 1.0)
    solved = np.linalg.lstsq(regressors, inner, rcond=None)[0]
    return 1 - _squares(inner - regressors @ solved) / _squares(inner)


def _explained(column: _Column, others: Sequence[_Column], levels: Floats) -> float:
    return _r2(column.values, others, levels)


def _partners(column: _Column, others: Sequence[_Column], levels: Floats, enough: float) -> tuple[str, ...]:
    """A smallest set of other drivers that explain `enough` of the column, found by leaving out one after the other."""
    names = list(dict.fromkeys(other.driver.name for other in others))
    for name in reversed(names.copy()):
        fewer = [item for item in names if item != name]
        if _explained(column, [other for other in others if other.driver.name in fewer], levels) > enough:
            names = fewer
    return tuple(names)


def _close(kept: Sequence[_Column], levels: Floats) -> tuple[Entanglement, ...]:
    found: list[Entanglement] = []
    named: set[frozenset[str]] = set()
    for column in kept:
        others = [other for other in kept if other.driver is not column.driver]
        explained = _explained(column, others, levels)
        if explained > _CLOSE_R2:
            partners = _partners(column, others, levels, _CLOSE_R2)
            together = frozenset({column.driver.name, *partners})
            if together not in named:
                named.add(together)
                found.append(Entanglement(column.driver.name, column.name, partners, explained))
    return tuple(found)


def _term(column: _Column, estimate: float, design: Floats, inverse: Floats, residuals: Floats, index: int) -> Term:
    driver = column.driver
    groups: dict[Hashable, list[int]] = {}
    for row, label in enumerate(driver.clusters):
        groups.setdefault(label, []).append(row)
    alone = [label for label, rows in groups.items() if not _estimable(np.delete(design, rows, axis=0), index)]
    if alone:
        reason = f"rests on the {driver.clustered_by} {alone[0]} alone"
        if len(alone) > 1:
            reason = f"rests on too few {driver.clustered_by}s"
        return Term(driver.name, column.name, estimate, reason=reason)
    error, degrees = _cr2(design, inverse, residuals, list(groups.values()), index)
    if error == 0:
        return Term(driver.name, column.name, estimate, estimate, estimate, 0.0, degrees)
    half = quantile(0.025, degrees) * error
    p_value = 2 * tail(abs(estimate) / error, degrees)
    return Term(driver.name, column.name, estimate, estimate - half, estimate + half, p_value, degrees)


def _estimable(design: Floats, index: int) -> bool:
    """Whether these rows determine the coefficient of one column."""
    if not len(design):
        return False
    scales = np.sqrt((design**2).sum(axis=0))
    if scales[index] == 0:
        return False
    scaled = design / np.where(scales > 0, scales, 1.0)
    others = np.delete(scaled, index, axis=1)
    solved = np.linalg.lstsq(others, scaled[:, index], rcond=None)[0]
    return _squares(scaled[:, index] - others @ solved) > _TOLERANCE


def _cr2(
    design: Floats, inverse: Floats, residuals: Floats, groups: Sequence[Sequence[int]], index: int
) -> tuple[float, float]:
    """Standard error of one coefficient and its degrees of freedom.

    Args:
        inverse: (X'X)⁻¹.
        groups: rows of each cluster.
    """
    weights, parts = [], []
    for rows in groups:
        x = design[rows]
        values, vectors = np.linalg.eigh(np.eye(len(rows)) - x @ inverse @ x.T)
        roots = np.where(values > _TOLERANCE, 1 / np.sqrt(np.maximum(values, _TOLERANCE)), 0.0)
        weight = (vectors * roots) @ vectors.T @ x @ inverse[:, index]
        weights.append(weight)
        parts.append(weight @ x)
    variance = sum(float(weight @ residuals[rows]) ** 2 for weight, rows in zip(weights, groups, strict=True))
    # Covariance of the clusters' contributions if all rows were alike and independent: a' (I − H) a.
    stacked = np.array(parts)
    working = np.diag([float(weight @ weight) for weight in weights]) - stacked @ inverse @ stacked.T
    degrees = float(np.trace(working) ** 2 / (working**2).sum())
    return math.sqrt(variance), degrees


def _shares(y: Floats, kept: Sequence[_Column], levels: Floats) -> tuple[Share, ...]:
    names = list(dict.fromkeys(column.driver.name for column in kept))
    known: dict[frozenset[str], float] = {}

    def r2(chosen: frozenset[str]) -> float:
        if chosen not in known:
            known[chosen] = _r2(y, [column for column in kept if column.driver.name in chosen], levels)
        return known[chosen]

    everything = frozenset(names)
    found = []
    for name in names:
        others = everything - {name}
        average = None
        if len(names) <= _MOST_SHARED_DRIVERS:
            average = 0.0
            for size in range(len(names)):
                each = 1 / (len(names) * math.comb(len(names) - 1, size))
                for chosen in map(frozenset, itertools.combinations(sorted(others), size)):
                    average += each * (r2(chosen | {name}) - r2(chosen))
        found.append(Share(name, average, r2(everything) - r2(others)))
    return tuple(found)
