"""`energyaware compare BASE [HEAD]`: whether a branch made it worse."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from energyaware.baselines.gate import Judgement, failing
from energyaware.branches.checkout import repository_root
from energyaware.branches.comparison import Comparison, Settings, compare
from energyaware.branches.janitor import Janitor
from energyaware.branches.launches import Journal
from energyaware.branches.verdicts import Standing
from energyaware.config import parse_limits
from energyaware.errors import OptionError
from energyaware.measure.machine import describe
from energyaware.meters.selection import best_available
from energyaware.paths import cache_dir, writable_dir
from energyaware.reports import files
from energyaware.reports.columns import plain
from energyaware.reports.comparison import comparison_json, comparison_markdown, comparison_text, github_errors
from energyaware.units import percent, si

DEFAULT_ROUNDS, DEFAULT_LAUNCHES, DEFAULT_MINUTES = 8, 20, 60.0
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; what follows `--` is for pytest and is taken off before."""
    parser.add_argument("base", help="branch, tag or commit to compare with")
    parser.add_argument("head", nargs="?", help="default: the working tree, uncommitted changes included")
    parser.add_argument("--benchmarks-from", choices=("head", "own"), default="head", help="whose benchmark files run")
    parser.add_argument("--prepare", default="", metavar="COMMAND", help='as "pip install .": an environment per side')
    parser.add_argument("--fail", action="append", default=[], metavar="METRIC:LIMIT", help="as energy:5%%; repeatable")
    parser.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS, help="pairs of rounds per benchmark and launch")
    parser.add_argument("--launches", type=int, default=DEFAULT_LAUNCHES, help="most launches; it stops when decided")
    parser.add_argument("--max-minutes", type=float, default=DEFAULT_MINUTES, help="after them no launch begins")
    parser.add_argument("--max-joules", type=float, default=float("inf"), help="the same for joules spent")
    parser.add_argument("--resume", action="store_true", help="go on with a comparison that was cut off")
    parser.add_argument("--strict", action="store_true", help="inconclusive, incomparable and missing fail too")
    parser.add_argument("--report", type=Path, metavar="DIR", help="folder for compare.html and compare.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="verdicts and raw launches")


def _settings(parsed: argparse.Namespace, pytest_arguments: Sequence[str]) -> Settings:
    for name, least in (("rounds", 2), ("launches", 2)):
        if getattr(parsed, name) < least:
            raise OptionError(f"--{name}={getattr(parsed, name)} is under {least}", "leave it out for the default")
    for name in ("max_minutes", "max_joules"):
        if not getattr(parsed, name) > 0:
            option = "--" + name.replace("_", "-")
            raise OptionError(f"{option}={getattr(parsed, name):g} is not above 0", "leave it out for the default")
    return Settings(
        base=parsed.base,
        head=parsed.head,
        benchmarks_from=parsed.benchmarks_from,
        prepare=parsed.prepare,
        limits=tuple(limit.text for limit in parse_limits(parsed.fail)),
        rounds=parsed.rounds,
        launches=parsed.launches,
        max_s=parsed.max_minutes * 60,
        max_j=parsed.max_joules,
        resume=parsed.resume,
        pytest_arguments=tuple(pytest_arguments),
    )


def run(parsed: argparse.Namespace, pytest_arguments: Sequence[str]) -> int:
    """Compare, print the verdicts, and return the exit status: 1 where something regressed.

    Raises:
        OptionError: a limit, number, budget or pytest argument that says nothing.
        RevisionError: a revision that cannot be compared.
        WorkerError: a side's process ended; finished launches are kept.
        StoredRunError: nothing to resume, or the journal cannot be written.
        CacheError: the report cannot be written.
    """
    settings = _settings(parsed, pytest_arguments)
    repository = repository_root(Path.cwd())
    for folder in (parsed.report, parsed.json and parsed.json.parent):
        if folder is not None:
            writable_dir(folder, "report")
    journal = Journal(_journal_path(repository))
    meter = best_available(None)
    progress = LiveLine(settings.max_j)
    # A polite kill unwinds like Ctrl-C, so that everything is cleaned up.
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Janitor() as janitor:
            found = compare(settings, repository, Path.cwd(), journal, janitor, meter, progress)
    except KeyboardInterrupt:
        progress.clear()
        print(f"interrupted. {journal.outlook}", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, previous)
    progress.clear()
    title = f"Energy: {settings.base} → {settings.head or 'working tree'}"
    print(comparison_text(title, found, shutil.get_terminal_size().columns))
    bad = failing(found.standing.judgements, parsed.strict)
    if bad:
        print("FAILED: " + ", ".join(f"{plain(item.fullname)} ({item.limit} {item.verdict})" for item in bad))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_errors(bad):
            print(line)
    if parsed.report is not None:
        written = files.write(parsed.report, _texts(title, found))
        print("report: " + ", ".join(str(path) for path in written))
    if parsed.json is not None:
        files.write(parsed.json.parent, {parsed.json.name: comparison_json(found)})
    if found.unfinished:
        print("--resume with a larger --max-minutes or --max-joules goes on from here")
    else:
        journal.finish()
    return 1 if bad else 0


def _texts(title: str, found: Comparison) -> dict[str, str]:
    """The files of the report."""
    # Here, as they load what only pages need.
    from energyaware.reports.html import page
    from energyaware.reports.html.compared import compared_page

    texts = {"compare.md": comparison_markdown(title, found)}
    if page.available():
        texts["compare.html"] = compared_page(title, found, describe())
    else:
        print(f"compare.html is left out: it needs Jinja2. {page.REMEDY}")
    return texts


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's
    raise KeyboardInterrupt


def _journal_path(repository: Path) -> Path:
    name = hashlib.sha256(str(repository).encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_dir() / "comparisons" / f"{name}.jsonl"


class LiveLine:
    """How far it is, on standard error: one line that is overwritten on a terminal, one per launch elsewhere."""

    def __init__(self, max_j: float) -> None:
        self._max_j = max_j
        self._live = sys.stderr.isatty()
        self._text = ""

    def preparing(self, what: str) -> None:
        """Something begins that comes before the first launch."""
        self._show(plain(what))
        if not self._live:
            print(plain(what), file=sys.stderr, flush=True)

    def begin(self, number: int, now: Standing, total: int, left_s: float, energy_j: float | None) -> None:
        """A launch begins."""
        decided = f"{total - len(now.open)} of {total} decided" if total else "starting"
        waiting = [item for item in now.judgements if item.fullname in now.open and item.effect is not None]
        state = "".join(f", {_short(item)}" for item in waiting[:2]) + (", …" if len(waiting) > 2 else "")
        joules = ""
        if energy_j is not None:
            left_j = self._max_j - energy_j
            joules = f", {si(energy_j, 'J')} spent" if math.isinf(left_j) else f", {si(max(left_j, 0.0), 'J')} left"
        self._text = f"launch {number}: {decided}{state}, {max(left_s, 0) / 60:.0f} min left{joules}"
        if not self._live:
            print(self._text, file=sys.stderr, flush=True)

    def round(self, name: str, number: int) -> None:
        """A pair of rounds begins."""
        self._show(f"{self._text} · {plain(name.rpartition('::')[2])} {number}")

    def _show(self, line: str) -> None:
        if self._live:
            cut = line[: shutil.get_terminal_size().columns - 1]
            print(f"\r\x1b[K{cut}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave the line to others."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _short(item: Judgement) -> str:
    low, high = (percent(value, signed=True) for value in (item.low, item.high))
    return f"{plain(item.row)} {percent(item.effect, signed=True)} [{low}, {high}]"
