"""docs/tutorial.md, followed to the letter in an empty folder."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "tutorial.md"
FAILS = (
    "pytest benchmarks --energy --energy-compare=main --energy-fail=energy:10%",
    "energyaware compare HEAD --fail energy:5%",
)
"""Commands of which the text says that their exit status is 1."""


@pytest.fixture
def environment(monkeypatch):
    """What a user's shell has; the environment of this test run must not reach the commands."""
    hidden = ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "PYTHONHASHSEED")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    scripts = str(Path(sys.executable).parent)
    return kept | {"PATH": f"{scripts}{os.pathsep}{kept['PATH']}", "COLUMNS": "100"}


def test_the_tutorial_holds(tmp_path, environment):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    printed = {}
    for kind, block in blocks:
        if kind in ("python", "ini"):
            place = tmp_path / block.splitlines()[0].removeprefix("# ")
            place.parent.mkdir(exist_ok=True)
            place.write_text(block)
        elif kind == "sh":
            for line in block.splitlines():
                # A few rounds decide what the text shows, and time is saved.
                short = {"PYTEST_ADDOPTS": "--energy-rounds=5"} if line.startswith("pytest") else {}
                done = subprocess.run(
                    ["bash", "-c", line],
                    cwd=tmp_path,
                    env=environment | short,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                printed[line] = done.stdout + done.stderr
                assert done.returncode == (line in FAILS), f"{line}\n{printed[line]}"
    assert set(FAILS) <= set(printed)
    for line in FAILS:
        assert re.search(r"test_parse.*regressed|regressed.*test_parse", printed[line]), printed[line]
    (stored,) = (tmp_path / ".benchmarks").glob("*/*_main.json")
    assert json.loads(stored.read_text())["benchmarks"][0]["energy"]["quality"] == {"accuracy": 1.0}
