"""Small runs to judge and to store."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energyaware.baselines.codec import to_json
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Run, Totals, Work

CPU = {"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W per core: test")}


def make_rounds(energies_j, candles_j=None, calls: int = 1, seconds: float = 0.1) -> tuple[Round, ...]:
    candles = candles_j if candles_j is not None else [None] * len(energies_j)
    return tuple(
        Round(calls, seconds, Reading({"cpu": energy}, seconds), candle and Reading({"cpu": candle}, 0.05))
        for energy, candle in zip(energies_j, candles, strict=True)
    )


def make_benchmark(name: str = "test_a", energy_j: float = 1.0, rounds: int = 8, **changes: Any) -> Benchmark:
    # A ripple of 1 % so that no spread is exactly zero.
    energies = [energy_j * (1.01 if index % 2 else 0.99) for index in range(rounds)]
    plain = Benchmark(
        fullname=f"t.py::{name}",
        name=name,
        group="",
        task="rca",
        phase="inference",
        candle="matmul/1",
        layout="",
        domains=CPU,
        rounds=make_rounds(energies, [0.5] * rounds),
        work=Work(requests=1),
    )
    return dataclasses.replace(plain, **changes)


def make_run(*benchmarks: Benchmark, **changes: Any) -> Run:
    plain = Run(benchmarks, {"cpu": "Test CPU", "cores": "2"}, {}, Totals(), "0.1")
    return dataclasses.replace(plain, **changes)


def write_run(
    path: Path,
    benchmarks=(),
    *,
    commit: str = "unversioned",
    branch: str = "(unknown)",
    dirty: bool = False,
    **own: Any,
) -> Path:
    """One file as pytest-benchmark stores it, with our objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = path.name.split("_", 1)[0]
    data = {
        "machine_info": {"node": "somewhere"},
        "commit_info": {"id": commit, "branch": branch, "dirty": dirty, "time": None},
        "benchmarks": [
            {"fullname": item.fullname, "stats": {"mean": 1.0}, "energy": to_json(item)} for item in benchmarks
        ],
        "datetime": f"2026-01-01T00:{number[-2:]}:00+00:00" if number.isdigit() else "2026-01-01T00:00:00+00:00",
        "version": "5.3.0",
        "energyaware": {"schema_version": SCHEMA_VERSION, "version": "0.1", "machine": {"cpu": "Test CPU"}, **own},
    }
    path.write_text(json.dumps(data))
    return path


@pytest.fixture(scope="session")
def rounds_of() -> Callable[..., tuple[Round, ...]]:
    return make_rounds


@pytest.fixture(scope="session")
def bench() -> Callable[..., Benchmark]:
    return make_benchmark


@pytest.fixture(scope="session")
def run_of() -> Callable[..., Run]:
    return make_run


@pytest.fixture(scope="session")
def stored() -> Callable[..., Path]:
    return write_run
