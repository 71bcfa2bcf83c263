"""Progress is seen although pytest captures output."""

import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from energyaware.pytest_plugin.progress import RunLine, spoken


def test_a_bar_is_drawn_under_capture(suite):
    suite.makepyfile(
        test_suite="""
        def test_training(energy_progress):
            for step in range(1, 4):
                energy_progress("training mini", step, 3, f"loss {step}")
        """
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stderr.fnmatch_lines(["*training mini: 100%*3/3*loss 3*"])
    # The bar has a line of its own.
    result.stdout.fnmatch_lines(["test_suite.py ", ". *"])


def test_quiet_draws_none(suite):
    suite.makepyfile(
        test_suite="""
        def test_training(energy_progress):
            energy_progress("training mini", 1, 1)
        """
    )
    result = suite.runpytest_subprocess("-q")
    result.assert_outcomes(passed=1)
    assert "training mini" not in result.stderr.str() + result.stdout.str()


class Writer:
    """Of a terminal of 40 columns on which pytest has written 12."""

    width_of_current_line = 12
    fullwidth = 40

    def __init__(self):
        self.written, self.flushed = [], 0

    @property
    def _file(self):
        return SimpleNamespace(write=self.written.append)

    def flush(self):
        self.flushed = len(self.written)


@pytest.fixture
def line():
    """A line whose clock goes by a second each time it is read, for three benchmarks."""
    config = SimpleNamespace(pluginmanager=SimpleNamespace(getplugin=lambda name: None))
    clock = iter(range(1000))
    line = RunLine(config, SimpleNamespace(_tw=Writer()), lambda: next(clock))
    line.expect(["a", "b", "c"])
    return line


def test_the_line_stands_below_and_pytest_goes_on_where_it_was(line):
    line.pytest_runtest_logstart()
    line.counting(lambda: None, 4)()
    (shown,) = line._writer.written
    assert re.fullmatch(r"\n\x1b\[2K(.*)\x1b\[1A\r\x1b\[12C", shown)[1].startswith("benchmark 1 of 3, round 1 of 4")
    assert len(re.search(r"2K(.*)\x1b\[1A", shown)[1]) <= 39
    line.pytest_runtest_logreport()
    line.pytest_runtest_logreport()
    assert line._writer.written[1:] == ["\x1b[J"]
    assert line._writer.flushed == 2


def test_time_left_is_that_of_the_rounds_and_of_what_waits(line):
    # Two rounds of ten took 6 s: 24 s are left of this one, and the two others are taken to last as long as it.
    assert line.text(2, 10, 6.0) == "benchmark 1 of 3, round 2 of 10, about 84 s left"
    line.pytest_runtest_logstart()
    line.counting(lambda: None, 2)
    line.pytest_runtest_logfinish("a")  # the clock says 2 s
    assert line.text(2, 10, 6.0) == "benchmark 2 of 3, round 2 of 10, about 26 s left"
    line.pytest_runtest_logstart()
    line.pytest_runtest_logfinish("b")  # skipped: it says nothing about the others
    assert line.text(10, 10, 6.0) == "benchmark 3 of 3, round 10 of 10, about 0 s left"


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (100, "2 min"), (5000, "83 min"), (9000, "2.5 h")])
def test_durations_are_spoken(seconds, text):
    assert spoken(seconds) == text


def on_a_terminal(folder, *arguments):
    """What pytest writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--energy",
        "--energy-meter=steady",
        *arguments,
    ]
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_COLOR", "_COLORS"))}
    process = subprocess.Popen(
        [*command, "--energy-rounds=3"], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**kept, "COLUMNS": "80", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return text.decode()


def test_rounds_are_told_on_a_terminal_and_not_with_q(suite):
    shown = on_a_terminal(suite.path)
    assert re.search(r"benchmark 1 of 1, round \d of 3, about \d+ s left\x1b\[1A", shown)
    assert "\x1b[32m" in shown  # colours
    assert "round 1 of 3" not in on_a_terminal(suite.path, "-q")


def test_neither_colours_nor_rounds_are_in_a_file(measure):
    result = measure()
    assert "\x1b" not in result.stdout.str() + result.stderr.str()
    assert "benchmark 1 of 1" not in result.stdout.str() + result.stderr.str()
