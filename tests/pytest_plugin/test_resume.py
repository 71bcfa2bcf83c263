"""Runs that are cut off, and go on."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree

import pytest

SUITE = """
import os
import pathlib
import signal

import pytest

def ran(name):
    with open("ran.log", "a") as log:
        log.write(name + " ")

def strike():
    order = pathlib.Path("strike")
    if order.exists():
        how = order.read_text()
        order.unlink()
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "interrupt":
            raise KeyboardInterrupt
        assert not how

@pytest.fixture(scope="module")
def model():
    ran("model")

@pytest.mark.energy(group="mine", fail="energy:3%")
@pytest.mark.parametrize("size", [10, 20])
def test_first(energy, model, size):
    ran(f"first-{size}")
    energy(sum, range(size))
    energy.record(quality={"accuracy": 0.5})

def test_second(energy):
    strike()
    ran("second")
    energy(sum, range(30))

def test_plain():
    ran("plain")
"""
COMPLETE = "model first-10 first-20 second plain "


@pytest.fixture
def run(suite, measure):
    """Run the suite; `cut` says how its third test is cut off."""
    suite.makepyfile(test_suite=SUITE)

    def start(*arguments, cut="", alone=False):
        if cut:
            (suite.path / "strike").write_text(cut)
        return measure(*arguments, *(["-x"] if cut == "fail" else []), alone=alone)

    return start


@pytest.fixture
def journals(suite):
    return lambda: sorted(suite.path.glob(".benchmarks/journals/*"))


@pytest.fixture
def ran(suite):
    return lambda: (suite.path / "ran.log").read_text()


@pytest.mark.parametrize(("cut", "status"), [("kill", -signal.SIGKILL), ("interrupt", 2), ("fail", 1)])
def test_what_was_finished_is_not_measured_again(run, cut, status, journals, ran, stored, suite):
    assert run(cut=cut, alone=True).ret == status
    (journal,) = journals()
    assert len(journal.read_text().splitlines()) == 3
    before = [json.loads(path.read_text()) for path in suite.path.glob(".benchmarks/*/*.json")]
    # A run that could still do so stored what it had.
    assert [data["energyaware"]["interrupted"] for data in before] == ([] if cut == "kill" else [True])

    result = run("--energy-resume", "--benchmark-save-data", "--junitxml=junit.xml", "-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "energy: going on with the run of *: 2 finished benchmarks, not measured again (*.jsonl)",
            "*test_first[[]10[]] PASSED (resumed)*",
            "*test_second PASSED *",
            "all: measured in the run of *, which was interrupted and gone on with",
            "2 finished benchmarks measured in the interrupted run of *",
        ]
    )
    assert ran() == COMPLETE
    assert journals() == []
    data = stored()
    own = data["energyaware"]
    names = ["test_first[10]", "test_first[20]", "test_second"]
    assert [item["name"] for item in data["benchmarks"]] == names
    assert [item["fullname"].split("::")[1] for item in own["resumed"]] == names[:2]
    assert not own["interrupted"]
    assert own["totals"]["energy_j"] == 3.0  # the meter reads 1 J in every window: two parts, and this run's total
    for entry in data["benchmarks"]:
        assert entry["stats"]["rounds"] == len(entry["stats"]["data"]) == len(entry["energy"]["rounds"]) == 4
        assert entry["stats"]["mean"] == pytest.approx(sum(entry["stats"]["data"]) / 4)
        assert entry["stats"].keys() == data["benchmarks"][-1]["stats"].keys()
        assert entry["stats"]["iterations"] == entry["energy"]["rounds"][0]["calls"]
        assert entry.keys() == data["benchmarks"][-1].keys()
        assert entry["options"].keys() == data["benchmarks"][-1]["options"].keys()
    assert data["benchmarks"][0]["params"] == {"size": 10}
    tree = ElementTree.parse(suite.path / "junit.xml")  # noqa: S314 - our own file
    cases = {case.get("name"): {item.get("name") for item in case.iter("property")} for case in tree.iter("testcase")}
    assert {"energy_measured_at", "energy_j_per_request", "accuracy"} <= cases["test_first[20]"]
    assert "energy_measured_at" not in cases["test_second"]


def test_a_run_may_be_cut_off_again_and_again(run, journals, ran, stored):
    run(cut="fail")
    for _ in range(2):
        result = run("--energy-resume", cut="fail")
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["incomplete: 2 finished benchmarks kept in *: * --energy-resume goes on"])
        assert len(journals()) == 1
    run("--energy-resume").assert_outcomes(passed=4)
    assert ran() == COMPLETE
    assert len(stored()["benchmarks"]) == 3


def test_pytest_benchmark_reads_the_stored_run(run, suite):
    run(cut="fail")
    run("--energy-resume", "--benchmark-save=whole")
    result = suite.run(sys.executable, "-m", "pytest_benchmark", "compare", "*whole*")
    # Its table is sorted by time.
    for name in ("test_first[[]10[]]", "test_first[[]20[]]", "test_second"):
        result.stdout.fnmatch_lines([f"{name} *"])


def test_resumed_benchmarks_are_judged_by_their_own_limits(run):
    run("--benchmark-save=base")
    run(cut="fail")
    result = run("--energy-resume", "--energy-compare=base", "--energy-fail=energy:50%")
    result.stdout.fnmatch_lines(["* test_first[[]10[]] *energy:3% *", "* test_second *energy:50% *"])
    result.stdout.no_fnmatch_line("*: missing*")


CHANGES = {
    "--energy-rounds=5": "--energy-rounds 4, now 5",
    "--energy-suite=full": "--energy-suite quick, now full",
    "--energy-models=a,b": "--energy-models unset, now a,b",
    "--energy-device=cpu": "--energy-device auto, now cpu",
    "--energy-data=faults.csv": "--energy-data network, now faults.csv",
    "--energy-core-watts=3": "--energy-core-watts unset, now 3.0",
    "-ktest": "-k unset, now test",
    "test_suite.py": "tests *, now test_suite.py",
    "--benchmark-disable-gc": "--benchmark-disable-gc False, now True",
}


def test_what_changed_is_refused_with_both_values(run, journals):
    run(cut="fail")
    (journal,) = journals()
    before = journal.read_bytes()
    for change, named in CHANGES.items():
        result = run("--energy-resume", change)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: the interrupted run of * had *{named}*leave out --energy-resume*"])
    assert journal.read_bytes() == before


def test_what_conftests_and_plugins_were_told_is_compared(run, suite, journals):
    conftest = (suite.path / "conftest.py").read_text()
    more = """
        def pytest_addoption(parser):
            parser.addoption("--size", default="small")
            parser.getgroup("mine").addoption("--warm", action="store_true")
    """
    suite.makeconftest(conftest + textwrap.dedent(more))
    run("--size=large", cut="fail")
    assert len(journals()) == 1
    for given, said in (
        ((), "--size set, now unset. *"),
        (("--size=huge",), "another value of --size. *"),
        (("--size=large", "--warm"), "--warm unset, now set. *"),
        (("--size=large", "-o", "log_level=INFO"), "-o log_level unset, now set. *"),
        (("--size=large", "-o", "energy_suite=full"), "--energy-suite quick, now full. *"),
    ):
        result = run("--energy-resume", *given)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: the interrupted run of * had {said}"])
    run("--energy-resume", "--size=large", "-v").assert_outcomes(passed=4)


def test_what_only_decides_what_is_shown_may_change(run, ran):
    run(cut="fail")
    result = run("--energy-resume", "--energy-weight=0.25", "--energy-country=FRA", "--energy-report=out")
    result.assert_outcomes(passed=4)
    assert ran() == COMPLETE


def test_another_machine_is_refused(run, monkeypatch):
    run(cut="fail")
    from energyaware.pytest_plugin import conditions

    monkeypatch.setattr(conditions, "describe", lambda: {"cpu": "Another CPU"})
    result = run("--energy-resume")
    result.stderr.fnmatch_lines(["ERROR: *machine cpu *, now Another CPU*"])


def test_another_gpu_is_refused_as_soon_as_it_is_known(run, monkeypatch, stored, journals):
    from energyaware.pytest_plugin import journal

    monkeypatch.setattr(journal, "describe", lambda: {"gpu": "A"})
    run(cut="fail")
    monkeypatch.setattr(journal, "describe", lambda: {"gpu": "B"})
    result = run("--energy-resume")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the interrupted run had gpu A, now B*"])
    assert len(stored()["benchmarks"]) == 2
    assert stored()["energyaware"]["machine"]["gpu"] == "A"


def test_changed_code_is_refused_by_commit_and_by_content(run, suite):
    def git(*arguments):
        command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments]
        subprocess.run(command, cwd=suite.path, check=True, capture_output=True)

    git("init", "-q")
    (suite.path / "code.py").write_text("VALUE = 1\n")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    run(cut="fail")
    (suite.path / "notes.txt").write_text("what a run leaves behind is no code")
    (suite.path / "code.py").write_text("VALUE = 2\n")
    changed = run("--energy-resume")
    changed.stderr.fnmatch_lines(["ERROR: *had uncommitted changes unset, now ????????????. *"])
    git("commit", "-q", "-a", "-m", "two")
    run("--energy-resume").stderr.fnmatch_lines(["ERROR: *had commit ????????*, now ????????*"])
    git("reset", "-q", "--hard", "HEAD~1")
    (suite.path / "more.py").write_text("")
    run("--energy-resume").stderr.fnmatch_lines(["ERROR: *had uncommitted changes unset, now *"])
    (suite.path / "more.py").unlink()
    run("--energy-resume").assert_outcomes(passed=4)


def test_outside_of_git_the_tests_own_source_counts(run, suite, journals):
    run(cut="fail")
    stored = len(list(suite.path.glob(".benchmarks/*/*.json")))
    suite.makepyfile(test_suite=SUITE.replace("range(size)", "range(size + 1)"))
    result = run("--energy-resume")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the source of *test_first* is not what the interrupted run measured*"])
    assert len(list(suite.path.glob(".benchmarks/*/*.json"))) == stored
    assert len(journals()) == 1


def test_a_line_that_was_cut_off_is_measured_again_and_said(run, journals, ran):
    run(cut="fail")
    (journal,) = journals()
    journal.write_bytes(journal.read_bytes()[:-30])
    result = run("--energy-resume")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["energy: going on * 1 finished benchmark, *; its last line was cut off *"])
    assert ran() == "model first-10 first-20 model first-20 second plain "


def test_a_damaged_journal_is_an_error_with_file_and_line(run, journals):
    run(cut="fail")
    (journal,) = journals()
    journal.write_text(journal.read_text().replace('"cpu": 1.0', '"cpu": -1.0', 1))
    result = run("--energy-resume")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {journal}: line 2 is damaged*cpu read -1.0 J*"])
    assert "Traceback" not in result.stderr.str()


def test_an_interrupted_run_is_mentioned_and_never_removed(run, journals, suite):
    run(cut="fail")
    (journal,) = journals()
    result = run()
    result.stdout.fnmatch_lines(["energy: an interrupted run of * with 2 finished benchmarks lies in *: --energy-*"])
    assert journals() == [journal]
    run(cut="fail")
    result = run("-v")
    result.stdout.fnmatch_lines(["*(1 more in this folder)*"])
    # Which of two that began in one second comes first is chance.
    listed = re.findall(r"^  .*, 2 finished benchmarks: (.*)$", result.stdout.str(), re.MULTILINE)
    assert sorted(listed) == [str(path) for path in journals()]
    assert len(listed) == 2
    assert str(journal) in listed


def test_nothing_to_resume_begins_anew(run, ran):
    result = run("--energy-resume")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["energy: no run was interrupted here, *begins anew"])
    assert ran() == COMPLETE


def test_resume_without_energy_is_a_usage_error(suite):
    result = suite.runpytest_inprocess("--energy-resume")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --energy-resume has nothing to resume without --energy*"])


def test_an_unmeasured_run_writes_no_journal(run, suite, journals):
    (suite.path / "strike").write_text("fail")
    suite.runpytest_inprocess("-x")
    assert journals() == []
    run("--collect-only")
    assert journals() == []


def test_a_failed_test_runs_again(suite, measure, journals):
    """And the tests before and after one that is not run again find their fixtures set up and torn down."""
    body = """
    import os
    import pytest

    @pytest.fixture(scope="module")
    def thing():
        with open("things", "a") as log:
            log.write(__name__ + "+ ")
        yield
        with open("things", "a") as log:
            log.write(__name__ + "- ")
    """
    suite.makepyfile(
        test_suite=body
        + """
    def test_fails(energy, thing):
        energy(sum, range(10))
        assert os.path.exists("good")

    def test_passes(energy, thing):
        energy(sum, range(10))
    """,
        test_tail=body
        + """
    def test_end(energy, thing):
        energy(sum, range(10))
        assert os.path.exists("good")
    """,
    )
    measure("--maxfail=2").assert_outcomes(passed=1, failed=2)
    assert len(journals()[0].read_text().splitlines()) == 2
    (suite.path / "good").touch()
    (suite.path / "things").unlink()
    measure("--energy-resume").assert_outcomes(passed=3)
    assert (suite.path / "things").read_text() == "test_suite+ test_suite- test_tail+ test_tail- "


def test_runs_side_by_side_have_a_journal_and_a_number_each(run, suite, journals, ran):
    text = SUITE.replace('ran("second")', 'ran("second"); os.path.exists("pipe") and open("pipe").read()')
    suite.makepyfile(test_suite=text)
    pipe = suite.path / "pipe"
    os.mkfifo(pipe)
    arguments = ["--energy", "--energy-meter=steady", "--energy-rounds=4", "-p", "no:cacheprovider"]
    with subprocess.Popen([sys.executable, "-m", "pytest", *arguments], stdout=subprocess.PIPE) as other:
        descriptor = os.open(pipe, os.O_WRONLY)  # opens when the other run waits in its third benchmark
        try:
            pipe.unlink()
            (journal,) = journals()
            result = run("--energy-resume", "-p", "no:cacheprovider")
            result.assert_outcomes(passed=4)
            result.stdout.fnmatch_lines(["energy: no run was interrupted here*"])
            assert journals() == [journal]
        finally:
            os.close(descriptor)
        output, _ = other.communicate(timeout=300)
    assert other.returncode == 0, output.decode()
    assert journals() == []
    stored = sorted(suite.path.glob(".benchmarks/*/*.json"))
    assert [path.name.split("_")[0] for path in stored] == ["0001", "0002"]
    assert [len(json.loads(path.read_text())["benchmarks"]) for path in stored] == [3, 3]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_for_the_journal_costs_nothing_while_the_run_lives(run, monkeypatch, stored, journals):
    from energyaware.baselines import journal

    monkeypatch.setattr(journal, "append_lines", full)
    result = run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["the journal *.jsonl cannot be written (No space left on device). make room*"])
    assert len(stored()["benchmarks"]) == 3
    assert journals() == []


def test_a_storage_without_locks_is_refused_before_anything_is_measured(run, monkeypatch, suite):
    from energyaware.baselines import durable

    def refused(descriptor, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(durable.fcntl, "flock", refused)
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the storage * cannot be locked (Function not implemented)*store elsewhere*"])
    assert not (suite.path / "ran.log").exists()


def test_a_run_file_that_cannot_be_written_is_written_later(run, monkeypatch, journals, stored, ran, suite):
    from energyaware.pytest_plugin import saving

    with monkeypatch.context() as patched:
        patched.setattr(saving, "replace_file", full)
        result = run("--benchmark-save=mine", "--benchmark-json=out.json")
    assert result.ret == 1
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "the run file *out.json cannot be written (No space left on device). Make room on the disk, or *",
            "the run file *0001_mine.json cannot be written (No space left on device). Make room on the disk, or *",
            "incomplete: 3 finished benchmarks kept in *",
        ]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert len(journals()) == 1
    result = run("--benchmark-save=mine", "--benchmark-json=out.json", "--energy-resume")
    result.assert_outcomes(passed=4)
    assert ran() == COMPLETE + "plain "
    assert len(stored()["benchmarks"]) == len(json.loads((suite.path / "out.json").read_text())["benchmarks"]) == 3
    assert journals() == []


def test_a_run_that_is_too_large_to_be_read_again_says_so_and_loses_nothing(run, monkeypatch, journals, stored, suite):
    from energyaware.baselines import run_bytes

    monkeypatch.setattr(run_bytes, "MOST_BYTES", 2_000)
    result = run("--benchmark-save=mine")
    assert result.ret == 1
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["the run file *0001_mine.json has *, more than the * reads again. *--energy-shard*"])
    assert len(stored()["benchmarks"]) == 3
    assert journals() == []


def test_a_meter_that_dies_costs_only_what_it_did_not_read(suite, run, journals, stored):
    suite.makeconftest(
        """
        import os
        from energyaware.errors import MeterError
        from energyaware.meters.replay import ReplayMeter

        class Mortal(ReplayMeter):
            def stop(self, mark):
                if os.path.exists("dead"):
                    raise MeterError("the counter is gone", "plug it in")
                return super().stop(mark)

        def pytest_energy_meters(config):
            return {"steady": lambda: Mortal([{"cpu": 1.0}])}
        """
    )
    suite.makepyfile(
        test_suite=SUITE.replace("    strike()", '    os.path.exists("die") and open("dead", "w").close()')
    )
    (suite.path / "die").touch()
    result = run()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*the counter is gone*plug it in*"])
    assert "Traceback" not in result.stdout.str()
    assert [item["name"] for item in stored()["benchmarks"]] == ["test_first[10]", "test_first[20]"]
