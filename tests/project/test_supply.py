"""What is installed with the package and with each extra, what is pinned, and what a distribution holds."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# What a user of the plugin alone has no use for: frameworks, models, pages, notebooks.
HEAVY = {
    "torch", "transformers", "accelerate", "bitsandbytes", "torchao", "peft", "datasets", "ray", "zeus", "triton",
    "scikit-learn", "statsmodels", "matplotlib", "jinja2", "pyarrow", "mkdocs-material", "tokenizers",
}  # fmt: skip
# Imported, and part of a package that is declared under another name.
# Tools that install packages; `pip freeze` leaves them out.
TOOLS = {"pip", "setuptools", "wheel"}
COMES_WITH = {
    "huggingface_hub": "transformers",
    "tokenizers": "transformers",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def closure(requirements):
    """Canonical names of all that these bring here, of what is installed; markers are those of this interpreter."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    left = [(Requirement(text), "") for text in requirements]
    while left:
        requirement, extra = left.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found.add(name)
        for asked in ("", *requirement.extras):
            if (name, asked) in seen:
                continue
            seen.add((name, asked))
            try:
                brought = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue
            left += [(Requirement(text), asked) for text in brought]
    return found


@pytest.fixture(scope="module")
def pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin.specifier for pin in pins}


def test_a_user_of_the_plugin_alone_gets_no_framework():
    brought = closure(PROJECT["dependencies"])
    assert {"pytest", "pytest-benchmark", "codecarbon", "numpy"} <= brought
    assert brought & HEAVY == set()


@pytest.mark.parametrize(
    ("extra", "brings", "not_"),
    [
        ("models", {"torch", "transformers", "bitsandbytes"}, {"zeus", "matplotlib", "statsmodels", "peft", "torchao"}),
        ("gpu", {"zeus"}, {"torch", "transformers"}),
        ("report", {"jinja2", "matplotlib"}, {"torch", "statsmodels"}),
        ("analyze", {"statsmodels"}, {"torch", "matplotlib"}),
    ],
)
def test_extras_are_split(extra, brings, not_):
    brought = closure(EXTRAS[extra])
    assert brings <= brought
    assert brought & not_ == set()


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_what_is_tested_is_what_is_pinned(pinned, extra):
    """Everything that the package or an extra brings is pinned, in the version that the tests run with."""
    wrong = {}
    for name in closure(EXTRAS[extra] if extra else PROJECT["dependencies"]) - TOOLS:
        try:
            installed = Version(metadata.version(name)).public  # torch 2.13.0+cpu is 2.13.0
        except metadata.PackageNotFoundError:
            continue  # of an extra that the tests do without
        if name not in pinned or not pinned[name].contains(installed, prereleases=True):
            wrong[name] = installed
    assert wrong == {}


def imported(folder):
    """Top names that the modules below import, other than Python's and the package's own."""
    found: dict[str, str] = {}
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0]: str(path) for name in names}
    return {
        name: path for name, path in found.items() if name and name not in {*sys.stdlib_module_names, "energyaware"}
    }


def test_what_the_package_imports_is_declared():
    declared = {
        canonicalize_name(Requirement(text).name)
        for texts in (PROJECT["dependencies"], *EXTRAS.values())
        for text in texts
    }
    names = {name: COMES_WITH.get(name, canonicalize_name(name)) for name in imported("energyaware")}
    assert {"numpy", "torch"} <= set(names)
    assert {name for name, distribution in names.items() if distribution not in declared} == set()


# --- distributions ---------------------------------------------------------------------------------------------------

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """What a build would find in a fresh checkout, and nothing of what lies about here."""
    place = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "constraints.txt"):
        shutil.copy(ROOT / name, place / name)
    for name in ("energyaware", "tests/project", "benchmarks"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests" / "test_config.py", place / "tests")  # what setuptools would take by itself
    return place


def build(tree, kind, out):
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(out)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.iterdir()
    return made


def package_files(tree):
    return {path.relative_to(tree).as_posix() for path in (tree / "energyaware").rglob("*") if path.is_file()}


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(tree, tmp_path):
    wheel = build(tree, "wheel", tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        about = {name for name in names if name.split("/")[0].endswith(".dist-info")}
        (said,) = (archive.read(name).decode() for name in about if name.endswith("/METADATA"))
        (entries,) = (archive.read(name).decode() for name in about if name.endswith("/entry_points.txt"))
    assert names - about == package_files(tree)
    assert {"energyaware/reports/html/templates/page.html", "energyaware/reports/assets/report.js"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in about)
    assert "energyaware = energyaware.pytest_plugin" in entries
    assert set(re.findall(r"^Provides-Extra: (.+)$", said, re.MULTILINE)) == set(EXTRAS)
    unconditional = [
        line for line in re.findall(r"^Requires-Dist: (.+)$", said, re.MULTILINE) if "extra ==" not in line
    ]
    assert {Requirement(line).name for line in unconditional} == {
        Requirement(text).name for text in PROJECT["dependencies"]
    }


def test_the_sdist_builds_the_same_and_holds_neither_tests_nor_runs(tree, tmp_path):
    made = build(tree, "sdist", tmp_path)
    with tarfile.open(made) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    assert package_files(tree) <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"} <= names
    top = {name.split("/")[0] for name in names if "/" in name}
    assert top == {"energyaware", "energyaware.egg-info"}


AUDIT = """#!{python}
import json, sys
given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
names = open(given["--requirement"]).read().split()
answers = {answers}
found = [answers.get(name.split("==")[0], dict(vulns=[])) for name in names if "==" in name]
if not answers.get("dies"):
    entries = [dict(name=name.split("==")[0], version="1", **entry) for name, entry in zip(names, found)]
    open(given["--output"], "w").write(json.dumps(dict(dependencies=entries)))
sys.exit(bool([entry for entry in found if entry.get("vulns")]))
"""
BAD = {"vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        ({"jinja2": BAD}, 0, "2 of 2 packages audited, 0 with vulnerabilities"),
        ({"jinja2": BAD, "b": BAD}, 1, "b 1: CVE-1 (fixed in 2)"),
        ({"jinja2": BAD, "b": {"skip_reason": "unknown"}}, 2, "NOT AUDITED: the service does not know b"),
        ({}, 2, "NOT AUDITED: the service does not know that jinja2==2.11.2 is vulnerable"),
        ({"jinja2": {"skip_reason": "unknown"}}, 2, "NOT AUDITED"),
        ({"dies": True}, 2, "NOT AUDITED"),
    ],
)
def test_an_audit_that_could_tell_nothing_does_not_end_well(tmp_path, answers, status, said):
    program, pins = tmp_path / "pip-audit", tmp_path / "pins.txt"
    program.write_text(AUDIT.format(python=sys.executable, answers=answers))
    program.chmod(0o755)
    pins.write_text("a==1\nb==1\n")
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), str(program), str(pins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_what_ray_brings_is_pinned(pinned):
    """It is not among what the tests run with, so that nothing else would tell."""
    assert {"ray", "jsonschema", "attrs", "referencing", "rpds-py", "jsonschema-specifications"} <= set(pinned)


@pytest.mark.parametrize("name", ["run", "lowest", "supply"])
def test_scripts_of_ci_are_programs(name):
    script = ROOT / ".ci" / name
    assert script.stat().st_mode & 0o111
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert f".ci/{name}" in page
