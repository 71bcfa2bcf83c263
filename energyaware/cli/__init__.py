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


def _compare(arguments: argparse.Namespace) -> int:
    from energyaware.cli.compare import run

    return run(arguments, arguments.pytest_arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from energyaware.cli.doctor import run

    return run(arguments)


def _history(arguments: argparse.Namespace) -> int:
    from energyaware.cli.history import run

    return run(arguments)


def _analyze(arguments: argparse.Namespace) -> int:
    from energyaware.cli.analyze import run

    return run(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from energyaware.cli.report import run

    return run(arguments)


def _merge(arguments: argparse.Namespace) -> int:
    from energyaware.cli.merge import run

    return run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="energyaware", description="Energy of language models: rank stored runs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    rank = commands.add_parser("rank", help="print the ranking of a stored run again, for any weight")
    rank.add_argument("run", help="a file that --benchmark-save, -autosave or -json wrote")
    rank.add_argument("--weight", type=float, help="w of R = w·φ + (1−w)·ρ; else the one of the run")
    rank.add_argument("--sort", choices=SORTS, default="r", help="order of the rows")
    rank.set_defaults(call=_rank)
    compare = commands.add_parser("compare", help="measure two revisions side by side: did this branch make it worse?")
    from energyaware.cli.compare import add_arguments

    add_arguments(compare)
    compare.set_defaults(call=_compare)
    models = commands.add_parser("models", help="the catalogue, and which embedded models are trained")
    models.set_defaults(call=_models)
    doctor = commands.add_parser("doctor", help="which meters work here, why the others do not, what to do")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--core-watts", type=float, metavar="W", help="as --energy-core-watts of pytest")
    doctor.add_argument("--country", metavar="CODE", help="as --energy-country of pytest")
    doctor.add_argument(
        "--restore", action="store_true", help="put back clocks and power caps that a killed --energy-dvfs run left"
    )
    doctor.set_defaults(call=_doctor)
    history = commands.add_parser("history", help="steps and slow drifts of a branch, from its stored runs")
    from energyaware.cli.history import add_arguments as add_history_arguments

    add_history_arguments(history)
    history.set_defaults(call=_history)
    analyze = commands.add_parser("analyze", help="what drives energy: regression, ranks and tests over stored runs")
    from energyaware.cli.analyze import add_arguments as add_analyze_arguments

    add_analyze_arguments(analyze)
    analyze.set_defaults(call=_analyze)
    report = commands.add_parser("report", help="stored runs as HTML, Markdown, CSV and figures")
    from energyaware.cli.report import add_arguments as add_report_arguments

    add_report_arguments(report)
    report.set_defaults(call=_report)
    merge = commands.add_parser("merge", help="join the run files of --energy-shard into one")
    from energyaware.cli.merge import add_arguments as add_merge_arguments

    add_merge_arguments(merge)
    merge.set_defaults(call=_merge)
    return parser


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is for us, and what follows `--`."""
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on standard error and exit status 2."""
    own, pytest_arguments = _parted(list(sys.argv[1:] if arguments is None else arguments))
    parsed = _parser().parse_args(own)
    if pytest_arguments and parsed.command != "compare":
        _parser().error("only compare passes arguments after -- to pytest")
    parsed.pytest_arguments = pytest_arguments
    command: Command = parsed.call
    try:
        status = command(parsed)
        sys.stdout.flush()
    except EnergyAwareError as error:
        from energyaware.reports.columns import plain

        # It may quote what git, tests and files say.
        print("energyaware: " + "\n".join(map(plain, str(error).split("\n"))), file=sys.stderr)
        return 2
    except BrokenPipeError:  # `energyaware rank RUN | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
