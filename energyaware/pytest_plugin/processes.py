"""One benchmark in a process of its own: start it, hear what it measured, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energyaware.branches.channel import Channel
from energyaware.branches.checkout import tail
from energyaware.branches.janitor import Janitor
from energyaware.dvfs.state import state_dir
from energyaware.dvfs.sweep import recover
from energyaware.errors import ChannelClosedError, EnergyAwareError, IsolatedError

# How long a process may take to end after it has handed over its benchmark.
_END_S = 30.0
_CRASH_LINES = 20


@dataclass(frozen=True)
class Order:
    """One benchmark to measure.

    Attributes:
        arguments: of pytest.
        folder: to start it in.
        safe: whether that folder stays out of `sys.path`.
        idle_w: what the machine draws when idle, per domain; None: nobody has measured here, so the process learns it
            where it needs it, and says what it has spent.
        environment: of the process; None: ours.
    """

    nodeid: str
    arguments: Sequence[str]
    folder: Path
    safe: bool
    idle_w: Mapping[str, float] | None
    environment: Mapping[str, str] | None = None


def is_safe(folder: Path) -> bool:
    """Whether this process was started so that the folder stays out of `sys.path`: by `pytest`, not `python -m`."""
    return not ("" in sys.path or str(folder) in sys.path)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Say it of the benchmark where the system cannot start a process.

    Raises:
        IsolatedError: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise IsolatedError(
            f"no process can be started for it ({error.strerror or error})",
            "free memory, processes, open files or room for temporary files",
        ) from error


def ask(order: Order, janitor: Janitor) -> Mapping[str, Any]:
    """The one message of a process that measures one benchmark.

    Raises:
        IsolatedError: it died before it had said anything.
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as output, contextlib.closing(Channel(ours)) as channel:
        with theirs:
            process = subprocess.Popen(
                _command(order, theirs.fileno()),
                cwd=order.folder,
                env=order.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                # A group of its own, so that what it starts can be killed with it, and Ctrl-C reaches only us.
                start_new_session=True,
            )
        janitor.kill_at_end(process.pid)
        try:
            said = _said(channel, order)
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


def _command(order: Order, descriptor: int) -> list[str]:
    """The same command once more. Our option goes first: what follows `--` would be a path."""
    safe = ("-P",) if order.safe else ()
    return [sys.executable, *safe, "-m", "pytest", f"--energy-isolated={descriptor}", *order.arguments]


def _said(channel: Channel, order: Order) -> Mapping[str, Any] | None:
    """What a process says about its benchmark; None where it ends before it has said anything."""
    try:
        channel.send("measure", id=order.nodeid, idle_w=None if order.idle_w is None else dict(order.idle_w))
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
