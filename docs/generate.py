"""Write the reference pages from the code: `python docs/generate.py`. A test keeps them equal to it."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from types import FunctionType
from typing import Any

from tabulate import tabulate

from energyaware.cli import build_parser
from energyaware.pytest_plugin import hookspecs
from energyaware.pytest_plugin.options import add_options

FOLDER = Path(__file__).parent / "reference"


class OptionRecorder:
    """Takes what `add_options` declares, in place of pytest's parser and of its group."""

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {}
        self.defaults: dict[str, Any] = {}

    def getgroup(self, *_: str) -> OptionRecorder:
        """The group is the recorder itself."""
        return self

    def addoption(self, name: str, **facts: Any) -> None:
        """Keep an option that `pytest --help` shows."""
        if facts.get("help") is not argparse.SUPPRESS:
            self.options[name] = facts

    def addini(self, name: str, _: str, *, default: Any, **__: Any) -> None:
        """Keep a key of pytest.ini."""
        self.defaults[name] = default


def options_page() -> str:
    """Every option of the plugin with its ini key and default."""
    found = OptionRecorder()
    add_options(found)  # type: ignore[arg-type]
    rows = []
    for name, facts in found.options.items():
        key = facts["dest"]
        shown = f"{name}={facts['metavar']}" if "metavar" in facts else name
        rows.append(
            (
                _code(shown),
                _code(key) if key in found.defaults else "–",
                _default(found.defaults.get(key)),
                _text(facts["help"]),
            )
        )
    return (
        "# Options of pytest\n\n"
        "An option on the command line wins over its key in `pytest.ini`; keys of several values take one per line.\n"
        "Options of pytest-benchmark (`--benchmark-save`, `--benchmark-storage`, …) keep their meaning.\n\n"
        + tabulate(rows, ("option", "key in pytest.ini", "default", "what it does"), tablefmt="github")
        + "\n"
    )


def commands_page() -> str:
    """Every command of `energyaware` with its arguments."""
    parts = ["# Commands of energyaware\n"]
    commands = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    lines = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    for name, parser in commands.choices.items():
        rows = [
            (_code(_written(action)), _default(action.default), _text(action.help or "", str(action.default)))
            for action in parser._actions
            if not isinstance(action, argparse._HelpAction)
        ]
        sentence = _text(lines[name])
        end = "" if sentence.endswith("?") else "."
        parts.append(f"## energyaware {name}\n\n{sentence[:1].upper()}{sentence[1:]}{end}\n")
        if rows:
            parts.append(tabulate(rows, ("argument", "default", "what it does"), tablefmt="github") + "\n")
    return "\n".join(parts)


def hooks_page() -> str:
    """Every hook with its signature and docstring."""
    parts = [
        "# Hooks\n",
        "A `conftest.py` or a plugin of yours implements them; pytest finds them by their names.\n",
    ]
    for name, hook in vars(hookspecs).items():
        if isinstance(hook, FunctionType) and name.startswith("pytest_"):
            signature = str(inspect.signature(hook)).replace("'", "")
            parts.append(f"## {name}\n\n```text\n{name}{signature}\n```\n\n{inspect.getdoc(hook)}\n")
    return "\n".join(parts)


PAGES = {"options.md": options_page, "commands.md": commands_page, "hooks.md": hooks_page}


def _written(action: argparse.Action) -> str:
    """As one types it."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper().replace("-", "_")
    if action.choices is not None:
        value = "|".join(map(str, action.choices))
    if not action.option_strings:
        return {"?": f"[{value}]", "+": f"{value}…", "*": f"[{value}…]"}.get(str(action.nargs), value)
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {value}"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _text(help_text: str, default: str = "") -> str:
    return help_text.replace("%(default)s", default).replace("%%", "%").replace("|", "\\|")


def _default(value: object) -> str:
    if value is None or value in ("", [], False) or value is argparse.SUPPRESS:
        return "–"
    return _code(str(value))


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
