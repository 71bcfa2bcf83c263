"""One side's pytest process of one launch, as the coordinator sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from energyaware.branches.channel import Channel, ChannelClosedError
from energyaware.branches.checkout import Checkout
from energyaware.branches.janitor import Janitor
from energyaware.errors import EnergyAwareError

_TAIL_LINES = 15
_END_S = 30.0


class WorkerError(EnergyAwareError):
    """A side's process ended before its time."""


class Worker:
    """Starts pytest in a checkout and speaks with it. It sleeps whenever it is not asked something.

    Args:
        python: interpreter with energyaware and what the benchmarks need.
        arguments: for pytest.
        folder: working folder inside the checkout.
        output: file for what it prints.
        janitor: kills it, with all that it started, if we cannot.
    """

    def __init__(
        self, checkout: Checkout, python: Path, arguments: Sequence[str], folder: Path, output: Path, janitor: Janitor
    ) -> None:
        self.checkout = checkout
        self._output = output
        self._janitor = janitor
        ours, theirs = socket.socketpair()
        command = [
            *(str(python), "-m", "pytest"),
            *("--energy", f"--energy-turns={theirs.fileno()}", f"--rootdir={checkout.root}", "-p", "no:cacheprovider"),
            *arguments,
        ]
        with output.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(checkout.root),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                # A group of its own, so that what it starts can be killed with it, and Ctrl-C reaches only us.
                start_new_session=True,
            )
        theirs.close()
        janitor.kill_at_end(self._process.pid)
        self._channel = Channel(ours)

    def ask(self, kind: str, **content: Any) -> Mapping[str, Any]:
        """Let it run until it says something again.

        Raises:
            WorkerError: it ended instead, or cannot measure here.
        """
        try:
            self._channel.send(kind, **content)
            return self.hear()
        except ChannelClosedError:
            raise self._ended() from None

    def tell(self, kind: str, **content: Any) -> None:
        """Say something that it does not answer before it is asked again.

        Raises:
            WorkerError: it has ended.
        """
        try:
            self._channel.send(kind, **content)
        except ChannelClosedError:
            raise self._ended() from None

    def hear(self) -> Mapping[str, Any]:
        """Wait until it says something, after its start.

        Raises:
            WorkerError: it ended instead, or cannot measure here.
        """
        try:
            message = self._channel.receive()
        except ChannelClosedError:
            raise self._ended() from None
        if message["kind"] == "unusable":
            raise WorkerError(f"{self.checkout.name}: {message['error']}", "The other side was not measured either")
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        try:
            # After an error nobody waits for what it still wants to do.
            self._process.wait(_END_S if error is None else 0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._janitor.ended(self._process.pid)

    def _ended(self) -> WorkerError:
        try:
            status: int | None = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            status = None
        how = (
            "hung up" if status is None else f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
        )
        lines = self._output.read_text(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        return WorkerError(
            f"pytest on {self.checkout.name} {how} in the middle of a launch",
            "finished launches are kept; see what it printed, then go on with --resume:\n" + "\n".join(lines),
        )


def _environment(root: Path) -> dict[str, str]:
    """Ours, with the checkout's code in front of whatever is installed."""
    own = [str(path) for path in (root, root / "src") if path.is_dir()]
    inherited = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([*own, *([inherited] if inherited else [])])}
