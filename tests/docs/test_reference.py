"""What is generated from the code is what the code says now, and every option and hook is in it."""

import importlib.util
import re
from pathlib import Path

import pytest

from energyaware.pytest_plugin import hookspecs

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "reference.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_from_this_code(script):
    assert script.reference() == TEXT, "run `python docs/reference.py`"


def test_every_option_of_pytests_help_is_there(pytestconfig):
    shown = pytestconfig._parser.optparser.format_help()
    options = set(re.findall(r"--energy[a-z-]*", shown))
    assert len(options) > 15
    assert options - set(re.findall(r"--energy[a-z-]*", TEXT)) == set()


def test_every_hook_is_there():
    hooks = {name for name in vars(hookspecs) if name.startswith("pytest_energy")}
    assert set(re.findall(r"^### `(pytest_energy_\w+)\(", TEXT, flags=re.MULTILINE)) == hooks
