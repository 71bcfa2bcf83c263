"""docs/tutorial.md, followed to the letter in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def environment(tmp_path):
    """That of somebody with a name in git and nothing else set; `python -m` stands behind the commands' names."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, module in (("pytest", "pytest"), ("energyaware", "energyaware")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{START[module]}" "$@"\n')
        script.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GIT_", "ENERGY"))}
    people = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in PERSON.items()}
    return kept | people | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(DOCUMENT.parents[1]),
        # Fewer rounds than a person would wait for, and enough for a verdict while other tests run.
        "PYTEST_ADDOPTS": "--energy-rounds=16 -p no:cacheprovider",
        "COLUMNS": "120",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }  # fmt: skip


START = {
    "pytest": "import sys, pytest; sys.exit(pytest.main())",
    "energyaware": "import sys; from energyaware.cli import main; sys.exit(main())",
}
PERSON = {"NAME": "a", "EMAIL": "a@example.invalid"}


def test_it_can_be_followed_to_the_letter(tmp_path, environment):
    pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")
    folder = tmp_path / "project"
    folder.mkdir()
    said = []
    for language, label, text in BLOCKS:
        if language == "python":
            (folder / label).write_text(text)
        elif label != "install":
            done = subprocess.run(
                ["bash", "-e", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
            )
            assert (done.returncode == 1) == (label == "fails"), done.stdout + done.stderr
            said.append(done.stdout)
    verdict = next(text for text in said if "energy verdicts" in text)
    assert "REGRESSED" in verdict
    assert "estimated" in verdict or "measured" in verdict
    report = (folder / "energy-report" / "energy.html").read_text(encoding="utf-8")
    assert "test_counts" in report
