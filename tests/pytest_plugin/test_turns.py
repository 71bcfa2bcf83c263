"""A worker of `energyaware compare`, asked by hand."""

import socket
import subprocess
import sys

import pytest

from energyaware.baselines.codec import from_json
from energyaware.branches.channel import PROTOCOL, Channel
from energyaware.errors import ChannelClosedError
from energyaware.records import Benchmark

TWO = """
import pytest

@pytest.mark.energy(fail="energy:3%")
def test_first(energy):
    energy(sum, range(1000))

def test_second(energy):
    energy(sum, range(1000))

def test_other():
    raise AssertionError("it is no energy benchmark")
"""


@pytest.fixture
def worker(suite):
    """A running worker and our end of its line."""
    started = []

    def start(*arguments):
        ours, theirs = socket.socketpair()
        options = ["--energy", "--energy-meter=steady", f"--energy-turns={theirs.fileno()}"]
        process = suite.popen(
            [sys.executable, "-m", "pytest", *options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        started.append((process, Channel(ours)))
        return started[-1]

    yield start
    for process, channel in started:
        channel.close()
        process.communicate(timeout=300)


def asked(channel, kind, **content):
    channel.send(kind, **content)
    return channel.receive()


def test_a_whole_conversation(worker, suite):
    suite.makepyfile(test_suite=TWO)
    process, channel = worker("--energy-fail=latency:9%")
    found = channel.receive()
    assert (found["kind"], found["protocol"], found["broken"]) == ("collected", PROTOCOL, {})
    assert found["ids"] == ["test_suite.py::test_first", "test_suite.py::test_second"]
    assert found["limits"] == {"test_suite.py::test_first": ["energy:3%"], "test_suite.py::test_second": None}
    assert found["defaults"] == ["latency:9%"]
    assert found["machine"]["cores"]
    # In the order asked for, and nothing else runs.
    arrived = asked(channel, "run", ids=["test_suite.py::test_second"])
    assert (arrived["kind"], arrived["id"]) == ("arrived", "test_suite.py::test_second")
    assert arrived["calls"] > 1
    assert asked(channel, "calls", calls=7) == {"kind": "ready"}
    for _ in range(3):
        assert asked(channel, "round", core=0.5) == {"kind": "round", "valid": True}
    finished = asked(channel, "stop")
    assert (finished["kind"], finished["id"], finished["error"]) == ("finished", arrived["id"], None)
    benchmark = from_json(finished["benchmark"], Benchmark, "")
    assert [entry.calls for entry in benchmark.rounds] == [7, 7, 7]
    assert benchmark.candle == ""
    done = asked(channel, "next")
    assert done["kind"] == "done"
    assert done["imported"]["pytest"] == pytest.__file__
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert not list(suite.path.rglob("*.json"))  # nothing is stored


def test_the_order_is_the_one_asked_for(worker, suite):
    suite.makepyfile(test_suite=TWO)
    _, channel = worker()
    ids = channel.receive()["ids"]
    assert asked(channel, "run", ids=ids[::-1])["id"] == ids[1]
    assert asked(channel, "skip", reason="the other side did not run it")["error"].startswith("Skipped: the other side")
    assert asked(channel, "next")["id"] == ids[0]


def test_what_cannot_be_collected_is_told_with_its_reason(worker, suite):
    suite.makepyfile(
        test_broken="import nowhere_to_be_found", test_skipped="import pytest\npytest.importorskip('nope_x')"
    )
    _, channel = worker("--continue-on-collection-errors")
    found = channel.receive()
    assert found["ids"] == ["test_suite.py::test_mine"]
    assert found["broken"]["test_broken.py"] == "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert "nope_x" in found["broken"]["test_skipped.py"]


def test_an_error_in_the_workload_ends_the_turns(worker, suite):
    suite.makepyfile(test_suite="def test_mine(energy):\n    energy.pedantic(lambda: 1 / 0, setup=lambda: None)")
    _, channel = worker()
    found = asked(channel, "run", ids=channel.receive()["ids"])
    assert found["kind"] == "finished"
    assert found["error"] == "ZeroDivisionError: division by zero"
    assert found["benchmark"] is None


def test_it_ends_when_the_coordinator_is_gone(worker):
    process, channel = worker()
    channel.receive()
    channel.close()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert b"energyaware compare has ended" in output


def test_a_meter_that_is_not_there_is_told_before_anything_runs(worker):
    process, channel = worker("--energy-meter=nowhere")
    message = channel.receive()
    assert message["kind"] == "unusable"
    assert "no meter is called 'nowhere'" in message["error"]
    with pytest.raises(ChannelClosedError):
        channel.receive()
    process.communicate(timeout=300)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR


def test_nobody_else_can_use_the_option(suite, libraries):
    result = suite.runpytest_subprocess("--energy", "--energy-turns=57")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no coordinator holds descriptor 57*energyaware compare*"])
    help_text = suite.runpytest_subprocess("--help").stdout.str()
    assert "--energy-turns" not in help_text
