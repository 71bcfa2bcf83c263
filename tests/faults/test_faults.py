"""A part of what `python -m benchmarks.promises.faults` does in full: every so-manieth call fails once."""

import fcntl
import importlib
import os
import pathlib

import pytest

from benchmarks.promises import faults

PATCHED = {
    pathlib.Path: ("write_text", "write_bytes", "replace", "unlink", "mkdir", "touch", "open"),
    os: ("open", "write", "fsync"),
    fcntl: ("flock",),
}


@pytest.fixture(scope="session")
def libraries():
    """Load what a measured run loads before the first sandbox: one that loads it takes it away again at its end."""
    for name in faults.LIBRARIES:
        importlib.import_module(name)


@pytest.fixture
def start(libraries: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run pytest inside this process; whatever becomes of it, our own functions are whole afterwards."""
    for owner, names in PATCHED.items():
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    for name in ("PYTEST_ADDOPTS", "CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(folder, arguments, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)
        return faults.Answer(int(result.ret), result.stdout.str() + result.stderr.str())

    return run


def survived(folder, start, kind, numbers):
    for number in numbers:
        outcome = faults.inject(folder, start, kind, number)
        assert outcome.problems == (), f"{kind} {number}"
        assert outcome.lost == (), f"{kind} {number}"


# Strides that share no factor with the calls of one round, so that every sort of call is met.
@pytest.mark.parametrize(("kind", "stride"), [(faults.WRITE, 5), (faults.METER, 11), (faults.MODEL, 2)])
def test_a_call_that_fails_once_loses_nothing(pytester, start, kind, stride):
    calls = faults.prepare(pytester.path, start)
    assert len(calls[kind]) >= 2
    survived(pytester.path, start, kind, range(1, len(calls[kind]) + 1, stride))


def test_every_way_to_ask_a_meter_fails_once(pytester, start):
    calls = faults.prepare(pytester.path, start)[faults.METER]
    assert set(calls) == {"open", "start", "start on a step", "stop", "close"}
    ends = {where for name in set(calls) for where in (calls.index(name), len(calls) - 1 - calls[::-1].index(name))}
    survived(pytester.path, start, faults.METER, [where + 1 for where in sorted(ends)])


def test_a_message_that_fails_once_loses_nothing(pytester, start):
    faults.prepare(pytester.path, start)
    survived(pytester.path, start, faults.MESSAGE, (4,))  # from the second process
