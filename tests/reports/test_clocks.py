import dataclasses

import pytest

from energyaware.records import Benchmark, Domain, Reading, Round, Variant, Work
from energyaware.reports.clocks import clock_lines


def swept(setting, energy_j, latency_s, phase="decode", **changes):
    rounds = tuple(
        Round(2, 2 * latency_s * factor, Reading({"cpu": 2 * energy_j * factor}, 2 * latency_s))
        for factor in (0.99, 1.0, 1.01)
    )
    benchmark = Benchmark(
        f"test_{phase}[{setting}]", f"test_{phase}", f"dvfs {phase}", f"generation at {setting}", phase, "", "",
        {"cpu": Domain("rapl", "measured", 1e-3, "")}, rounds, Variant("m", "fp32", "dense"),
        work=Work(requests=1), traits={"dvfs": setting},
    )  # fmt: skip
    return dataclasses.replace(benchmark, **changes)


def test_the_best_settings_of_each_phase_are_said():
    lines = clock_lines(
        [
            swept("cpu:1200MHz", 1.0, 2.0),
            swept("cpu:2400MHz", 1.6, 1.0),
            swept("cpu:1200MHz", 5.0, 2.0, "prefill"),
            swept("cpu:2400MHz", 3.0, 1.0, "prefill"),
        ]
    )
    assert lines[0] == "m-fp32, decode, cpu: least energy: 1200 MHz"
    assert lines[1] == "m-fp32, decode, cpu: least energy × latency: 2400 MHz"
    assert lines[2].startswith("m-fp32, decode, cpu: least energy within 5 % of the fastest: 2400 MHz")
    assert lines[3] == "m-fp32, prefill, cpu: least energy: 2400 MHz"


@pytest.mark.parametrize(
    "benchmarks",
    [
        [],
        [swept("cpu:1200MHz", 1.0, 1.0)],
        [swept("cpu:1200MHz", 1.0, 1.0), swept("cpu:2400MHz", 1.0, 1.0, outcome="failed")],
        [swept("cpu:1200MHz", 1.0, 1.0, traits={}), swept("cpu:2400MHz", 1.0, 1.0, traits={})],
    ],
)
def test_without_a_sweep_nothing_is_said(benchmarks):
    assert clock_lines(benchmarks) == ()
