"""The tasks there are, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from energyaware.errors import TaskError
from energyaware.tasks.base import Task
from energyaware.tasks.choice import Choice
from energyaware.tasks.generation import Generation
from energyaware.tasks.qa import Qa
from energyaware.tasks.rca import Rca
from energyaware.tasks.response import Response
from energyaware.tasks.summarization import Summarization

_MEMBERS = ("name", "metric", "decoding", "prompt", "answer", "score")

_OWN: tuple[Task, ...] = (Rca(), Response(), Generation(), Qa(), Summarization(), Choice())

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _OWN})
"""The project's own tasks. `rca` must be fitted to its dataset, see `energyaware.tasks.base.fit_task`."""


def all_tasks(extra: Iterable[Mapping[str, Task]] = ()) -> Mapping[str, Task]:
    """The project's own tasks and those of plugins.

    Args:
        extra: what the hook `pytest_energy_tasks` returned.

    Raises:
        TaskError: a name given twice or under another key, or a task that lacks a member.
    """
    found = dict(TASKS)
    for offered in extra:
        for name, task in offered.items():
            absent = [member for member in _MEMBERS if not hasattr(task, member)]
            if absent:
                raise TaskError(f"the task {name!r} lacks {', '.join(absent)}", "see docs/own_task.md")
            if name != task.name:
                raise TaskError(f"the task {task.name!r} is offered as {name!r}", "use its name as the key")
            if name in found:
                raise TaskError(f"there are two tasks named {name!r}", "rename yours")
            found[name] = task
    return found


def find_task(name: str, extra: Iterable[Mapping[str, Task]] = ()) -> Task:
    """The task of that name.

    Args:
        extra: what the hook `pytest_energy_tasks` returned.

    Raises:
        TaskError: there is none, or `extra` holds what `all_tasks` refuses.
    """
    tasks = all_tasks(extra)
    if name not in tasks:
        close = difflib.get_close_matches(name, tasks, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise TaskError(f"unknown task {name!r}", f"{hint}Known: {', '.join(tasks)}")
    return tasks[name]
