"""Every command and every Python block of README and docs is one that exists: commands parse, options are known.

Here they are read, those that take minutes too; `test_executed.py` runs what can be run.
"""

import argparse
import ast
import importlib.util
import itertools
import re
import shlex
from pathlib import Path

import pytest

from energyaware.cli import _parser
from energyaware.config import parse_limits
from energyaware.pytest_plugin.options import add_options

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = ("sh", "console", "bash", "yaml")


class Known:
    """Takes what the plugin declares, in place of pytest's parser and of its group."""

    def __init__(self):
        self.parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)

    def getgroup(self, *_):
        return self

    def addoption(self, *names, **facts):
        self.parser.add_argument(*names, **facts)

    def addini(self, *_, **__):
        """Not asked for here."""


def blocks(*languages):
    for page in PAGES:
        found = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        yield from (pytest.param(text, id=page.stem) for language, text in found if language in languages)


def written(page):
    """Lines of the shell blocks, and the commands inside sentences."""
    text = page.read_text(encoding="utf-8")
    fenced = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    shown = "\n".join(block for language, block in fenced.findall(text) if language in SHELLS)
    inline = re.findall(r"`((?:energyaware|pytest|python) [^`]+)`", fenced.sub("", text))
    return [*shown.replace("\\\n", " ").splitlines(), *(code.replace("\n", " ") for code in inline)]


def commands(first):
    """Words of each command that begins with `first`, without comments, redirections and what follows a pipe."""
    for page in PAGES:
        for line in written(page):
            if f"{first} " not in line or "…" in line:
                continue
            lexer = shlex.shlex(re.sub(r"^\s*(?:- |run: )?", "", line), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            for operator, group in itertools.groupby(lexer, key=lambda word: set(word) <= set("|&;<>")):
                words = list(group)
                if not operator and words[0].removeprefix(".venv/bin/") == first:
                    yield pytest.param(words[1:], id=f"{page.stem}: {' '.join(words)[:60]}")


@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_blocks_can_be_compiled(text):
    ast.parse(text)


@pytest.mark.parametrize("words", list(commands("energyaware")))
def test_commands_of_energyaware_parse(words):
    own = words[: words.index("--")] if "--" in words else words
    if len(own) == 1 and not own[0].startswith("-"):  # a sentence about the command
        assert own[0] in _parser().format_help()
        return
    parsed = _parser().parse_args(own)
    parse_limits([limit for limit in getattr(parsed, "fail", None) or () if isinstance(limit, str)])


@pytest.mark.parametrize("words", list(commands("pytest")))
def test_options_of_pytest_are_known(words):
    known = Known()
    add_options(known)
    parsed, rest = known.parser.parse_known_args(words)
    assert [word for word in rest if word.startswith("--energy")] == []
    parse_limits(parsed.energy_fail or ())


@pytest.mark.parametrize("words", list(commands("python")))
def test_scripts_exist_and_know_their_options(words):
    if words[0] == "-m" and words[1].startswith("benchmarks."):
        source = Path(importlib.util.find_spec(words[1]).origin)
    elif words[0].endswith(".py"):
        source = ROOT / words[0]
    else:
        pytest.skip("no script of ours")
    text = source.read_text(encoding="utf-8")
    assert [word for word in words if word.startswith("--") and f'"{word.partition("=")[0]}"' not in text] == []
