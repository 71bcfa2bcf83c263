"""What an engine asks of a cluster, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from energyaware.pytest_plugin.engines.node import Task

METER = "energyaware_meter"
"""The resource of which a node that measures has 1, so that it measures one benchmark at a time."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        name: for people.
        meters: how many benchmarks it measures at a time.
    """

    name: str
    meters: float
    gpus: float


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Attributes:
        message: of the process that measured; None where there is none.
        node: where it ran, for people; empty where nobody knows.
        lost: why there is no message, where the task can be given to another node.
        failed: why there is no message, where that would not help.
    """

    nodeid: str
    message: Mapping[str, Any] | None = None
    node: str = ""
    lost: str = ""
    failed: str = ""


class Cluster(Protocol):
    """A cluster that runs tasks, one at a time where a meter is."""

    def connect(self, root: Path) -> None:
        """Reach it, and hand out the files under `root`.

        Raises:
            ClusterError: it cannot be reached, or does not take the files.
        """
        ...

    def nodes(self) -> Sequence[Node]:
        """Those that live."""
        ...

    def submit(self, task: Task, gpus: int) -> None:
        """Have a node with a meter, and with so many GPUs, carry it out some time."""
        ...

    def ended(self, timeout_s: float) -> Sequence[Ended]:
        """Tasks that ended since the last call; waits for one, but no longer than `timeout_s`."""
        ...

    def cancel(self) -> None:
        """End all tasks."""
        ...

    def close(self) -> None:
        """Leave it."""
        ...
