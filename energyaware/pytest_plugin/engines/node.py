"""What runs on a node: one benchmark, in a process of its own, where the suite's files were unpacked."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from energyaware import __version__
from energyaware.branches.janitor import Janitor
from energyaware.dvfs.state import state_dir
from energyaware.dvfs.sweep import recover
from energyaware.errors import EnergyAwareError, IsolatedError
from energyaware.pytest_plugin.processes import Order, ask, starting

_MORE_ARGUMENTS = "PYTEST_ADDOPTS"

# What a node takes from where pytest was started. Ray sets the first where nobody has, and a row would have one thread.
FORWARDED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", _MORE_ARGUMENTS)


@dataclass(frozen=True)
class Task:
    """One benchmark for any node.

    Attributes:
        version: of energyaware, where pytest was started.
        arguments: of pytest there.
        root: pytest's root folder there, as it stands in the arguments.
        folder: where pytest was started, relative to its root.
        safe: as in `Order`.
        environment: the variables of `FORWARDED`; None where one is not set.
    """

    version: str
    nodeid: str
    arguments: tuple[str, ...]
    root: str
    folder: str
    safe: bool
    environment: Mapping[str, str | None]


def carry_out(task: Task, root: Path) -> Mapping[str, Any]:
    """Measure a benchmark on this machine, and return the message of its process.

    Args:
        root: pytest's root folder on this machine.
    """
    if task.version != __version__:
        return _unusable(f"it has energyaware {__version__}, and pytest was started with {task.version}")
    try:
        # A clock or cap that a killed sweep left would pass for the machine's own.
        recover(state_dir())
    except EnergyAwareError as error:
        return _unusable(str(error))
    try:
        with starting(), Janitor() as janitor:
            return ask(_order(task, root), janitor)
    except IsolatedError as error:
        return {"kind": "finished", "outcome": "failed", "error": error.cause, "text": error.remedy}


def translated(argument: str, there: str, here: str) -> str:
    """An argument of pytest with its root folder's path replaced, where that is a whole path or the begin of one.

    `--energy-data=/suite/rows.csv` lies in `/suite`; `/suite-2/rows.csv` and `/old/suite/rows.csv` do not.
    """
    begins = r"(^|[=:,\s\"']|^-[a-zA-Z])"
    return re.sub(rf"{begins}{re.escape(there)}(?![^/:,\s\"'])", lambda match: match[1] + here, argument)


def _unusable(error: str) -> Mapping[str, Any]:
    return {"kind": "unusable", "error": error}


def _order(task: Task, root: Path) -> Order:
    environment = {name: value for name, value in os.environ.items() if name not in FORWARDED}
    environment |= {name: value for name, value in task.environment.items() if value is not None}
    if _MORE_ARGUMENTS in environment:
        more = shlex.split(environment[_MORE_ARGUMENTS])  # as pytest does
        environment[_MORE_ARGUMENTS] = shlex.join(translated(argument, task.root, str(root)) for argument in more)
    arguments = [translated(argument, task.root, str(root)) for argument in task.arguments]
    return Order(
        nodeid=task.nodeid,
        # Without a pytest.ini its root would be what the arguments have in common, and ids would be others.
        arguments=[f"--rootdir={root}", *arguments],
        folder=root / PurePosixPath(task.folder),
        safe=task.safe,
        idle_w=None,
        environment=environment,
    )
