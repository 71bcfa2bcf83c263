"""`--energy-isolate`: each benchmark in a process of its own, so that one that dies takes nothing with it."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from energyaware.baselines.codec import from_json
from energyaware.baselines.journal import Finished
from energyaware.branches.channel import Channel, ChannelClosedError
from energyaware.branches.checkout import tail
from energyaware.branches.janitor import Janitor
from energyaware.dvfs.state import state_dir
from energyaware.dvfs.sweep import recover
from energyaware.errors import EnergyAwareError
from energyaware.pytest_plugin.facts import properties
from energyaware.pytest_plugin.session import EnergySession

# How long a process may take to end after it has handed over its benchmark.
_END_S = 30.0
_CRASH_LINES = 20


class IsolatedError(EnergyAwareError):
    """A benchmark failed, or its process ended, in a process of its own."""


@dataclass(frozen=True)
class Said:
    """The one message of a process.

    Attributes:
        kind: `finished`, or `unusable` where nothing could be measured there.
        outcome: of the test, as pytest calls it.
        error: its first problem in one line; `text` is all of it.
        harness_j: what measuring cost beside the benchmark itself.
    """

    kind: str
    outcome: str = ""
    error: str = ""
    text: str = ""
    harness_j: float = 0.0
    finished: Finished | None = None


class Isolation:
    """Runs energy benchmarks in processes of their own; registered as a plugin, so its methods are hooks.

    The tests stay items of this session, with nothing to set up here: no fixture of theirs is made, no model loaded.
    Tests without the fixture `energy` run in this process as ever.
    """

    def __init__(self, config: pytest.Config, session: EnergySession) -> None:
        self._config = config
        self._session = session
        self._exit = contextlib.ExitStack()
        self._janitor: Janitor | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Have another process do what the energy benchmarks do."""
        if self._config.getoption("collectonly"):
            return
        for item in items:
            if "energy" in getattr(item, "fixturenames", ()) and not self._session.is_finished(item.nodeid):
                item.setup = _nothing  # type: ignore[method-assign]
                item.runtest = functools.partial(self._measure, item)  # type: ignore[method-assign]

    def pytest_unconfigure(self) -> None:
        """Nothing that was started here outlives this."""
        self._exit.close()

    def _measure(self, item: pytest.Item) -> None:
        """Run one benchmark elsewhere and take what it measured.

        Raises:
            IsolatedError: its test failed there, or its process died.
            OptionError: its marker says nothing.
        """
        self._session.settings_of(item)
        try:
            message = self._ask(item.nodeid)
        except OSError as error:
            raise IsolatedError(
                f"no process can be started for it ({error.strerror or error})",
                "free memory, processes, open files or room for temporary files",
            ) from error
        said = from_json(message, Said, f"what the process of {item.nodeid} said")
        if said.kind == "unusable":
            raise IsolatedError(said.error, "Run it without --energy-isolate to see more")
        if said.outcome == "skipped":
            pytest.skip(said.error.removeprefix("Skipped: "))
        if said.outcome != "passed":
            raise IsolatedError(said.error, f"It ran in a process of its own:\n{said.text}")
        if said.finished is None:  # energy(...) was not called
            return
        self._session.take(said.finished, said.harness_j)
        item.user_properties += properties(said.finished.benchmark)

    def _ask(self, nodeid: str) -> Mapping[str, Any]:
        """The one message of a process for one benchmark."""
        if self._janitor is None:
            self._janitor = self._exit.enter_context(Janitor())
        janitor = self._janitor
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as output, contextlib.closing(Channel(ours)) as channel:
            with theirs:
                process = subprocess.Popen(
                    self._command(theirs.fileno()),
                    cwd=self._config.invocation_params.dir,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    # A group of its own, so that what it starts can be killed with it, and Ctrl-C reaches only us.
                    start_new_session=True,
                )
            janitor.kill_at_end(process.pid)
            try:
                said = _said(channel, nodeid, self._session.idle_w)
                channel.close()  # it may still wait for us
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_S)
                if said is None:
                    output.seek(0)
                    printed = _printed(output.read().decode(errors="replace"))
                    raise IsolatedError(_how(process.returncode), f"{_put_back()}It printed:\n{printed}")
                return said
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                janitor.ended(process.pid)

    def _command(self, descriptor: int) -> list[str]:
        """The same command once more. Our option goes first: what follows `--` would be a path."""
        given = self._config.invocation_params
        # As this process was started: `python -m pytest` imports from the folder it is in, plain `pytest` does not.
        safe = () if "" in sys.path or str(given.dir) in sys.path else ("-P",)
        arguments = [os.fspath(argument) for argument in given.args]
        return [sys.executable, *safe, "-m", "pytest", f"--energy-isolated={descriptor}", *arguments]


def _said(channel: Channel, nodeid: str, idle_w: Mapping[str, float]) -> Mapping[str, Any] | None:
    """What a process says about its benchmark; None where it ends before it has said anything."""
    try:
        channel.send("measure", id=nodeid, idle_w=dict(idle_w))
        return channel.receive()
    except ChannelClosedError:
        return None


def _printed(text: str) -> str:
    """What tells most of what a process printed: where it crashed, else the end."""
    crash = text.rfind("Fatal Python error")
    if crash >= 0:  # the innermost calls come first
        return "\n".join(f"    {line[:300]}" for line in text[crash:].splitlines()[:_CRASH_LINES])
    return tail(text) or "    nothing"


def _how(status: int | None) -> str:
    """How a process ended that should not have."""
    if status is None:
        return "its process hung up and was killed"
    if status >= 0:
        return f"its process ended with exit status {status} before the benchmark had"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"its process was killed by {name}" + (" (was memory short?)" if name == "SIGKILL" else "")


def _put_back() -> str:
    """Put back a clock or cap that the process may have changed; what was done, for people."""
    try:
        done = recover(state_dir())
    except EnergyAwareError as error:
        return f"{error}. "
    return f"{done}. " if done else ""


def _nothing() -> None:
    """Its fixtures are made in another process."""
