"""The pure parts of the promise about error and cost."""

import dataclasses

import pytest

from benchmarks.promises import overhead
from benchmarks.promises.overhead import (
    ALONE,
    BARE,
    Clocks,
    Row,
    Sample,
    energies_of_csv,
    error,
    misses,
    planned,
    rates,
    render,
    rows_of,
)
from energyaware.stats.location import Estimate

CPU = frozenset({"cpu"})


def sample(tool, length_s, energy_j, *, number=0, cpu_s=0.1, wall_s=0.2, around=0.0):
    work = Clocks(cpu_s, wall_s)
    return Sample(tool, length_s, number, energy_j, work, Clocks(cpu_s + around, wall_s + around))


def test_rates_follow_the_clock_of_each_domain():
    long = [
        sample("t", None, {"cpu": 40.0, "dram": 200.0}, cpu_s=10.0, wall_s=20.0),
        sample("t", None, {"cpu": 80.0, "dram": 100.0}, cpu_s=20.0, wall_s=10.0),
    ]
    assert rates(long, CPU) == {"cpu": 4.0, "dram": 10.0}
    assert rates(long, frozenset())["cpu"] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("energy_j", "expected"),
    [
        ({"cpu": 0.4, "dram": 2.0}, 0.0),
        ({"cpu": 0.8, "dram": 4.0}, 1.0),
        ({"cpu": 0.0, "dram": 0.0}, -1.0),
        ({"cpu": float("nan"), "dram": 2.0}, None),
        ({}, None),
    ],
)
def test_error_is_reading_against_truth(energy_j, expected):
    found = error(sample("t", 0.2, energy_j), {"cpu": 4.0, "dram": 10.0}, CPU)
    assert found == (None if expected is None else pytest.approx(expected))


def region_pair(number, energy_j, around):
    return (
        sample("t", 0.2, {"all": energy_j}, number=number, around=around),
        sample(BARE, 0.2, {}, number=number, around=0.001),
    )


def test_a_row_takes_the_clocks_own_cost_off_and_compares_side_by_side():
    pairs = [region_pair(number, 1.02, 0.003) for number in range(5)]
    bare = [other for _, other in pairs]
    long = sample("t", None, {"all": 100.0}, number=ALONE, wall_s=20.0)
    (row,) = rows_of("t", [long, *(own for own, _ in pairs), *bare], bare)
    assert (row.count, row.read) == (5, 5)
    assert row.error.centre == pytest.approx(0.02)
    assert row.within == pytest.approx(0.02)
    assert row.added_cpu == pytest.approx(0.002 / 0.1)
    assert row.added_wall == pytest.approx(0.002 / 0.2)
    assert row.against_bare.centre == pytest.approx(0.103 / 0.101 - 1)


def test_regions_of_another_process_have_nothing_bare_beside_them():
    own = [sample("t", length, {"all": 1.0}, number=ALONE) for length in (None, 0.2, 0.2)]
    (row,) = rows_of("t", own, [sample(BARE, 0.2, {}, number=ALONE)])
    assert row.against_bare is None


def test_a_region_without_a_reading_is_counted_as_such():
    own = [sample("t", None, {"all": 1.0}), sample("t", 0.2, {}), sample("t", 0.2, {"all": 1.0})]
    (row,) = rows_of("t", own, [sample(BARE, 0.2, {})])
    assert (row.count, row.read) == (2, 1)


KEPT = Row(
    "ours", True, 0.05, 40, 40, Estimate(0.001, 0.0005, 40, 23), 0.01, 0.004, 0.003, Estimate(0.02, 0.01, 40, 23)
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"within": 0.03}, "within 3.00 %"),
        ({"within": 0.03, "length_s": 0.02}, None),
        ({"within": None, "read": 0}, "0 of 40"),
        ({"read": 39}, "39 of 40"),
        ({"added_cpu": 0.006}, "added cost 0.60 %"),
        ({"added_wall": 0.006, "length_s": 0.02}, None),
        ({"against_bare": Estimate(0.05, 0.01, 40, 23)}, "against bare"),
        ({"against_bare": None}, None),
        ({"against_bare": Estimate(0.05, None, 1)}, None),
        ({"ours": False, "within": 1.0, "added_cpu": 1.0}, None),
    ],
)
def test_what_ours_misses_is_named(change, said):
    found = misses([dataclasses.replace(KEPT, **change)])
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_the_table_is_githubs_and_shows_what_is_missing_as_such():
    lines = render([KEPT, dataclasses.replace(KEPT, error=None, within=None, against_bare=None)]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2][:5] == ["ours", "50.0 ms", "40 of 40", "+0.10 ± 0.10 %", "1.00 %"]
    assert [cells[3][index] for index in (3, 4, 7)] == ["–", "–", "–"]


def test_energies_of_pytest_codecarbon_are_kilowatt_hours_by_test():
    lines = ["project_name,energy_consumed", "test_region[7],1e-6", "test_region[12],2e-6"]
    assert energies_of_csv(lines) == {7: pytest.approx(3.6), 12: pytest.approx(7.2)}


def test_every_length_is_planned_as_often_among_three_long_windows():
    regions = planned((0.02, 0.2), 4, 10.0, 0.002, seed=0)
    assert [units for length, units in regions if length is None] == [5000] * 3
    assert sorted(regions[1:-1], key=str) != regions[1:-1]
    assert [length for length, _ in regions].count(0.02) == [length for length, _ in regions].count(0.2) == 4
    assert dict(regions)[0.2] == 100


def test_a_wrong_interpreter_is_said_before_anything_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(overhead, "measure_all", None)
    with pytest.raises(SystemExit):
        overhead.main(["--energy-reporter=/nowhere/python"])
    assert "no interpreter" in capsys.readouterr().err
