"""The console script `energyaware`: what can be done without running pytest."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from energyaware import __version__
from energyaware.config import SORTS
from energyaware.errors import EnergyAwareError

Command = Callable[[argparse.Namespace], int]


def _rank(arguments: argparse.Namespace) -> int:
    from energyaware.cli.rank import show

    return show(Path(arguments.run), arguments.weight, arguments.sort)


def _models(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - one signature for all commands
    from energyaware.cli.models import show

    return show()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="energyaware", description="Energy of language models: rank stored runs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    rank = commands.add_parser("rank", help="print the ranking of a stored run again, for any weight")
    rank.add_argument("run", help="a file that --benchmark-save, -autosave or -json wrote")
    rank.add_argument("--weight", type=float, help="w of R = w·φ + (1−w)·ρ; else the one of the run")
    rank.add_argument("--sort", choices=SORTS, default="r")
    rank.set_defaults(call=_rank)
    models = commands.add_parser("models", help="the catalogue, and which embedded models are trained")
    models.set_defaults(call=_models)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on standard error and exit status 2."""
    parsed = _parser().parse_args(arguments)
    command: Command = parsed.call
    try:
        status = command(parsed)
        sys.stdout.flush()
    except EnergyAwareError as error:
        print(f"energyaware: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `energyaware rank RUN | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
