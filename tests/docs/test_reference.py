"""The reference pages are those that the code gives, and every option, argument and hook says what it is for."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["options.md", "commands.md", "hooks.md"])
def test_the_page_is_the_codes(generate, name):
    assert (DOCS / "reference" / name).read_text(encoding="utf-8") == generate.PAGES[name](), (
        "run python docs/generate.py"
    )


def test_every_option_that_pytest_shows_is_on_the_page(pytester):
    shown = pytester.runpytest_subprocess("--help").stdout.str()
    page = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
    options = set(re.findall(r"^  (--energy[a-z-]*)", shown, re.MULTILINE))
    assert "--energy-meter" in options
    assert options == set(re.findall(r"^\| `(--energy[a-z-]*)", page, re.MULTILINE))


@pytest.mark.parametrize("name", ["options.md", "commands.md"])
def test_no_row_is_without_an_explanation(name):
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1]
        for line in (DOCS / "reference" / name).read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert rows
    assert [row[0].strip() for row in rows if not row[-1].strip()] == []


def test_every_hook_is_explained(generate):
    from energyaware.pytest_plugin import hookspecs

    page = generate.hooks_page()
    for name in vars(hookspecs):
        if name.startswith("pytest_"):
            section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
            assert len(section.partition("```\n\n")[2].strip()) > 40, name


def test_every_page_is_in_the_sites_contents():
    contents = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages == set(re.findall(r"[\w/]+\.md", contents))
