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

from energyaware.branches.chance import at_fixed_addresses
from energyaware.branches.channel import Channel
from energyaware.branches.checkout import Checkout, tail
from energyaware.branches.janitor import Janitor
from energyaware.errors import ChannelClosedError, WorkerError

_END_S = 30.0


class Worker:
    """Starts pytest in a checkout and speaks with it. It sleeps whenever it is not asked something.

    Args:
        python: interpreter with energyaware and what the benchmarks need.
        environment: its variables.
        arguments: for pytest.
        folder: working folder inside the checkout.
        output: file for what it prints.
        janitor: kills it, with all that it started, if we cannot.

    Attributes:
        place: where it is, for messages.
    """

    def __init__(
        self,
        checkout: Checkout,
        python: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        folder: Path,
        output: Path,
        janitor: Janitor,
    ) -> None:
        self.checkout = checkout
        self._output = output
        self._janitor = janitor
        self.place = "its start"
        ours, theirs = socket.socketpair()
        options = [
            # -P: the folder we are in is not imported from, as with plain `pytest`.
            *("-P", "-m", "pytest", "--energy", f"--energy-turns={theirs.fileno()}"),
            *(f"--rootdir={checkout.root}", "-p", "no:cacheprovider", "--continue-on-collection-errors"),
            *arguments,
        ]
        with output.open("wb") as log:
            self._process = subprocess.Popen(
                at_fixed_addresses(python, options),
                cwd=folder,
                env=environment,
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

    def ask(self, kind: str, *answers: str, **content: Any) -> Mapping[str, Any]:
        """Let it run until it says something again.

        Args:
            answers: kinds of message that may come back.

        Raises:
            WorkerError: it ended instead, or cannot measure here.
        """
        try:
            self._channel.send(kind, **content)
        except ChannelClosedError:
            raise self.failure() from None
        return self.hear(*answers)

    def hear(self, *answers: str) -> Mapping[str, Any]:
        """Wait until it says something, after its start.

        Raises:
            WorkerError: it ended instead, or cannot measure here.
        """
        try:
            message = self._channel.receive()
        except ChannelClosedError:
            raise self.failure() from None
        if message["kind"] == "unusable":
            raise WorkerError(f"{self.checkout.name} cannot be measured", message["error"])
        if message["kind"] not in answers:
            raise self.failure()
        return message

    def failure(self) -> WorkerError:
        """Why it does not go on, with what it printed; waits for its end."""
        self._channel.close()
        try:
            status: int | None = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            status = None
        if status is None:
            how = "hung up"
        elif status < 0:
            how = f"was killed by signal {-status}"
            how += " (was memory short?)" if -status == signal.SIGKILL else ""
        else:
            how = f"ended with exit status {status}"
        printed = tail(self._output.read_text(encoding="utf-8", errors="replace")) or "    nothing"
        return WorkerError(f"pytest on {self.checkout.name} {how} at {self.place}", f"It printed last:\n{printed}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        # After an error nobody waits for what it still wants to do.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S if error is None else 0)
        # The group is killed also where pytest itself has ended: what it started must not run beside later rounds.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._janitor.ended(self._process.pid)
