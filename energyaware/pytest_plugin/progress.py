"""What is seen of long work although pytest captures output: bars of preparations, a line about the rounds."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

# A log file gets a line now and then instead of a moving bar.
_LOG_INTERVAL_S = 10.0
_INTERVAL_S = 0.2


class TerminalProgress:
    """A `Progress` that draws one tqdm bar at a time on the real standard error."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._bar: Any = None
        self._label = ""

    def __call__(self, label: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar of `label` to `done`; it closes when done."""
        from tqdm import tqdm

        with uncaptured(self._config):
            if self._bar is not None and (label != self._label or self._bar.total != total):
                self.close()
            if self._bar is None:
                tty = sys.stderr.isatty()
                self._label = label
                self._begin_line()
                self._bar = tqdm(
                    total=total,
                    desc=label,
                    file=sys.stderr,
                    initial=0,
                    leave=True,
                    mininterval=_INTERVAL_S if tty else _LOG_INTERVAL_S,
                    ascii=not tty,
                    dynamic_ncols=tty,
                    ncols=None if tty else 78,
                )
            if detail:
                self._bar.set_postfix_str(detail, refresh=False)
            self._bar.update(done - self._bar.n)
            if done >= total:
                self.close()

    def _begin_line(self) -> None:
        """A bar begins where its line does, and would hide the name of the file that pytest has written there."""
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.flush()

    def close(self) -> None:
        """End the bar under way, if any."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class RunLine:
    """One line below pytest's own, on a terminal: which benchmark, which round, and how long all of it still takes.

    Registered as a plugin, so its methods are hooks. It is written between rounds and is gone before pytest writes.
    """

    def __init__(
        self, config: pytest.Config, reporter: pytest.TerminalReporter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._writer = reporter._tw
        self._clock = clock
        self._waiting: dict[str, None] = {}
        self._total = 0
        self._seconds: list[float] = []
        self._begun_s = 0.0
        self._measured = False
        self._shown_s: float | None = None

    def expect(self, nodeids: list[str]) -> None:
        """Take what is going to be measured."""
        self._waiting = dict.fromkeys(nodeids)
        self._total = len(self._waiting)

    def pytest_runtest_logstart(self) -> None:
        """A test begins."""
        self._begun_s = self._clock()
        self._measured = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        """Make room for what pytest writes."""
        self.clear()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test ended: those that are left will take about as long as those that were measured."""
        if nodeid in self._waiting:
            del self._waiting[nodeid]
            if self._measured:
                self._seconds.append(self._clock() - self._begun_s)

    def counting(self, after: Callable[[], None], rounds: int) -> Callable[[], None]:
        """`after` of a benchmark's `rounds` rounds, which then tells how far they are."""
        begun_s, done = self._clock(), 0
        self._measured = True

        def told() -> None:
            nonlocal done
            after()
            done += 1
            if done <= rounds and (self._shown_s is None or self._clock() - self._shown_s >= _INTERVAL_S):
                self._show(self.text(done, rounds, self._clock() - begun_s))

        return told

    def text(self, done: int, rounds: int, elapsed_s: float) -> str:
        """What the line says after `done` rounds of a benchmark, which took `elapsed_s`."""
        per_round_s = elapsed_s / done
        # Training falls into the first benchmarks; the median does not see it.
        typical_s = statistics.median(self._seconds) if self._seconds else per_round_s * rounds
        left_s = per_round_s * (rounds - done) + typical_s * max(len(self._waiting) - 1, 0)
        number = self._total - len(self._waiting) + 1
        return f"benchmark {number} of {self._total}, round {done} of {rounds}, about {spoken(left_s)} left"

    def _show(self, text: str) -> None:
        self._shown_s = self._clock()
        writer = self._writer
        column = writer.width_of_current_line % writer.fullwidth
        back = f"\x1b[{column}C" if column else ""
        # A line down, which scrolls where there is none; then up again to where pytest goes on.
        self._write(f"\n\x1b[2K{text[: writer.fullwidth - 1]}\x1b[1A\r{back}")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown_s is not None:
            self._shown_s = None
            self._write("\x1b[J")

    def _write(self, text: str) -> None:
        with uncaptured(self._config):
            # `write` would move the column in which pytest goes on, and older pytest has no `write_raw`.
            self._writer._file.write(text)
            self._writer.flush()


def open_run_line(config: pytest.Config) -> RunLine | None:
    """A line about the rounds where somebody watches: on a terminal, not with `-q`, nor with `-s`, as tests then write
    wherever they like.
    """
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or config.getoption("verbose") < 0 or config.getoption("capture") == "no":
        return None
    return RunLine(config, reporter) if reporter.isatty else None


def uncaptured(config: pytest.Config) -> contextlib.AbstractContextManager[object]:
    """Within it, what is written reaches the terminal."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[object] = capture.global_and_fixture_disabled()
    return context


def spoken(duration_s: float) -> str:
    """A duration as people say it."""
    if duration_s < 90:
        return f"{duration_s:.0f} s"
    minutes = duration_s / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
