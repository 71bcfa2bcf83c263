import csv
import io

import pytest

from energyaware.ranking.score import rank
from energyaware.records import Reading, Round, RoundState, Run, Totals, Variant
from energyaware.reports.tidy import BENCHMARK_COLUMNS, ROUND_COLUMNS, benchmarks_csv, rounds_csv


def run_of(*benchmarks, number=1):
    return Run(benchmarks, {}, {}, Totals(), "0.1", path=f"{number:04}_run.json")


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_round_is_a_line_with_its_domains_windows_and_state(bench):
    entry = Round(
        2, 0.5, Reading({"cpu": 3.0, "gpu0": 4.0}, 0.6), Reading({"cpu": 1.0}, 0.1), True,
        {"prefill": Reading({"cpu": 1.5}, 0.2)}, RoundState(0.2, 0.0, foreign_gpu_processes=(7, 8)),
    )  # fmt: skip
    lines = table(rounds_csv([run_of(bench("a", rounds=(entry,), variant=Variant("m"))), run_of(bench("b"), number=2)]))
    line = lines[0]
    expected = {
        "run": "0001_run", "row": "m-fp32", "round": "1", "calls": "2", "energy_j": "7.0", "energy_cpu_j": "3.0",
        "energy_gpu0_j": "4.0", "window_prefill_j": "1.5", "candle_energy_j": "1.0", "candle_first": "True",
        "steal_share": "0.2", "foreign_gpu_processes": "7 8", "contended": "True", "duration_s": "0.5",
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected
    assert len(lines) == 1 + 6
    other = lines[1]
    assert other["run"] == "0002_run"
    # Nobody looked, and there is no such domain: that is no zero.
    assert [other[name] for name in ("steal_share", "contended", "energy_gpu0_j", "window_prefill_j")] == [""] * 4


def test_a_benchmark_is_a_line_of_its_run(bench):
    runs = [run_of(bench("a", 2.0), number=number) for number in (1, 2)]
    ranked = [(run, rank(run.benchmarks, 0.5), lambda energy_j: energy_j) for run in runs]
    lines = table(benchmarks_csv(ranked))
    assert tuple(lines[0]) == BENCHMARK_COLUMNS
    assert [line["run"] for line in lines] == ["0001_run", "0002_run"]
    assert float(lines[0]["energy_per_request_j"]) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("columns", [BENCHMARK_COLUMNS, ROUND_COLUMNS])
def test_every_physical_quantity_names_its_unit(columns):
    for name in columns:
        if any(word in name for word in ("energy_per", "duration", "latency")):
            assert name.endswith(("_j", "_s")), name
    assert len(set(columns)) == len(columns)
