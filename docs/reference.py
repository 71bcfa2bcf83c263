"""Write `docs/reference.md` and `docs/schema.json` from the code: `python docs/reference.py`. A test compares them."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from energyaware.cli import _parser
from energyaware.config import METRICS
from energyaware.pytest_plugin import hookspecs
from energyaware.pytest_plugin.facts import Facts
from energyaware.pytest_plugin.fixture import EnergyFixture
from energyaware.pytest_plugin.options import add_options
from energyaware.reports.columns import COLUMNS
from energyaware.reports.schema import schema_text

DOCS = Path(__file__).parent

HEAD = """# Reference

Made from the code by `python docs/reference.py`: do not edit. The stored JSON is in [json.md](json.md), the meters in
[meters.md](meters.md).
"""

METHODS = ("__call__", "pedantic", "record", "window")


class Recorder:
    """Takes the place of pytest's parser and remembers what is declared."""

    def __init__(self) -> None:
        self.options: list[tuple[str, dict[str, Any]]] = []
        self.ini: dict[str, Any] = {}

    def getgroup(self, name: str, description: str = "") -> Recorder:  # noqa: ARG002 - as pytest calls it
        """All groups are one."""
        return self

    def addoption(self, name: str, **attributes: Any) -> None:
        """Remember an option."""
        self.options.append((name, attributes))

    def addini(self, name: str, help: str, type: Any = None, default: Any = None) -> None:  # noqa: A002, ARG002
        """Remember a name of the ini file."""
        self.ini[name] = default


def reference() -> str:
    """The page."""
    parts = [HEAD, *_options(), *_marker(), *_fixture(), *_hooks(), *_commands()]
    return "\n".join(parts).rstrip("\n") + "\n"


def _options() -> Iterator[str]:
    recorder = Recorder()
    add_options(recorder)  # type: ignore[arg-type]
    yield "## Options of pytest\n"
    yield "Every option has a twin in `pytest.ini` (or `[tool.pytest.ini_options]`); the command line wins.\n"
    yield from _table(
        ("option", "in pytest.ini", "default", "what it does"),
        [
            (
                f"`{name}{_value(attributes)}`", f"`{attributes['dest']}`",
                _default(recorder.ini[attributes["dest"]]), _help(attributes["help"]),
            )
            for name, attributes in recorder.options
            if attributes["help"] != argparse.SUPPRESS
        ],
    )  # fmt: skip
    yield "\nMetrics of `--energy-fail` and their units:\n"
    yield from _table(
        ("metric", "units", "kind"),
        [(f"`{item.name}`", " ".join(f"`{unit}`" for unit in item.units), item.kind) for item in METRICS.values()],
    )
    names = ", ".join(f"`{item.name}`" for item in COLUMNS)
    yield f"\nColumns of `--energy-columns`: {names}.\n"


def _value(attributes: dict[str, Any]) -> str:
    if "metavar" not in attributes:
        return ""
    return f"[={attributes['metavar']}]" if attributes.get("nargs") == "?" else f"={attributes['metavar']}"


def _default(value: Any) -> str:
    return "" if value in (None, "", [], False) else f"`{value}`"


def _marker() -> Iterator[str]:
    yield "## The marker\n"
    yield "`@pytest.mark.energy(…)` narrows one test; what it does not name holds as for the run.\n"
    yield from _table(
        ("key", "what it says"),
        [
            ("`group`", "rows of one group are ranked together"),
            ("`fail`", "limits of this test, as `--energy-fail`: a text or a list of them"),
            ("`rounds`", "metered rounds, from 2"),
            ("`candle`", "the reference work that resembles the test: `interpreter`, `matmul` or `small-ops`"),
        ],
    )
    yield ""


def _fixture() -> Iterator[str]:
    yield "## The fixture `energy`\n"
    for name in METHODS:
        method = getattr(EnergyFixture, name)
        yield f"### `energy{'' if name == '__call__' else f'.{name}'}{_signature(method)}`\n"
        yield from _prose(method)
    yield "What `energy.record` takes:\n"
    yield from _table(("name", "what it is"), _attributes(Facts))
    yield ""


def _hooks() -> Iterator[str]:
    yield "## Hooks\n"
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("pytest_energy"):
            yield f"### `{name}{_signature(hook)}`\n"
            yield from _prose(hook)


def _commands() -> Iterator[str]:
    yield "## The command `energyaware`\n"
    (commands,) = (item for item in _parser()._actions if isinstance(item, argparse._SubParsersAction))
    helps = {item.dest: item.help for item in commands._choices_actions}
    for name, parser in commands.choices.items():
        yield f"### `energyaware {name}`\n"
        yield f"{_sentence(helps[name] or '')}\n"
        rows = [
            (f"`{_spelled(item)}`", _help(item.help or "", item.default))
            for item in parser._actions
            if not isinstance(item, argparse._HelpAction) and item.help != argparse.SUPPRESS
        ]
        if rows:
            yield from _table(("argument", "what it does"), rows)
            yield ""


def _spelled(item: argparse.Action) -> str:
    value = item.metavar or (item.dest if not item.choices else "|".join(map(str, item.choices)))
    if not item.option_strings:
        return str(value)
    return item.option_strings[-1] + ("" if item.nargs == 0 else f"={value if item.metavar or item.choices else 'N'}")


def _signature(function: Any) -> str:
    """Names and defaults, without types: they are in the code."""
    parameters = [
        item.replace(annotation=inspect.Parameter.empty)
        for name, item in inspect.signature(function).parameters.items()
        if name != "self"
    ]
    return str(inspect.Signature(parameters))


def _prose(function: Any) -> Iterator[str]:
    """A docstring, its sections as lists."""
    lines = (inspect.getdoc(function) or "").splitlines()
    text = "\n".join(lines)
    for part in re.split(r"\n(?=(?:Args|Returns|Raises|Yields):\n)", text):
        head, _, body = part.partition("\n")
        if head not in ("Args:", "Returns:", "Raises:", "Yields:"):
            yield f"{part.strip()}\n"
            continue
        yield f"{head}\n"
        yield from (f"- {entry}" for entry in _entries(body))
        yield ""


def _entries(body: str) -> Iterator[str]:
    """`name: text` with its further lines on one; in code marks."""
    found = [" ".join(entry.split()) for entry in re.split(r"\n(?=    \S)", "\n" + body.rstrip()) if entry.strip()]
    for entry in found:
        name, colon, text = entry.partition(": ")
        yield f"`{name}`: {text}" if colon and re.fullmatch(r"[\w, ]+", name) else entry


def _attributes(kind: type) -> list[tuple[str, str]]:
    """Names and texts of a class's `Attributes:`."""
    _, _, body = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    rows = []
    for entry in _entries(body):
        name, _, text = entry.partition(": ")
        rows.append((name, text))
    return rows


def _help(text: str, default: object = None) -> str:
    return text.replace("%(default)s", str(default)).replace("%%", "%")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield _line(titles)
    yield _line(("---",) * len(titles))
    yield from map(_line, rows)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Write both files."""
    (DOCS / "reference.md").write_text(reference(), encoding="utf-8")
    (DOCS / "schema.json").write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
