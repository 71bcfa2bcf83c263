"""pytest-benchmark's own table, narrowed to the terminal where nobody has chosen its columns."""

from __future__ import annotations

import functools
from typing import Any

import pytest

ALL = ("min", "max", "mean", "stddev", "median", "iqr", "outliers", "ops", "rounds", "iterations")
# What goes first when the terminal is narrow; the median stays.
DROP_ORDER = ("outliers", "iterations", "ops", "iqr", "max", "min", "rounds", "mean", "stddev")


class _Paper:
    """Takes what is written to a terminal and remembers how wide the tables' rules are."""

    def __init__(self) -> None:
        self.width = 0

    def write(self, text: str, **_: object) -> None:
        """Take a cell."""

    def write_line(self, text: str, **_: object) -> None:
        """Take a line; a rule under a head is as wide as its table."""
        if text and set(text) == {"-"}:
            self.width = max(self.width, len(text))


def narrow(config: pytest.Config, width: int) -> None:
    """Leave out columns of pytest-benchmark's table until it fits, and with `-q` the table.

    `--benchmark-columns` and `--benchmark-verbose` keep all that was asked for, and so does `-v`.

    Args:
        width: of the terminal, columns.
    """
    session: Any = config._benchmarksession  # type: ignore[attr-defined]
    if session.verbose:
        return
    if config.getoption("verbose") < 0:
        session.quiet = True
    elif config.getoption("verbose") == 0 and tuple(session.columns) == ALL and session.groups:
        session.columns = _fitting(session, config, width)


def _fitting(session: Any, config: pytest.Config, width: int) -> list[str]:
    from pytest_benchmark.table import TableResults
    from pytest_benchmark.utils import report_noprogress

    scale_unit = functools.partial(config.hook.pytest_benchmark_scale_unit, config=config)
    columns = list(ALL)
    # Showing a benchmark changes its name.
    groups = [(name, [dict(item) for item in items]) for name, items in session.groups]
    for name in (None, *DROP_ORDER):
        if name is not None:
            columns.remove(name)
        paper = _Paper()
        table = TableResults(
            columns=columns, sort=session.sort, histogram=None, name_format=session.name_format,
            logger=session.logger, scale_unit=scale_unit,
        )  # fmt: skip
        table.display(paper, groups, progress_reporter=report_noprogress)
        if paper.width <= width:
            break
    return columns
