"""One session's value of a noisy metric: what people read, and what is compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

from energyaware.records import Benchmark, Round
from energyaware.stats.location import Estimate, log_values, trimmed_mean


def round_value(item: Benchmark, metric: str, entry: Round) -> float:
    """Raw value of one round: joules per request (`energy`) or seconds per call (`latency`)."""
    if metric == "energy":
        return entry.reading.above_idle_j(item.idle_w) / entry.calls / (item.work.requests or 1)
    return entry.duration_s / entry.calls


def candle_value(item: Benchmark, metric: str, entry: Round) -> float | None:
    """The candle's joules or seconds beside a round, per unit of the candle."""
    if entry.candle is None:
        return None
    return entry.candle.above_idle_j(item.idle_w) if metric == "energy" else entry.candle.duration_s


def session_candle(item: Benchmark, metric: str) -> float | None:
    """Log of one session's candle; None where a round has none."""
    values = [candle_value(item, metric, entry) for entry in item.rounds]
    known = [value for value in values if value is not None]
    return trimmed_mean(log_values(known)).centre if known and len(known) == len(values) else None


def session_value(item: Benchmark, metric: str, slope: float) -> Estimate | None:
    """Log of one session's value, with `slope` times the log of the candle beside each round taken out."""
    if metric == "memory":
        return Estimate(math.log(item.peak_memory_bytes), None, 1) if item.peak_memory_bytes else None
    if not item.rounds:
        return None
    values = log_values([round_value(item, metric, entry) for entry in item.rounds])
    candles = [candle_value(item, metric, entry) for entry in item.rounds]
    if slope and all(candle is not None for candle in candles):
        controls = log_values([candle for candle in candles if candle is not None])
        values = [value - slope * control for value, control in zip(values, controls, strict=True)]
    return trimmed_mean(values)


def raw_value(item: Benchmark, metric: str) -> float | None:
    """What people read: the mean of the raw rounds, without the candle."""
    if metric == "memory":
        return float(item.peak_memory_bytes) if item.peak_memory_bytes else None
    estimate = session_value(item, metric, 0.0)
    return math.exp(estimate.centre) if estimate else None


def mean_session(items: Sequence[Benchmark], metric: str, slope: float) -> Estimate | None:
    """Mean of several sessions' values; None where none has one."""
    found = [value for item in items if (value := session_value(item, metric, slope)) is not None]
    if len(found) < 2:
        return found[0] if found else None
    error = math.sqrt(math.fsum((value.standard_error or 0.0) ** 2 for value in found)) / len(found)
    return Estimate(math.fsum(value.centre for value in found) / len(found), error, sum(value.count for value in found))
