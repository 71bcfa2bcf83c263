from dataclasses import replace

import pytest

from energyaware.baselines.codec import to_json
from energyaware.baselines.comparability import differing, differing_subject
from energyaware.baselines.gate import judge
from energyaware.baselines.merge import merge, read_part
from energyaware.baselines.store import run_of
from energyaware.config import parse_limit
from energyaware.errors import StoredRunError
from energyaware.ranking.score import rank
from energyaware.records import Totals

IDS = ["t.py::a", "t.py::b", "t.py::c", "t.py::d"]
MACHINE = {"cpu": "Test CPU", "cores": "2"}


@pytest.fixture
def shard(tmp_path, stored, bench):
    """Writes part `index` of 2 with the benchmarks `names`, and reads it."""

    def make(index, *names, energies=None, changes=None, commit="abc", dirty=False, **own):
        record = {"index": index, "of": 2, "plan": "p", "ids": IDS, "default_limits": ["energy:5%"]}
        items = [replace(bench(name, (energies or {}).get(name, 1.0)), **(changes or {})) for name in names]
        own = {
            "options": {"weight": 0.5, "shard": f"{index}/2"},
            "meters": {"cpu": "cpu-time"},
            "machine": MACHINE,
            "totals": to_json(Totals(10.0, "estimated", 5.0, 1.0, 400.0, "world", 0.1 * index)),
            "shard": record,
            "errors": [],
            **own,
        }
        path = tmp_path / f"part{len(list(tmp_path.iterdir()))}.json"
        return read_part(stored(path, items, commit=commit, branch="main", dirty=dirty, **own))

    return make


def names_of(data):
    return [entry["fullname"] for entry in data["benchmarks"]]


def test_parts_joined_are_what_one_run_would_have_stored(shard):
    data = merge([shard(2, "b", "d"), shard(1, "a", "c")])
    assert names_of(data) == IDS
    run = run_of(data, "merged.json")
    assert len(run.benchmarks) == 4
    assert (run.commit, run.branch, run.interrupted, run.machine) == ("abc", "main", False, MACHINE)
    assert "shard" not in run.options
    assert "shard" not in data["energyaware"]
    assert run.totals == Totals(20.0, "estimated", 10.0, 2.0, 400.0, "world", pytest.approx(0.15))
    assert [item["shard"] for item in data["energyaware"]["merged"]] == ["2/2", "1/2"]


def test_ranking_and_gate_give_what_they_give_for_one_run(shard, bench, run_of):
    """`run_of` here is the fixture that makes a run in memory."""
    from energyaware.baselines.store import run_of as read

    energies = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    merged = read(merge([shard(1, "a", "c", energies=energies), shard(2, "b", "d", energies=energies)]), "x.json")
    one = run_of(*(bench(name, energy) for name, energy in energies.items()), machine=MACHINE)
    assert rank(merged.benchmarks, 0.5) == rank(one.benchmarks, 0.5)
    worse = run_of(*(bench(name, 2 * energy) for name, energy in energies.items()), machine=MACHINE)
    limits = (parse_limit("energy:50%"),)
    assert judge(worse, merged, lambda _: limits) == judge(worse, one, lambda _: limits)
    assert judge(merged, one, lambda _: limits) == judge(one, one, lambda _: limits)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"commit": "def"}, "commit: abc in .*part0.*, def in .*part1"),
        ({"dirty": True}, "uncommitted changes: no in .*, yes in "),
        ({"version": "9"}, r"energyaware: 0\.1 in .*, 9 in "),
        ({"options": {"weight": 0.5, "suite": "full"}}, 'option suite: null in .*, "full" in '),
        ({"meters": {"cpu": "rapl"}}, "meters: .*cpu-time.* in .*, .*rapl.* in "),
        ({"machine": {"cpu": "Other", "cores": "2"}}, "machine cpu: Test CPU in .*, Other in "),
        ({"interrupted": True}, "part1.json is of an interrupted run"),
        ({"shard": None}, "measured with --energy-shard: yes in .*, no in "),
    ],
)
def test_what_was_not_measured_alike_is_refused_with_both_values(shard, change, said):
    parts = [shard(1, "a"), shard(2, "b", **change)]
    with pytest.raises(StoredRunError, match=said) as caught:
        merge(parts)
    assert caught.value.remedy


def test_another_plan_is_refused(shard):
    other = {"index": 2, "of": 2, "plan": "q", "ids": IDS, "default_limits": ["energy:5%"]}
    with pytest.raises(StoredRunError, match=r"plan of the parts: p in .*, q in "):
        merge([shard(1, "a"), shard(2, "b", shard=other)])


def test_a_benchmark_in_two_parts_is_refused(shard):
    with pytest.raises(StoredRunError, match=r"t\.py::a is in .*part0.* and in .*part1"):
        merge([shard(1, "a"), shard(2, "a", "b")])


def test_one_part_twice_is_refused(shard):
    with pytest.raises(StoredRunError, match="part 1/2 is in "):
        merge([shard(1, "a"), shard(1, "b")])


def test_an_absent_part_is_named_and_makes_the_result_incomplete(shard):
    with pytest.raises(StoredRunError, match="2/2 is not here"):
        merge([shard(1, "a")])
    assert merge([shard(1, "b")], partial=True)["energyaware"]["interrupted"]


def test_runs_that_are_no_parts_can_be_joined(shard):
    data = merge([shard(1, "b", shard=None), shard(2, "a", shard=None)])
    assert names_of(data) == ["t.py::b", "t.py::a"]


def test_a_part_that_knows_less_of_the_machine_is_no_other_machine(shard):
    data = merge([shard(1, "a"), shard(2, "b", machine={**MACHINE, "threads": "2"})])
    assert data["energyaware"]["machine"] == {**MACHINE, "threads": "2"}


def test_errors_limits_and_unknown_totals_are_kept(shard):
    limits = {"limits": {IDS[1]: ["flops:0%"]}, "default_limits": ["energy:5%"]}
    limits |= {"index": 2, "of": 2, "plan": "p", "ids": IDS}
    errors = [{"fullname": IDS[3], "error": "no"}]
    own = merge([shard(1, "a"), shard(2, "b", shard=limits, errors=errors, totals={})])["energyaware"]
    assert own["errors"] == errors
    assert own["limits"] == {IDS[1]: ("flops:0%",)}
    assert own["totals"]["energy_j"] is None
    assert own["totals"]["intensity_g_per_kwh"] is None


def test_different_machines_join_when_asked_and_the_result_says_so(shard, bench):
    parts = [shard(1, "a"), shard(2, "b", machine={"cpu": "Other", "cores": "2"})]
    data = merge(parts, across_machines=True)
    run = run_of(data, "x.json")
    assert run.machine == {"cpu": "Test CPU | Other", "cores": "2"}
    first, second = run.benchmarks
    assert first.notes[-1].startswith("measured on cpu Test CPU: ")
    assert second.domains["cpu"].detail.endswith("; cpu Other")
    # Noisy numbers of another machine are never compared as if equal; counts and qualities are.
    again = merge([shard(1, "b"), shard(2, "a", machine={"cpu": "Other", "cores": "2"})], across_machines=True)
    other = {item.name: item for item in run_of(again, "y.json").benchmarks}
    assert "power model of cpu" in differing(first, other["a"], run.machine, run.machine)
    assert differing_subject(first, other["a"]) is None
    # The parts themselves are as they were.
    assert parts[0].data["benchmarks"][0]["energy"]["notes"] == []


def test_different_machines_need_one_candle(shard, rounds_of):
    other = {"cpu": "Other", "cores": "2"}
    first, bare = shard(1, "a"), shard(2, "b", machine=other, changes={"rounds": rounds_of([1.0, 1.1])})
    with pytest.raises(StoredRunError, match="without a candle"):
        merge([first, bare], across_machines=True)
    changed = shard(2, "b", machine=other, changes={"candle": "small-ops/1"})
    with pytest.raises(StoredRunError, match=r"candle: matmul/1 of .*, small-ops/1 of "):
        merge([first, changed], across_machines=True)


def test_a_damaged_part_is_named(shard, tmp_path):
    with pytest.raises(StoredRunError, match=r"part0\.json: energyaware\.shard is damaged"):
        shard(1, "a", shard={"index": "x"})
