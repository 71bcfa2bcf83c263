"""One suite, measured in parts."""

import json

import pytest

from energyaware.baselines import run_bytes
from energyaware.cli import main
from energyaware.pytest_plugin import shards

SUITE = """
import pytest

@pytest.mark.energy(fail="energy:3%")
@pytest.mark.parametrize("size", [10, 20, 30])
def test_first(energy, size):
    energy(sum, range(size))

def test_second(energy):
    energy(sum, range(30))

def test_plain():
    pass
"""


STRIKE = """assert size < 30 or not __import__("os").path.exists("strike")
    energy(sum, range(size))"""


@pytest.fixture
def measured(suite, measure):
    """Measure part `index` of two; its run file."""
    suite.makepyfile(test_suite=SUITE)

    def run(index, *arguments, count=2):
        name = f"part{index}.json"
        result = measure(f"--energy-shard={index}/{count}", f"--benchmark-json={name}", *arguments)
        return result, suite.path / name

    return run


def names(path):
    return [entry["name"] for entry in json.loads(path.read_text())["benchmarks"]]


def test_parts_are_disjoint_and_joined_they_are_the_whole(measured, measure, suite, capsys):
    whole = ["test_first[10]", "test_first[20]", "test_first[30]", "test_second"]
    first, one = measured(1)
    second, two = measured(2)
    first.assert_outcomes(passed=3, deselected=2)  # plain tests run in the first part alone
    second.assert_outcomes(passed=2, deselected=3)
    first.stdout.fnmatch_lines(["energy: part 1/2 of 4 benchmarks (no stored durations; plan *"])
    assert sorted(names(one) + names(two)) == whole
    merged = suite.path / "all.json"
    assert main(["merge", str(two), str(one), "-o", str(merged)]) == 0
    assert names(merged) == whole
    assert main(["rank", str(merged)]) == 0
    assert "test_first[20]" in capsys.readouterr().out
    measure(f"--energy-compare={merged}").stdout.fnmatch_lines(["baseline: *all.json*"])


def test_a_part_that_was_cut_off_is_joined_only_as_one(measured, suite, capsys):
    suite.makepyfile(test_suite=SUITE.replace("energy(sum, range(size))", STRIKE))
    _, two = measured(2)
    (suite.path / "strike").touch()
    _, one = measured(1, "-x")
    merged = suite.path / "all.json"
    assert main(["merge", str(one), str(two), "-o", str(merged)]) == 2
    assert "part1.json is of an interrupted run" in capsys.readouterr().err
    assert main(["merge", str(one), str(two), "-o", str(merged), "--partial"]) == 0
    assert json.loads(merged.read_text())["energyaware"]["interrupted"] is True


def test_a_joined_run_that_nobody_could_read_is_not_written(measured, suite, capsys, monkeypatch):
    _, one = measured(1)
    _, two = measured(2)
    monkeypatch.setattr(run_bytes, "MOST_BYTES", max(one.stat().st_size, two.stat().st_size))
    assert main(["merge", str(one), str(two), "-o", str(suite.path / "all.json")]) == 2
    assert "is not written" in capsys.readouterr().err
    assert not (suite.path / "all.json").exists()


def test_the_joined_run_is_judged_by_the_markers_and_the_runs_limits(measured, suite, capsys):
    _, one = measured(1)
    _, two = measured(2)
    merged = suite.path / "all.json"
    assert main(["merge", str(one), str(two), "-o", str(merged)]) == 0
    status = main(["merge", str(one), str(two), "-o", str(suite.path / "b.json"), f"--compare={merged}"])
    printed = capsys.readouterr().out
    assert status == 0
    assert "energy:3%" in printed
    assert "energy:5%" in printed
    assert "missing" not in printed


def test_a_part_is_no_default_baseline(measured, measure, suite):
    suite.makepyfile(test_suite=SUITE)
    measure("--energy-shard=1/2", "--benchmark-save=part")
    measure("--energy-compare").stdout.fnmatch_lines(["no baseline: *"])


def test_stored_durations_balance_the_parts(measured, measure):
    measure("--benchmark-save=whole")
    result, _ = measured(1)
    result.stdout.fnmatch_lines(["energy: part 1/2 of 4 benchmarks (balanced by 0001_whole.json; plan *"])


def test_a_part_goes_on_only_where_the_split_is_the_same(suite, measure, monkeypatch):
    suite.makepyfile(test_suite=SUITE.replace("energy(sum, range(size))", STRIKE))
    (suite.path / "strike").touch()
    measure("--energy-shard=1/2", "-x").assert_outcomes(passed=1, failed=1, deselected=2)
    lengths = {f"test_suite.py::test_first[{size}]": float(size == 20) for size in (10, 20, 30)}
    lengths["test_suite.py::test_second"] = 0.1
    with monkeypatch.context() as patched:
        patched.setattr(shards, "stored_durations", lambda storage: (lengths, "x"))
        result = measure("--energy-shard=1/2", "--energy-resume")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the interrupted run measured *test_first?10?, which is in part 2/2 now: *"])
    (suite.path / "strike").unlink()
    measure("--energy-shard=1/2", "--energy-resume").assert_outcomes(passed=3, deselected=2)


def test_parts_of_other_selections_are_not_joined(measured, suite, capsys):
    _, one = measured(1)
    _, two = measured(2, "-k", "first")
    assert main(["merge", str(one), str(two), "-o", str(suite.path / "all.json")]) == 2
    assert "plan of the parts" in capsys.readouterr().err
    assert not (suite.path / "all.json").exists()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--energy-shard=3/2", "*--energy-shard=3/2 is no part i of n*"),
        ("--energy-shard=1/9", "*4 energy benchmarks into 9 parts*"),
    ],
)
def test_no_such_part_is_a_usage_error(suite, measure, argument, said):
    suite.makepyfile(test_suite=SUITE)
    result = measure(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_a_part_needs_energy(suite):
    result = suite.runpytest_inprocess("--energy-shard=1/2")
    result.stderr.fnmatch_lines(["ERROR: *without --energy*"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.json", "a.json", "-o", "b.json"], "is given twice"),
        (["a.json", "-o", "a.json"], "is one of the parts"),
        (["a.json", "-o", "b.json", "--strict"], "no baseline to judge against"),
        (["absent.json", "-o", "b.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_merged_is_said_in_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["merge", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
