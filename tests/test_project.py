"""Promises of the repository itself."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def commands(readme: str) -> list[str]:
    """The one-line commands of the README that set themselves up."""
    return re.findall(r"^python3 -m venv \.venv && .+$", readme, flags=re.MULTILINE)


def test_ci_runs_the_readmes_test_command_word_for_word():
    main, tests = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert main.endswith("pytest benchmarks --energy")
    assert tests.endswith("pytest -n 2")
    assert tests in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_readme_commands_install_under_the_constraints():
    for command in commands((ROOT / "README.md").read_text(encoding="utf-8")):
        assert " -c constraints.txt " in command


def test_every_required_package_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(item for name in extras for item in extras[name])]
    pinned = {
        re.split("[=<>]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    for requirement in wanted:
        assert ">=" in requirement, f"{requirement} has no lower bound"
        assert requirement.split(">=")[0] in pinned


def test_layers_hold():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_tree_entry_of_the_readme_exists():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.split("<!-- tree -->")[1].split("```")[1]
    folders: list[str] = []
    seen = 0
    for line in tree.strip("\n").splitlines()[1:]:
        name = line.split()[0] if line.split() else ""
        depth = (len(line) - len(line.lstrip())) // 2
        if not name:
            continue
        folders[depth:] = [name.rstrip("/")]
        assert (ROOT / Path(*folders)).exists(), line
        seen += 1
    assert seen > 10


@pytest.mark.parametrize("folder", ["energyaware", "benchmarks", "tests"])
def test_no_file_names_a_machine_or_a_registry(folder):
    patterns = ("/home/", "/root/", "/work/", "pypi" + ".org", "extra-index" + "-url")
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path != Path(__file__):
            assert not [pattern for pattern in patterns if pattern in text], path
