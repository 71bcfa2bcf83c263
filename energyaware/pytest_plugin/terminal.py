"""The end of the terminal output: ranking, verdicts, totals, where the report lies."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from energyaware.baselines.gate import failing
from energyaware.config import NEWEST_ANCESTOR
from energyaware.records import Run
from energyaware.reports.clocks import clock_lines
from energyaware.reports.columns import Grams, plain
from energyaware.reports.comparison import github_errors
from energyaware.reports.tables import TERMINAL, gate_table, ranking_notes, ranking_table, remarks, totals_line

if TYPE_CHECKING:
    from energyaware.pytest_plugin.session import EnergySession


def summarize(reporter: pytest.TerminalReporter, session: EnergySession, run: Run, grams: Grams) -> None:
    """Write every section."""
    width = reporter._tw.fullwidth

    def lines(text: str, **style: bool) -> None:
        # Ids and paths stay whole, so that they can be copied.
        wrapper = textwrap.TextWrapper(width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
        for line in wrapper.wrap(plain(text)):
            reporter.write_line(line, **style)

    settings = session.settings
    for ranking in session.rankings:
        reporter.section(f"energy ranking{f': {plain(ranking.group)}' if ranking.group else ''}")
        names, sort = settings.columns, settings.sort
        reporter.write_line(ranking_table(ranking, grams, names=names, sort=sort, width=width))
        for remark in remarks(ranking):
            lines(remark, yellow=True)
        for note in ranking_notes(ranking, run.totals):
            lines(note)
    clocks = clock_lines(run.benchmarks)
    if clocks:
        reporter.section("clocks and power caps")
        for line in clocks:
            lines(line)
    for section in session.sections:
        reporter.section(section.title)
        if section.table is not None:
            reporter.write_line(section.table(TERMINAL, width))
        for line in section.lines:
            lines(line)
    if settings.compare is not None:
        _verdicts(reporter, session, lines)
    reporter.section("energy of this run")
    lines(totals_line(run.totals))
    if run.interrupted:
        lines(f"interrupted: the {len(run.benchmarks)} finished benchmarks are stored, marked as an incomplete run")
    if session.written:
        lines("report: " + ", ".join(str(path) for path in session.written))
    if session.report_problem:
        lines(session.report_problem, red=True)


def _verdicts(reporter: pytest.TerminalReporter, session: EnergySession, lines: Callable[..., None]) -> None:
    reporter.section("energy verdicts")
    baseline = session.baseline
    if baseline is None:
        asked = session.settings.compare
        lines(
            "no baseline: no complete run of a clean tree of an ancestor of HEAD is stored; this run can become one"
            if asked == NEWEST_ANCESTOR
            else f"no baseline {asked}"
        )
    else:
        state = " from a dirty tree" if baseline.run.dirty else ""
        lines(f"baseline: {baseline.run.path}{state} ({baseline.chosen})")
        for problem in baseline.skipped:
            lines(f"skipped: {problem}", yellow=True)
    reporter.write_line(gate_table(session.judgements, width=reporter._tw.fullwidth))
    for item in session.judgements:
        if item.reason:
            lines(f"{item.row} {item.limit}: {item.verdict}, {item.reason}")
    bad = failing(session.judgements, session.settings.strict)
    if bad:
        lines(
            f"FAILED: {', '.join(dict.fromkeys(f'{item.fullname} ({item.limit} {item.verdict})' for item in bad))}",
            red=True,
            bold=True,
        )
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_errors(bad):
            reporter.write_line(line)
