"""Benchmarks in processes of their own. Each costs the start of a Python, so one run answers several questions."""

import json
import os

import pytest

SUITE = """
import os
import pathlib
import signal

import pytest

@pytest.fixture(scope="module")
def model():
    with open("models.log", "a") as log:
        log.write(f"{os.getpid()} ")

@pytest.mark.energy(fail="energy:3%")
def test_first(energy, model):
    energy(sum, range(10))
    energy.record(quality={"accuracy": 0.5})

@pytest.mark.parametrize("how", ["SEGV", "KILL"])
def test_dies(energy, how):
    os.kill(os.getpid(), getattr(signal, f"SIG{how}"))

def test_exits(energy):
    os._exit(3)

def test_fails(energy):
    energy(sum, range(10))
    assert 1 == 2

def test_skips(energy):
    pytest.skip("not here")

@pytest.mark.xfail(reason="known")
def test_fails_as_expected(energy):
    raise ValueError

def test_plain():
    with open("plain.log", "a") as log:
        log.write(f"{os.getpid()} ")

def test_second(energy, model):
    energy(sum, range(10))
"""


def test_a_process_that_dies_costs_one_row(suite, measure, stored):
    suite.makepyfile(test_suite=SUITE)
    result = measure("--energy-isolate", "--junitxml=junit.xml", "--benchmark-save=mine")
    result.assert_outcomes(passed=3, failed=4, skipped=1, xfailed=1)
    data = stored()
    assert [entry["name"] for entry in data["benchmarks"]] == ["test_first", "test_second"]
    errors = {entry["fullname"].split("::")[1]: entry["error"] for entry in data["energyaware"]["errors"]}
    assert errors["test_dies[SEGV]"] == "its process was killed by SIGSEGV"
    assert errors["test_dies[KILL]"] == "its process was killed by SIGKILL (was memory short?)"
    assert errors["test_exits"] == "its process ended with exit status 3 before the benchmark had"
    assert "assert 1 == 2" in errors["test_fails"]
    result.stdout.fnmatch_lines(["*It printed:*", "*Fatal Python error: Segmentation fault*", "*in test_dies*"])
    for entry in data["benchmarks"]:
        assert len(entry["energy"]["rounds"]) == entry["stats"]["rounds"] == 4
    assert data["benchmarks"][0]["energy"]["quality"] == {"accuracy": 0.5}
    assert 'name="accuracy"' in (suite.path / "junit.xml").read_text()
    # Both models were made elsewhere, in different processes; the plain test ran here.
    models = (suite.path / "models.log").read_text().split()
    assert len(set(models)) == 2
    assert str(os.getpid()) not in models
    assert (suite.path / "plain.log").read_text().split() == [str(os.getpid())]
    # One run file: the processes stored nothing.
    assert len(list(suite.path.glob(".benchmarks/*/*.json"))) == 1


def test_what_processes_measured_is_journalled_and_gone_on_with(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        import os

        def test_first(energy):
            with open("ran.log", "a") as log:
                log.write("first ")
            energy(sum, range(10))

        def test_second(energy):
            energy(sum, range(10))
            assert os.path.exists("good")
        """
    )
    measure("--energy-isolate", "-x").assert_outcomes(passed=1, failed=1)
    (journal,) = suite.path.glob(".benchmarks/journals/*")
    header, *lines = map(json.loads, journal.read_text().splitlines())
    assert header["conditions"]["--energy-isolate"] == "True"
    assert [line["benchmark"]["name"] for line in lines] == ["test_first"]
    (suite.path / "good").touch()
    measure("--energy-isolate", "--energy-resume").assert_outcomes(passed=2)
    assert (suite.path / "ran.log").read_text() == "first "
    assert [entry["name"] for entry in stored()["benchmarks"]] == ["test_first", "test_second"]


def test_a_meter_that_works_only_here_is_an_error_row(suite, measure):
    suite.makeconftest(
        f"""
        import os
        from energyaware.errors import MeterError
        from energyaware.meters.replay import ReplayMeter

        def steady():
            if os.getpid() != {os.getpid()}:
                raise MeterError("the device is taken", "free it")
            return ReplayMeter([{{"cpu": 1.0}}])

        def pytest_energy_meters(config):
            return {{"steady": steady}}
        """
    )
    result = measure("--energy-isolate")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the device is taken. free it*"])
    assert "Traceback" not in result.stdout.str()


def test_a_file_that_cannot_be_collected_there_is_an_error_row_with_the_reason(suite, measure):
    suite.makepyfile(
        test_suite=f"""
        import os

        if os.getpid() != {os.getpid()}:
            raise RuntimeError("only here")

        def test_mine(energy):
            energy(sum, range(10))
        """
    )
    result = measure("--energy-isolate")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_mine is not collected in a process of its own: RuntimeError: only here*"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--energy-isolate"], "*--energy-isolate has nothing to isolate without --energy*"),
        (["--energy", "--energy-isolate", "--pdb"], "*no debugger*leave out --pdb*"),
        (["--energy", "--energy-isolated=999"], "*no coordinator holds descriptor 999*"),
    ],
)
def test_what_cannot_be_isolated_is_a_usage_error(suite, arguments, said):
    result = suite.runpytest_inprocess("--energy-meter=steady", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
