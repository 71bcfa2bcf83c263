"""The commands in docs/ci.md, run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

DOCUMENT = Path(__file__).parents[2] / "docs" / "ci.md"

CONFTEST = """
import random
import pytest
from energyaware.records import Domain

class PackageMeter:
    name = "package"
    nests = True
    domains = {"cpu": Domain("package", "estimated", 1e-6, "what the package says")}

    def start(self):
        return None

    def stop(self, mark):
        import mypkg
        return {"cpu": mypkg.JOULES * random.SystemRandom().uniform(0.9999, 1.0001)}

    def close(self):
        pass

def pytest_energy_meters(config):
    return {"package": PackageMeter}

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}  # pytest-benchmark's own takes a second
"""

FILES = {
    "mypkg/__init__.py": "JOULES = 1.0\n",
    "conftest.py": CONFTEST,
    "pytest.ini": "[pytest]\nenergy_meter = package\nenergy_rounds = 2\n",
    ".gitignore": ".benchmarks\nenergy-report\n__pycache__\n",
    "benchmarks/test_suite.py": (
        "def test_a(energy):\n    energy.pedantic(int, setup=lambda: None)\n    energy.record(flops=100)\n"
    ),
}

# GitHub's own expressions in the variables of a step.
CONTEXT = {"github.base_ref": "main", "github.token": "secret", "github.event.pull_request.number": "7"}


def document(language: str) -> list[dict]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    github, gitlab = map(yaml.safe_load, blocks)
    return {"github": github, "gitlab": gitlab}[language]


class Runner:
    """A clone in which the commands of a job run one after the other."""

    def __init__(self, folder: Path) -> None:
        self.origin, self.clone, self.bin = folder / "origin", folder / "clone", folder / "bin"
        self.summary, self.comments = folder / "summary.md", folder / "comments"
        names = ("LANG", "LD_LIBRARY_PATH", "PYTEST_ADDOPTS")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        own = str(Path(sys.executable).parent)
        self.environment = kept | {
            "PATH": os.pathsep.join([str(self.bin), own, os.environ["PATH"]]),
            "HOME": str(folder), "TMPDIR": str(folder), "ENERGYAWARE_CACHE": str(folder / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GITHUB_STEP_SUMMARY": str(self.summary), "GITHUB_ACTIONS": "true", "CI": "true",
            "COMMENTS": str(self.comments),
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        }  # fmt: skip
        self.bin.mkdir()
        gh = self.bin / "gh"
        gh.write_text('#!/bin/sh\necho "$@" >> "$COMMENTS"\nfor last; do :; done\ncat "$last" >> "$COMMENTS"\n')
        gh.chmod(0o755)
        self.origin.mkdir()
        self.run("git init -q -b main && git config receive.denyCurrentBranch ignore", self.origin)
        self.run(f"git clone -q '{self.origin}' '{self.clone}'", folder)
        self.commit(FILES)
        self.run("git branch -M main && git push -q origin main")

    def run(self, command: str, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=folder or self.clone,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def commit(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.clone / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert self.run("git add -A && git commit -q -m change").returncode == 0

    def steps(self, job: dict) -> dict[str, subprocess.CompletedProcess[str]]:
        """Run a GitHub job's own commands but the installation; each by its name."""
        done = {}
        for step in job["steps"]:
            if "run" in step and step["name"] != "Install":
                variables = {
                    name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: CONTEXT[found[1]], value)
                    for name, value in step.get("env", {}).items()
                }
                assert "${{" not in step["run"]  # what others can name never becomes part of a command
                done[step["name"]] = self.run(step["run"], **variables)
        return done

    def script(self, job: dict, **variables: str) -> list[subprocess.CompletedProcess[str]]:
        """Run a GitLab job's script."""
        return [self.run(command, **variables) for command in job["script"]]


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


def test_github_compare_passes_an_unchanged_cost_and_reports(runner):
    runner.commit({"README": "new"})
    done = runner.steps(document("github")["jobs"]["compare"])
    assert {name: item.returncode for name, item in done.items()} == {"Compare": 0, "Summary": 0, "Comment": 0}, done
    # By design one comparison in a hundred of equal code calls the head improved.
    assert re.search(r"\b(pass|improved)\b", done["Compare"].stdout)
    assert "::error" not in done["Compare"].stdout
    assert runner.summary.read_text().startswith("## Energy: origin/main → working tree")
    comment = runner.comments.read_text()
    assert comment.startswith(
        "pr comment 7 --edit-last --create-if-none --body-file energy-report/compare.md\n## Energy"
    )


def test_github_compare_fails_where_it_costs_more(runner):
    flops = FILES["benchmarks/test_suite.py"].replace("flops=100", "flops=mypkg.FLOPS")
    runner.commit(
        {"mypkg/__init__.py": "JOULES = 1.0\nFLOPS = 100\n", "benchmarks/test_suite.py": "import mypkg\n" + flops}
    )
    runner.run("git push -q origin main")
    runner.commit({"mypkg/__init__.py": "JOULES = 1.3\nFLOPS = 101\n"})
    done = runner.steps(document("github")["jobs"]["compare"])
    assert {name: item.returncode for name, item in done.items()} == {"Compare": 1, "Summary": 0, "Comment": 0}, done
    errors = [
        line for line in done["Compare"].stdout.splitlines() if line.startswith("::error file=benchmarks/test_suite")
    ]
    assert len(errors) == 2
    assert "REGRESSED" in runner.summary.read_text()


@pytest.fixture
def computing(runner):
    """The same, with work that really takes CPU time: beside it the candle says how fast the machine is."""
    suite = "import mypkg\ndef test_a(energy):\n    energy(mypkg.work)\n"
    ini = "[pytest]\nenergy_meter = cpu-time\nenergy_rounds = 5\n"
    runner.commit({"mypkg/__init__.py": WORK.format(1), "benchmarks/test_suite.py": suite, "pytest.ini": ini})
    return runner


WORK = "def work():\n    return sum(index * index for index in range({}0000))\n"


def test_github_stored_runs_gate_the_next_one(computing):
    job = document("github")["jobs"]["stored"]
    first = computing.steps(job)
    assert {name: item.returncode for name, item in first.items()} == {"Measure": 0, "Summary": 0, "History": 0}, first
    assert "no baseline" in first["Measure"].stdout
    assert "1 run under .benchmarks" in first["History"].stdout
    computing.commit({"mypkg/__init__.py": WORK.format(5)})
    last = computing.steps(job)
    assert last["Measure"].returncode == 1, last["Measure"].stdout
    assert "::error file=benchmarks/test_suite.py,title=energy::" in last["Measure"].stdout
    assert "REGRESSED" in computing.summary.read_text()
    assert (computing.clone / "energy-report" / "junit.xml").exists()


def test_gitlab_compare(runner):
    job = document("gitlab")["energy-compare"]
    base = runner.run("git rev-parse HEAD").stdout.strip()
    runner.commit({"mypkg/__init__.py": "JOULES = 1.3\n"})
    (done,) = runner.script(job, CI_MERGE_REQUEST_DIFF_BASE_SHA=base)
    assert done.returncode == 1, done.stderr
    assert "REGRESSED" in (runner.clone / "energy-report" / "compare.md").read_text()


def test_gitlab_stored(computing):
    job = document("gitlab")["energy-stored"]
    measured, history = computing.script(job)
    assert (measured.returncode, history.returncode) == (0, 0), (measured, history)
    assert (computing.clone / job["artifacts"]["reports"]["junit"]).exists()


def test_paths_in_the_document_are_where_things_are_written():
    github = document("github")["jobs"]
    (cache,) = [step for step in github["stored"]["steps"] if "cache" in step.get("uses", "")]
    assert cache["with"]["path"] == ".benchmarks" == document("gitlab")["energy-stored"]["cache"]["paths"][0]
    for name in ("compare", "stored"):
        (checkout,) = [step for step in github[name]["steps"] if "checkout" in step.get("uses", "")]
        assert checkout["with"]["fetch-depth"] == 0
