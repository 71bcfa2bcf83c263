"""The suite as people run it, in a process of its own."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LABELS = ("fiber", "power")

QUICK_START = """
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}  # pytest-benchmark's own takes a second
"""


@pytest.fixture
def run_suite(tmp_path):
    """A function (*arguments, plugins=None, **variables) → the finished pytest process; `plugins` are name to source.

    Reports lie in `out` and stored runs in `runs` below the test's folder.
    """
    folder = tmp_path / "plugins"
    folder.mkdir()

    def run(*arguments, plugins=None, **variables):
        texts = {"quick_start": QUICK_START, **(plugins or {})}
        for name, text in texts.items():
            (folder / f"{name}.py").write_text(text)
        command = [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs"),
            *(f"-p{name}" for name in texts),
            *(f"--energy-report={tmp_path / 'out'}", f"--benchmark-storage={tmp_path / 'runs'}", *arguments),
        ]
        own = {
            "ENERGYAWARE_CACHE": tmp_path / "cache", "PYTHONPATH": folder, "HF_HUB_OFFLINE": 1, "COLUMNS": 200,
            **variables,
        }  # fmt: skip
        environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def tickets(tmp_path_factory) -> Path:
    """Sixty labelled tickets, columns `body` and `cause`."""
    path = tmp_path_factory.mktemp("data") / "tickets.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["body", "cause"])
        for index in range(60):
            writer.writerow([f"ticket {index} link down at site alder", LABELS[index % 3 == 0]])
    return path


@pytest.fixture(scope="session")
def data(tickets) -> str:
    """The option that has the suite read them."""
    return f"--energy-data={tickets}:text=body,label=cause"
