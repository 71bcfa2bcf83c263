"""What the coordinator and a worker say to each other: one JSON object per line over a socket pair.

A worker runs only between a message from the coordinator and its own answer, and sleeps in `receive` otherwise, so at
any time exactly one worker runs. Whoever finds the other end closed stops.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from energyaware.errors import ChannelClosedError, MessageTooLargeError

PROTOCOL = 2
"""Raised whenever the messages change."""

# Rounds and scores of a benchmark take a few megabytes; a line without an end must not fill the memory.
_MOST_BYTES = 64 << 20


class Channel:
    """One end of the line."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lines = end.makefile("rb")

    @classmethod
    def inherited(cls, descriptor: int) -> Channel:
        """The end that the parent process left open for this one; children of this process will not have it.

        Raises:
            ChannelClosedError: there is no such end.
        """
        try:
            os.set_inheritable(descriptor, False)
            return cls(socket.socket(fileno=descriptor))
        except OSError as error:
            raise ChannelClosedError(
                f"no coordinator holds descriptor {descriptor}",
                "--energy-turns is for `energyaware compare`, which starts pytest itself",
            ) from error

    def send(self, kind: str, **content: Any) -> None:
        """Say something.

        Raises:
            ChannelClosedError: nobody listens.
            MessageTooLargeError: it would not be read; nothing is sent.
        """
        line = json.dumps({"kind": kind, **content}).encode() + b"\n"
        if len(line) > _MOST_BYTES:
            raise MessageTooLargeError(
                f"what was measured takes {len(line) / 1e6:.0f} MB, and a process can hand over "
                f"{_MOST_BYTES / 1e6:.0f} MB at most",
                "measure fewer rounds, or score fewer examples (--energy-data with fewer rows)",
            )
        try:
            self._end.sendall(line)
        except OSError as error:
            raise _closed() from error

    def receive(self) -> Mapping[str, Any]:
        """Sleep until the other end says something.

        Raises:
            ChannelClosedError: it will not.
        """
        try:
            line = self._lines.readline(_MOST_BYTES)
            message = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
            raise _closed()
        return message

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._end.close()


def _closed() -> ChannelClosedError:
    return ChannelClosedError("the process at the other end is gone", "see what it printed last")
