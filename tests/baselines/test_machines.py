from dataclasses import replace

import pytest

from energyaware.baselines.machines import apart, joined, label

ONE, OTHER = {"cpu": "One", "cores": "2"}, {"cpu": "Other", "cores": "2", "gpu": "G"}


def test_what_only_one_knows_is_no_difference():
    assert joined([ONE, {**ONE, "threads": "2"}]) == ({**ONE, "threads": "2"}, ())
    assert joined([ONE, OTHER]) == ({"cpu": "One | Other", "cores": "2", "gpu": "G"}, ("cpu",))
    assert label(OTHER, ("cpu", "cores")) == "cpu Other, cores 2"


def test_rows_of_equal_machines_stay_as_they_are(bench):
    rows = (bench("a"), bench("b"))
    assert apart(rows, {item.fullname: ONE for item in rows}) == (rows, ONE)


@pytest.mark.parametrize("turned", [False, True])
def test_rows_of_different_machines_are_marked_and_ranked_by_their_candle(bench, turned):
    one, other, failed = bench("a", group="g"), bench("b", group="g"), bench("c", group="g", rounds=0)
    machines = {one.fullname: ONE, other.fullname: OTHER}
    found, machine = apart((one, other, failed), dict(sorted(machines.items(), reverse=turned)))
    assert machine == {"cpu": "One | Other", "cores": "2", "gpu": "G"}
    assert [item.group for item in found] == ["g", "g", "g"]
    assert found[0].domains["cpu"].detail.endswith("; cpu One")
    assert found[1].notes[-1].startswith("measured on cpu Other: ")
    assert found[2] == failed


def test_without_one_candle_each_machine_is_ranked_by_itself(bench, rounds_of):
    one, other = bench("a", group="g"), replace(bench("b", group="g"), rounds=rounds_of([1.0, 1.1]))
    alone = bench("c", group="h")
    machines = {one.fullname: ONE, other.fullname: OTHER, alone.fullname: OTHER}
    found, _ = apart((one, other, alone), machines)
    assert [item.group for item in found] == ["g on cpu One", "g on cpu Other", "h"]
    again, _ = apart((one, bench("b", group="g", candle="small-ops/1")), machines)
    assert [item.group for item in again] == ["g on cpu One", "g on cpu Other"]
