"""Tiny repositories whose meter reads a number out of the package under test, so that every ratio is known."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energyaware.records import Benchmark, Domain, Reading, Round, Work

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
    return {}
"""

SUITE = """
import mypkg

def test_a(energy):
    energy.pedantic(mypkg.work, setup=lambda: None)
"""

PACKAGE = """
JOULES = 1.0

def work():
    pass
"""

# What a job in the background inherits is to ignore Ctrl-C; the command is tried as in the foreground.
CONSOLE_SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from energyaware.cli import main
sys.exit(main())
"""

FILES = {
    "mypkg/__init__.py": PACKAGE,
    "conftest.py": CONFTEST,
    "pytest.ini": "[pytest]\nenergy_meter = package\n",
    "benchmarks/test_suite.py": SUITE,
}


class Command(subprocess.Popen):
    """As a context manager it is killed where the block fails, instead of waited for."""

    def __exit__(self, kind, error, trace):
        if error is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Repository:
    """A git repository in a folder, in which nobody's configuration counts."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.environment = environment
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, env=self.environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, **files: str) -> None:
        write(self.root, files)

    def commit(self, files: dict[str, str], message: str = "change") -> str:
        write(self.root, files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def worktrees(self) -> list[str]:
        lines = self.git("worktree", "list", "--porcelain").splitlines()
        return [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-c", CONSOLE_SCRIPT, "compare", *arguments]

    def start(self, *arguments: str, folder: str = ".") -> subprocess.Popen[str]:
        return Command(
            self.command(*arguments),
            cwd=self.root / folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def compare(self, *arguments: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
        """Run `energyaware compare` with the fewest launches and rounds."""
        with self.start("--launches=2", "--rounds=2", *arguments, folder=folder) as process:
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def variables_in(place: Path) -> dict[str, str]:
    """Variables for git and workers: only what a test needs of ours, and folders below `place`."""
    names = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTEST_ADDOPTS")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    for folder in ("home", "temp", "cache"):
        (place / folder).mkdir()
    return kept | {
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "temp"),
        "ENERGYAWARE_CACHE": str(place / "cache"),
        # Trees stay as they are; what is installed was compiled before.
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        "COLUMNS": "200",
    }  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables for git and workers."""
    return variables_in(tmp_path)


@pytest.fixture
def empty(tmp_path: Path, environment: dict[str, str]) -> Repository:
    """A repository without a commit, in a folder with a space in its name."""
    return Repository(tmp_path / "my repository", environment)


@pytest.fixture
def repository(empty: Repository) -> Repository:
    """A repository with a package and one benchmark, committed on `main`."""
    empty.commit(FILES)
    return empty


@pytest.fixture(scope="module")
def shared_repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The same for tests that share what was run in it."""
    place = tmp_path_factory.mktemp("shared")
    made = Repository(place / "my repository", variables_in(place))
    made.commit(FILES)
    return made


def make_benchmark(energy_j: float = 1.0, name: str = "test_a", **changes: Any) -> Benchmark:
    rounds = tuple(Round(1, 0.1, Reading({"cpu": energy_j}, 0.1)) for _ in range(3))
    plain = Benchmark(
        fullname=f"t.py::{name}", name=name, group="", task="", phase="", candle="", layout="",
        domains={"cpu": Domain("package", "estimated", 1e-6)}, rounds=rounds, work=Work(requests=1),
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="session")
def bench() -> Callable[..., Benchmark]:
    return make_benchmark
