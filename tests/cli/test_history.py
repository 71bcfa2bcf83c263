"""`energyaware history` on stored runs."""

import json
import math
import random

import pytest

from energyaware.baselines.codec import to_json
from energyaware.baselines.trend import changes_of, series
from energyaware.cli import main
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Run, Totals, Work

CPU = {"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W")}


def benchmark(energy_j: float, candle_j: float | None = 0.5, name: str = "test_a", **changes) -> Benchmark:
    candle = Reading({"cpu": candle_j}, 0.1) if candle_j else None
    plain = {
        "fullname": f"t.py::{name}", "name": name, "group": "", "task": "", "phase": "", "candle": "matmul/1",
        "layout": "", "domains": CPU, "rounds": (Round(1, 0.1, Reading({"cpu": energy_j}, 0.1), candle),) * 4,
        "work": Work(requests=1),
    }  # fmt: skip
    return Benchmark(**(plain | changes))


@pytest.fixture
def noisy():
    """A session of 1 % noise on a machine whose speed moves workload and candle alike."""
    rng = random.Random(5)
    return lambda level, speed=1.0: benchmark(level * speed * math.exp(rng.gauss(0, 0.01)), 0.5 * speed)


def store(folder, number: int, *items: Benchmark, branch="main", dirty=False, interrupted=False) -> None:
    path = folder / f"{number:04}_run.json"
    data = {
        "benchmarks": [{"fullname": item.fullname, "energy": to_json(item)} for item in items],
        "commit_info": {"id": f"{number:040x}", "branch": branch, "dirty": dirty},
        "datetime": f"2026-01-{number:02}T00:00:00+00:00",
        "energyaware": {
            "schema_version": SCHEMA_VERSION, "version": "0", "machine": {"cpu": "Test"}, "options": {},
            "totals": to_json(Totals()), "interrupted": interrupted,
        },
    }  # fmt: skip
    path.write_text(json.dumps(data))


@pytest.fixture
def storage(tmp_path):
    return tmp_path


def history(storage, *arguments):
    return main(["history", f"--storage={storage}", *arguments])


def test_a_step_is_named_by_its_run_commit_and_date(storage, capsys, noisy):
    for number in range(1, 21):
        store(storage, number, noisy(1.1 if number >= 13 else 1.0, speed=1 + number % 3))
    assert history(storage) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("  step")]
    assert line.startswith("  step +")
    assert "at 0013_run (commit 000000000000, 2026-01-13T00:00:00)" in line
    effect = float(line.split()[1])
    assert effect == pytest.approx(10.0, abs=2.0)
    assert "energy of main: 20 runs" in out
    assert history(storage, "--fail") == 1


def test_a_drift_that_no_pair_shows_is_seen(storage, capsys, noisy):
    for number in range(1, 26):
        store(storage, number, noisy(math.exp(0.005 * number)))
    assert history(storage, "--fail") == 1
    out = capsys.readouterr().out
    assert "drift +" in out
    assert "from 0001_run" in out
    assert "to 0025_run" in out


def test_a_repaired_regression_does_not_fail_and_neither_does_an_improvement(storage, capsys, noisy):
    for number in range(1, 28):
        store(storage, number, noisy(1.2 if 10 <= number < 19 else 1.0))
    assert history(storage, "--fail") == 0
    assert [line.split()[1][0] for line in capsys.readouterr().out.splitlines() if line.startswith("  step")] == [
        "+",
        "-",
    ]


def test_a_steady_branch_has_no_change(storage, capsys, noisy):
    for number in range(1, 21):
        store(storage, number, noisy(1.0))
    assert history(storage, "--fail") == 0
    assert "no change" in capsys.readouterr().out
    assert history(storage, "--metric=latency", "--fail") == 0


def test_only_complete_clean_runs_of_the_branch_count(storage, capsys, noisy):
    for number in range(1, 9):
        store(storage, number, noisy(1.0))
    store(storage, 9, noisy(9.0), dirty=True)
    store(storage, 10, noisy(9.0), interrupted=True)
    store(storage, 11, noisy(9.0), branch="feature")
    (storage / "0012_broken.json").write_text("{")
    assert history(storage, "--branch=main") == 0
    out = capsys.readouterr().out
    assert "energy of main: 8 runs" in out
    assert "skipped: " in out
    assert "0012_broken.json" in out
    assert history(storage) == 0
    assert "energy of feature: 1 run under" in capsys.readouterr().out


def test_too_few_sessions_claim_nothing(storage, capsys, noisy):
    for number in range(1, 5):
        store(storage, number, noisy(1.0 + number))
    assert history(storage, "--fail") == 0
    assert "4 sessions, too few to tell (from 5)" in capsys.readouterr().out


def test_sessions_that_were_measured_otherwise_are_left_out_and_named(storage, capsys, noisy):
    for number in range(1, 7):
        store(storage, number, benchmark(5.0, domains={"cpu": Domain("rapl", "measured", 1e-3)}))
    for number in range(7, 15):
        store(storage, number, noisy(1.0))
    history(storage)
    out = capsys.readouterr().out
    assert "8 sessions" in out
    assert "6 left out (meter: cpu: rapl in the baseline, cpu: cpu-time now)" in out
    assert "no change" in out


def test_hostile_names_are_escaped(storage, capsys):
    store(storage, 1, benchmark(1.0, name="\x1b[2J"), branch="\x1b[31m")
    assert history(storage) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_nothing_stored_says_what_to_do(storage, capsys, noisy):
    assert history(storage) == 2
    assert "--benchmark-save" in capsys.readouterr().err
    store(storage, 1, noisy(1.0))
    assert history(storage, "--branch=other") == 2
    assert "stored branches: main" in capsys.readouterr().err


def test_without_a_candle_values_are_raw():
    runs = [Run((benchmark(level, None),), {}, {}, Totals(), "0") for level in (1.0, 2.0)]
    (found,) = series(runs, "energy")
    assert found.values == pytest.approx([0.0, math.log(2)])


def test_alarms_are_shared_among_benchmarks():
    """A step that is just clear alone is not enough among many."""
    values = [level + 0.01 * (index % 3 - 1) for index, level in enumerate([0.0] * 5 + [0.03] * 5)]
    runs = [Run((benchmark(math.exp(value)),), {}, {}, Totals(), "0") for value in values]
    (found,) = series(runs, "energy")
    assert changes_of(found, 1).steps
    assert not changes_of(found, 50).steps
