"""The end of the terminal output: ranking, verdicts, totals, where the report lies.

With `-q` the tables, what failed and the totals remain; with `-qq` only what failed; with `-v` tables have all columns.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from energyaware.baselines.gate import failing
from energyaware.config import NEWEST_ANCESTOR
from energyaware.records import Run
from energyaware.reports.clocks import clock_lines
from energyaware.reports.columns import Grams, plain
from energyaware.reports.comparison import github_errors
from energyaware.reports.tables import TERMINAL, gate_table, ranking_notes, ranking_table, remarks, totals_line, wrapped

if TYPE_CHECKING:
    from energyaware.pytest_plugin.session import EnergySession


def near(path: Path) -> Path:
    """A path as one who stands here would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def summarize(reporter: pytest.TerminalReporter, session: EnergySession, run: Run, grams: Grams) -> None:
    """Write every section that this verbosity has."""
    Summary(reporter, session).write(run, grams)


class Summary:
    """Writes the sections, each as wide as the terminal."""

    def __init__(self, reporter: pytest.TerminalReporter, session: EnergySession) -> None:
        self._reporter = reporter
        self._session = session
        self._settings = session.settings
        self._width = reporter._tw.fullwidth
        self._table_width = None if reporter.verbosity > 0 else self._width
        self._notes = reporter.verbosity >= 0
        self._tables = reporter.verbosity >= -1

    def write(self, run: Run, grams: Grams) -> None:
        """Write them."""
        if self._tables:
            self._rankings(run, grams)
            self._sections(run)
        if self._settings.compare is not None:
            self._verdicts()
        self._end(run)

    def _lines(self, text: str, **style: bool) -> None:
        for line in wrapped(text, self._width):
            self._reporter.write_line(line, **style)

    def _rankings(self, run: Run, grams: Grams) -> None:
        names, sort = self._settings.columns, self._settings.sort
        for ranking in self._session.rankings:
            self._reporter.section(f"energy ranking{f': {plain(ranking.group)}' if ranking.group else ''}")
            self._reporter.write_line(ranking_table(ranking, grams, names=names, sort=sort, width=self._table_width))
            for remark in remarks(ranking):
                self._lines(remark, yellow=True)
            for note in ranking_notes(ranking, run.totals) if self._notes else ():
                self._lines(note)

    def _sections(self, run: Run) -> None:
        clocks = clock_lines(run.benchmarks)
        if clocks:
            self._reporter.section("clocks and power caps")
            for line in clocks:
                self._lines(line)
        for section in self._session.sections:
            self._reporter.section(section.title)
            if section.table is not None:
                self._reporter.write_line(section.table(TERMINAL, self._table_width))
            if self._notes or section.table is None:
                for line in section.lines:
                    self._lines(line)

    def _verdicts(self) -> None:
        judgements = self._session.judgements
        if self._tables:
            self._reporter.section("energy verdicts")
            self._baseline()
            self._reporter.write_line(gate_table(judgements, width=self._table_width))
        if self._notes:
            for item in judgements:
                if item.reason:
                    self._lines(f"{item.row} {item.limit}: {item.verdict}, {item.reason}")
        bad = failing(judgements, self._settings.strict)
        if bad:
            named = dict.fromkeys(f"{item.fullname} ({item.limit} {item.verdict})" for item in bad)
            self._lines(f"FAILED: {', '.join(named)}", red=True, bold=True)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in github_errors(bad):
                self._reporter.write_line(line)

    def _baseline(self) -> None:
        baseline = self._session.baseline
        if baseline is None:
            asked = self._settings.compare
            self._lines(
                "no baseline: no complete run of a clean tree of an ancestor of HEAD is stored; this run can become one"
                if asked == NEWEST_ANCESTOR
                else f"no baseline {asked}"
            )
            return
        state = " from a dirty tree" if baseline.run.dirty else ""
        self._lines(f"baseline: {near(Path(baseline.run.path))}{state} ({baseline.chosen})")
        for problem in baseline.skipped:
            self._lines(f"skipped: {problem}", yellow=True)

    def _end(self, run: Run) -> None:
        if self._tables:
            self._reporter.section("energy of this run")
            self._lines(totals_line(run.totals))
        if run.interrupted:
            finished = sum(item.outcome == "passed" for item in run.benchmarks)
            self._lines(
                f"interrupted: stored as incomplete, so no default baseline (finished benchmarks: {finished})"
                if finished
                else "interrupted: no benchmark had finished, so no run is stored"
            )
        if self._session.written and self._tables:
            self._lines("report: " + ", ".join(str(near(path)) for path in self._session.written))
        if self._session.report_problem:
            self._lines(self._session.report_problem, red=True)
