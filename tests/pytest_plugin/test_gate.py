"""Comparing and failing, through the plugin."""

import re

import pytest

from energyaware.measure.candle import Candle

WORKLOAD = """
import os

steps = 0

def take(number):
    global steps
    for _ in range(number):
        steps += 1

def work():
    take(int(100 * float(os.environ.get("LENGTH", "1"))))
"""

# Counted steps in place of a machine: each session has a speed of its own, which the candle shares, and each reading an
# error of 1 %. Seconds would make the test fail whenever others compute on the machine.
CORES = """
import pathlib
import random

import mylib
import pytest
from energyaware.records import Domain

class Steps:
    name, nests = "cores", True
    domains = {"cpu": Domain("cores", "estimated", 1e-6, "steps of the code under test")}

    def __init__(self):
        self.chance = random.Random(len(list(pathlib.Path().glob(".benchmarks/*/*.json"))))
        self.joules_per_step = self.chance.uniform(0.8, 1.25)

    def start(self):
        return mylib.steps

    def stop(self, mark):
        return {"cpu": (mylib.steps - mark) * self.joules_per_step * self.chance.gauss(1, 0.01)}

    def close(self):
        pass

def pytest_energy_meters(config):
    return {"cores": Steps}

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}  # pytest-benchmark's own takes a second
"""


@pytest.fixture
def energy_run(suite, measure, monkeypatch):
    """Measure a repository that uses only the fixture; its code under test grows with $LENGTH."""
    from energyaware.measure import rounds
    from energyaware.pytest_plugin import candles

    for module in (rounds, candles):
        monkeypatch.setattr(module, "calls_per_window", lambda call, window_s: (3, window_s / 3))
    monkeypatch.setattr(candles, "INTERPRETER", Candle("interpreter", 1, take_fifty))
    monkeypatch.delenv("LENGTH", raising=False)
    suite.makeconftest(CORES)
    (suite.path / "test_suite.py").unlink()
    suite.makepyfile(
        mylib=WORKLOAD,
        test_mylib="""
        from mylib import work

        def test_work(energy):
            energy(work)
        """,
    )
    return lambda *arguments: measure("--energy-meter=cores", *arguments)


def take_fifty():
    import mylib  # of the run that is under way

    mylib.take(50)


def test_thirty_percent_more_work_fails_and_ten_repetitions_do_not(energy_run, monkeypatch):
    # Each run is judged against the newest before it; from five on, the spread between sessions is learnt.
    assert energy_run().ret == 0
    for _ in range(10):
        result = energy_run("--energy-compare", "--energy-fail=energy:10%")
        assert result.ret == 0, result.stdout.str()
    # What it finds on a real machine is measured by benchmarks/promises/gate.py.
    monkeypatch.setenv("LENGTH", "1.3")
    result = energy_run("--energy-compare", "--energy-fail=energy:10%")
    assert result.ret == 1, result.stdout.str()
    result.stdout.fnmatch_lines(["*energy verdicts*", "*REGRESSED*test_work*energy:10%*", "FAILED: *test_work*"])
    assert "Traceback" not in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()


def test_the_first_run_has_nothing_to_compare_with(measure):
    result = measure("--energy-compare")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*no baseline:*", "missing*test_mine*energy:5%*"])


def test_strict_fails_what_could_not_be_judged(measure):
    assert measure("--energy-compare", "--energy-strict").ret == 1


def test_compare_alone_gates_by_the_ini_default(measure):
    measure()
    result = measure("--energy-compare")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*baseline: *0001_*", "*test_mine*energy:5%*+0.0 %*"])
    assert "(newest run)" in " ".join(result.stdout.str().split())


def test_new_and_vanished_benchmarks_are_missing_but_deselected_ones_are_not(suite, measure):
    suite.makepyfile(
        test_suite="""
        def test_old(energy):
            energy(sum, range(10))

        def test_mine(energy):
            energy(sum, range(1000))
        """,
        test_other="""
        def test_else(energy):
            energy(sum, range(10))
        """,
    )
    measure("--benchmark-save=main")
    suite.makepyfile(
        test_suite="""
        def test_mine(energy):
            energy(sum, range(1000))

        def test_new(energy):
            energy(sum, range(10))
        """
    )
    out = measure("--energy-compare=main").stdout
    out.fnmatch_lines(["*test_new energy:5%: missing, the baseline has no such benchmark"])
    out.fnmatch_lines(["*test_old energy:5%: missing, it is in the baseline, but did not run"])
    out = measure("--energy-compare=main", "test_suite.py").stdout.str()
    assert "test_else" not in out
    assert "test_old energy:5%: missing" in out
    out = measure("--energy-compare=main", "-k", "mine").stdout.str()
    assert ": missing" not in out


def test_a_changed_benchmark_is_incomparable_with_both_values(suite, measure):
    measure("--benchmark-save=main")
    suite.makepyfile(test_suite="def test_mine(energy):\n    energy(sum, range(1001))\n")
    result = measure("--energy-compare=main")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*incomparable, fingerprint of benchmark source: * in the baseline, * now"])


def test_another_meter_is_incomparable(suite, measure):
    measure("--benchmark-save=main")
    result = suite.runpytest_subprocess("--energy", "--energy-meter=cpu-time", "--energy-compare=main")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*incomparable, meter: cpu: replay in the baseline, cpu: cpu-time, dram: cpu-time now"]
    )


def test_a_drop_in_accuracy_fails(suite, measure):
    source = """
    import scores

    def test_mine(energy):
        energy(sum, range(10))
        right = [1.0] * scores.RIGHT + [0.0] * (100 - scores.RIGHT)
        energy.record(
            quality={{"accuracy": scores.RIGHT / 100}},
            scores={{"accuracy": right}},
            example_ids=[str(index) for index in range(100)],
        )
    """.format()
    suite.makepyfile(test_suite=source, scores="RIGHT = 90")
    measure("--benchmark-save=main")
    suite.makepyfile(scores="RIGHT = 88")
    assert measure("--energy-compare=main", "--energy-fail=accuracy:3pp").ret == 0
    suite.makepyfile(scores="RIGHT = 87")
    result = measure("--energy-compare=main", "--energy-fail=accuracy:3pp")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["REGRESSED*accuracy:3pp*0.900*0.870*-3.0 pp*"])


def test_exact_metrics_compare_exactly(suite, measure):
    suite.makepyfile(
        test_suite="""
        import work

        def test_mine(energy):
            energy(sum, range(10))
            energy.record(flops=work.FLOPS, weight_bytes=10)
        """,
        work="FLOPS = 1000000000",
    )
    measure("--benchmark-save=main")
    assert measure("--energy-compare=main", "--energy-fail=flops:0%", "--energy-fail=bytes:0%").ret == 0
    suite.makepyfile(work="FLOPS = 1000000001")
    result = measure("--energy-compare=main", "--energy-fail=flops:0%", "--energy-fail=bytes:0%")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["REGRESSED*flops:0%*"])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text[: len(text) // 2], "*truncated or no JSON*"),
        (lambda text: "[]", "*is not an object*"),
        (lambda text: '{"tool": "other"}', "*no pytest-benchmark file*"),
        (lambda text: '{"benchmarks": []}', "*stored without --energy*"),
        (lambda text: text.replace('"schema_version":1', '"schema_version":99'), "*schema version 99*reads 1*"),
        (lambda text: text.replace('"cpu":1.0', '"cpu":-1.0'), "*is damaged*cpu read -1.0 J*rounds*"),
        (lambda text: text.replace('"calls":', '"cals":'), "*is damaged*calls*"),
    ],
)
def test_damaged_and_foreign_baselines_are_named_and_left_alone(suite, measure, damage, expected):
    measure("--benchmark-json=base.json")
    path = suite.path / "base.json"
    path.write_text(damage(path.read_text()))
    before = path.read_bytes()
    result = measure("--energy-compare=base.json")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: *base.json{expected}"])
    assert path.read_bytes() == before


def test_a_default_baseline_skips_damaged_files_and_says_so(suite, measure):
    measure()
    measure()
    (newest,) = suite.path.glob(".benchmarks/*/0002_*.json")
    newest.write_text("{")
    # Long paths are wrapped.
    said = " ".join(measure("--energy-compare").stdout.str().split())
    assert re.search(r"baseline: \S*/0001_\S* \(newest run\)", said)
    assert re.search(r"skipped: the stored run \S*/0002_\S* is truncated", said)


def test_a_failed_test_of_the_baseline_is_missing_here(suite, measure):
    measure("--benchmark-save=main")
    suite.makepyfile(mylib="OK = False")
    text = (suite.path / "test_suite.py").read_text()
    (suite.path / "test_suite.py").write_text(text + "\n    import mylib\n    assert mylib.OK\n")
    result = measure("--energy-compare=main")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*missing, its test failed in this run"])


CUTS = {
    "assert 1 == 2": 1,  # with -x
    "request.session.shouldstop = 'enough'": 2,
    "pytest.exit('enough', returncode=0)": 0,
    "pytest.exit('enough', returncode=1)": 1,
}


@pytest.mark.parametrize(("cut", "status"), CUTS.items())
def test_a_run_that_was_cut_off_is_no_default_baseline(suite, measure, stored, cut, status):
    suite.makepyfile(
        test_suite=f"""
        import pytest

        def test_mine(energy):
            energy(sum, range(10))

        def test_cut(request):
            {cut}

        def test_never(energy):
            energy(sum, range(10))
        """
    )
    result = measure("-x")
    assert result.ret == status
    result.stdout.fnmatch_lines(["interrupted: *no default baseline (finished benchmarks: 1)", "incomplete: *"])
    assert stored()["energyaware"]["interrupted"] is True
    measure("--energy-compare", "-k", "mine").stdout.fnmatch_lines(["*no baseline:*"])


def test_nor_is_one_that_an_accident_of_a_plugin_ended(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        def test_mine(energy):
            energy(sum, range(10))

        def test_never(energy):
            energy(sum, range(10))
        """,
        accident="""
        def pytest_runtest_logfinish(nodeid):
            assert "mine" not in nodeid
        """,
    )
    assert measure("-p", "accident", alone=True).ret == pytest.ExitCode.INTERNAL_ERROR
    assert stored()["energyaware"]["interrupted"] is True
    assert list(suite.path.glob(".benchmarks/journals/*"))


def test_a_run_that_ended_before_a_benchmark_had_says_that_nothing_is_stored(suite, measure):
    suite.makepyfile(test_suite="def test_mine(energy):\n    assert energy is None")
    result = measure("-x")
    result.stdout.fnmatch_lines(["interrupted: no benchmark had finished, so no run is stored"])
    assert not list(suite.path.glob(".benchmarks/*/*.json"))
