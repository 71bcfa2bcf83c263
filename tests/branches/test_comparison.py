"""The command as people run it, in repositories of their own."""

import json
import signal
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path
from typing import get_args

import psutil
import pytest

from energyaware.baselines.gate import Verdict

VERDICTS = get_args(Verdict)
PASSES = ["pass", "test_a", "energy:5%"]


def verdicts(done):
    """Verdict, benchmark and limit of each line of the table."""
    lines = iter(done.stdout.splitlines())
    for line in lines:
        if line.startswith("---"):
            break
    words = (line.split()[:3] for line in lines)
    return list(takewhile(lambda line: line[0].lower() in VERDICTS, words))


def of_equal_code(done):
    """The same, of revisions that cost the same: by design one comparison in a hundred calls the head `improved`."""
    return [["pass" if verdict == "improved" else verdict, *rest] for verdict, *rest in verdicts(done)]


def left_over(repository) -> list[str]:
    """What a comparison must not leave: worktrees and temporary folders."""
    temporary = Path(repository.environment["TMPDIR"])
    return [*repository.worktrees()[1:], *map(str, temporary.glob("energyaware-*"))]


def journals(repository) -> list[Path]:
    return list(Path(repository.environment["ENERGYAWARE_CACHE"]).glob("comparisons/*.jsonl"))


def dearer(factor: float, rest: str = "def work():\n    pass\n") -> dict[str, str]:
    return {"mypkg/__init__.py": f"JOULES = {factor}\n{rest}"}


def test_identical_code_passes_and_nothing_is_left(repository):
    done = repository.compare("HEAD")
    assert done.returncode == 0, done.stderr
    assert of_equal_code(done) == [PASSES]
    assert "Energy: HEAD → working tree" in done.stdout
    assert left_over(repository) == journals(repository) == []
    assert repository.git("status", "--short", "--ignored") == ""


def test_uncommitted_changes_are_measured_and_named_when_they_cost_more(repository, tmp_path):
    changed = "from mypkg.untracked import JOULES\ndef work():\n    pass\n"
    repository.write(**{"mypkg/__init__.py": changed, "mypkg/untracked.py": "JOULES = 1.3"})
    report = tmp_path / "report"
    done = repository.compare("main", f"--report={report}", f"--json={tmp_path / 'raw.json'}")
    assert done.returncode == 1, done.stderr
    assert verdicts(done) == [["REGRESSED", "test_a", "energy:5%"]]
    assert "FAILED: benchmarks/test_suite.py::test_a (energy:5% regressed)" in done.stdout
    assert "+30.0 %" in done.stdout
    assert "+30.0 %" in (report / "compare.md").read_text()
    raw = json.loads((tmp_path / "raw.json").read_text())
    assert [item["verdict"] for item in raw["judgements"]] == ["regressed"]
    assert len(raw["launches"]) == 2
    assert raw["energy_j"] > 0
    assert left_over(repository) == journals(repository) == []


def test_a_branch_against_another_from_a_folder_inside(repository):
    repository.git("checkout", "-q", "-b", "cheap", "main")
    repository.commit(dearer(0.5))
    repository.git("checkout", "-q", "main")
    repository.write(**dearer(9.0))  # neither side
    done = repository.compare("main", "cheap", "--", "../benchmarks", "-k=test_a", folder="mypkg")
    assert done.returncode == 0, done.stderr
    assert verdicts(done) == [["improved", "test_a", "energy:5%"]]
    assert "-50.0 %" in done.stdout


def test_a_base_that_lacks_a_benchmark_or_cannot_import_it(repository):
    repository.commit(dearer(1.0, "def work():\n    pass\n\ndef new():\n    pass\n"))
    repository.commit({"benchmarks/test_new.py": "from mypkg import new\ndef test_new(energy):\n    energy(new)\n"})
    done = repository.compare("HEAD~2")
    assert done.returncode == 0, done.stderr
    assert of_equal_code(done) == [PASSES, ["missing", "benchmarks/test_new.py::test_new", "energy:5%"]]
    assert "the base has no such benchmark (ImportError: cannot import name 'new' from 'mypkg'" in done.stdout
    alone = repository.compare("HEAD~2", "--strict", "--", "benchmarks/test_new.py")
    assert alone.returncode == 2
    assert "there is nothing to compare: HEAD~2 has none" in alone.stderr
    assert "cannot import name 'new'" in alone.stderr


def test_a_base_without_energyaware_at_all(empty, repository):
    files = {name: (repository.root / name).read_text() for name in repository.git("ls-files").splitlines()}
    repository.git("rm", "-q", "-r", "conftest.py", "pytest.ini", "benchmarks")
    before = repository.commit({})
    repository.commit(files)
    assert of_equal_code(repository.compare(before)) == [PASSES]
    own = repository.compare(before, "--benchmarks-from=own")
    assert own.returncode == 2
    assert f"{before} has no benchmarks. --benchmarks-from=head runs the head's benchmarks on it" in own.stderr


def test_a_base_whose_benchmark_fails_with_a_hostile_message(repository):
    good = (repository.root / "mypkg" / "__init__.py").read_text()
    repository.commit(dearer(1.0, "def work():\n    raise ValueError('\\x1b[2Jgone ::error::')\n"))
    repository.commit({"mypkg/__init__.py": good})
    repository.environment["GITHUB_ACTIONS"] = "true"
    done = repository.compare("HEAD~1", "--strict")
    assert done.returncode == 1
    assert verdicts(done) == [["missing", "benchmarks/test_suite.py::test_a", "energy:5%"]]
    assert "its test failed in the base: ValueError: \\x1b[2Jgone ::error::" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    annotations = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert annotations == [
        "::error file=benchmarks/test_suite.py,title=energy::benchmarks/test_suite.py::test_a: energy:5%25 missing (–)"
    ]


REFUSED = """
import contextlib, glob, io, json, os, sys
from energyaware.cli import main

for arguments in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = main(["compare", *arguments])
    left = [*glob.glob(os.environ["TMPDIR"] + "/energyaware-*"), *glob.glob(".git/worktrees/*")]
    print(json.dumps([status, said.getvalue(), left]))
"""


def refusals(repository, *commands):
    """Exit status, standard error and what is left of each command, all run in one process: starting takes long."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", REFUSED], cwd=repository.root, env=repository.environment, check=True,
        input=json.dumps(commands), capture_output=True, text=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_hostile_and_unclear_arguments_are_refused_before_anything_runs(repository):
    repository.write(pwned="")
    refused = {
        ("$(touch pwned2)",): "git knows no revision '$(touch pwned2)'",
        ("HEAD", "--", "benchmarks", "-k", "mypkg"): "mypkg could be a path or an option's value",
        ("HEAD", "--", "."): "it is not clear which files are the benchmarks",
        ("HEAD", "--", "../x"): "is no path inside the repository",
        ("HEAD", "--", "nowhere"): "working tree with changes has no nowhere",
        ("HEAD", "--resume"): "there is no comparison to resume",
        ("HEAD", "--launches=1"): "--launches=1 is under 2",
        ("HEAD", "--max-minutes=0"): "--max-minutes=0 is not above 0",
        ("HEAD", "--fail=energy:0%"): "is 0, but energy is noisy",
    }
    found = zip(refused.items(), refusals(repository, *refused), strict=True)
    for (arguments, named), (status, said, left) in found:
        assert (status, left) == (2, []), arguments
        assert named in said
        assert "launch 1:" not in said
    assert not (repository.root / "pwned2").exists()


# While the file named by TRAP exists: die, or hang with a child process.
TRAPPED = """
JOULES = 1.0

def work():
    import os, pathlib, signal, subprocess, time
    trap = pathlib.Path(os.environ["TRAP"])
    if not trap.exists():
        return
    if trap.read_text() == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    child = subprocess.Popen(["sleep", "1000"])
    part = trap.with_suffix(".part")
    part.write_text(f"{os.getpid()} {child.pid}")
    part.rename(trap.with_suffix(".pids"))
    time.sleep(1000)
"""


@pytest.fixture
def trap(repository, tmp_path):
    repository.environment["TRAP"] = str(tmp_path / "trap")
    return tmp_path / "trap"


def begun(process, number: int) -> None:
    """Wait for a launch to begin."""
    for line in process.stderr:
        if line.startswith(f"launch {number}:"):
            return
    raise AssertionError(f"launch {number} did not begin")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def resumed(repository, *arguments: str, finished: int = 1) -> None:
    """`--resume` goes on behind the launches that were finished, to the same verdict, with one launch more."""
    with repository.start(f"--launches={finished + 1}", "--rounds=2", *arguments, "--resume") as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert f"launch {finished}:" not in err
    assert f"launch {finished + 1}:" in err
    assert f"{finished + 1} launches" in out
    assert left_over(repository) == journals(repository) == []


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_killed_worker_keeps_finished_launches(repository, trap, side):
    safe = (repository.root / "mypkg" / "__init__.py").read_text()
    repository.commit({"mypkg/__init__.py": TRAPPED if side == "base" else safe})
    base = repository.git("rev-parse", "HEAD")
    repository.write(**{"mypkg/__init__.py": TRAPPED if side == "head" else safe})
    with repository.start(base, "--launches=2", "--rounds=2") as process:
        begun(process, 2)
        trap.write_text("die")
        _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    name = base if side == "base" else "working tree with changes"
    assert f"pytest on {name} was killed by signal 9 (was memory short?) at benchmarks/test_suite.py::test_a" in err
    assert "1 finished launch is kept: go on with --resume" in err
    assert "It printed last:\n    " in err
    assert left_over(repository) == []
    trap.unlink()
    resumed(repository, base)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_coordinator_leaves_no_process_and_no_worktree(repository, trap, number):
    repository.commit({"mypkg/__init__.py": TRAPPED})
    with repository.start("HEAD", "--launches=2", "--rounds=2") as process:
        begun(process, 2)
        trap.write_text("hang")
        pids = trap.with_suffix(".pids")
        deadline = time.monotonic() + 100
        while not pids.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        started = [*map(int, pids.read_text().split()), *(item.pid for item in psutil.Process(process.pid).children())]
        assert len(left_over(repository)) == 2
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
    deadline = time.monotonic() + 100
    while not all(map(gone, started)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(gone, started))
    assert left_over(repository) == []
    if number == signal.SIGKILL:
        trap.unlink()
        resumed(repository, "HEAD")
    else:
        assert process.returncode == 130
        assert "interrupted. 1 finished launch is kept: go on with --resume" in err
        assert "Traceback" not in err


def test_an_exhausted_budget_claims_nothing_and_can_be_resumed(repository):
    done = repository.compare("HEAD", "--launches=3", "--max-joules=0.001")
    assert done.returncode == 0, done.stderr
    assert verdicts(done)[0][0] == "inconclusive"
    assert "the budget ended before everything was decided" in done.stdout
    assert "--resume with a larger --max-minutes or --max-joules goes on from here" in done.stdout
    assert repository.compare("HEAD", "--launches=3", "--max-joules=0.001", "--strict", "--resume").returncode == 1
    other = repository.compare("HEAD", "--launches=4", "--resume")
    assert other.returncode == 2
    assert "--launches=3" in other.stderr
    resumed(repository, "HEAD", finished=2)


def test_a_full_disk_is_explained(repository):
    limited = ["prlimit", "--fsize=20", *repository.command("HEAD")]
    done = subprocess.run(
        limited, cwd=repository.root, env=repository.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "git cannot check HEAD out" in done.stderr
    assert left_over(repository) == []


@pytest.fixture
def library(repository):
    """The same package where neither the top folder nor `src` leads to it."""
    (repository.root / "lib").mkdir()
    repository.git("mv", "mypkg", "lib/mypkg")
    setup = '[project]\nname = "mypkg"\nversion = "1"\n[tool.setuptools]\npackage-dir = {"" = "lib"}\n'
    build = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    repository.commit({"pyproject.toml": setup + build})
    repository.write(**{"lib/mypkg/__init__.py": dearer(1.3)["mypkg/__init__.py"]})
    return repository


def test_an_editable_install_that_shadows_the_checkout_is_refused(library):
    library.environment["PYTHONPATH"] = str(library.root / "lib")
    done = library.compare("HEAD")
    assert done.returncode == 2
    assert f"HEAD imported {library.root}/lib/mypkg/__init__.py, which belongs to working tree" in done.stderr
    assert '--prepare "pip install ."' in done.stderr


def test_one_installed_copy_for_both_sides_is_refused(library, tmp_path):
    installed = tmp_path / "site-packages" / "mypkg"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text((library.root / "lib" / "mypkg" / "__init__.py").read_text())
    library.environment["PYTHONPATH"] = str(installed.parent)
    done = library.compare("HEAD")
    assert done.returncode == 2
    assert f"both sides import mypkg from {installed}/__init__.py" in done.stderr


def test_prepare_gives_each_revision_an_environment_of_its_own(library):
    prepare = "--prepare=pip install --quiet --no-build-isolation --no-deps ."
    done = library.compare("HEAD", prepare)
    assert done.returncode == 1, done.stderr
    assert "+30.0 %" in done.stdout
    assert left_over(library) == []
    broken = library.compare("HEAD", "--prepare=echo oops; false")
    assert broken.returncode == 2
    assert "--prepare failed for HEAD with exit status 1. 'echo oops; false' printed last:\n    oops\n" in broken.stderr
    assert left_over(library) == []
