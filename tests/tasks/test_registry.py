from __future__ import annotations

from dataclasses import replace

import pytest

from energyaware.errors import TaskError
from energyaware.tasks.qa import Qa
from energyaware.tasks.registry import TASKS, all_tasks, find_task


def test_the_tasks_there_are():
    assert list(TASKS) == ["rca", "response", "generation", "qa", "summarization", "choice"]
    assert all(find_task(name).name == name for name in TASKS)


def test_a_task_of_a_plugin():
    mine = replace(Qa(), name="mine")
    assert find_task("mine", [{}, {"mine": mine}]) is mine
    assert list(all_tasks([{"mine": mine}])) == [*TASKS, "mine"]


def test_an_unknown_task_with_a_hint():
    with pytest.raises(TaskError, match=r"unknown task 'sumarization'\. did you mean summarization"):
        find_task("sumarization")
    with pytest.raises(TaskError, match=r"Known: rca.*, mine"):
        find_task("nothing of the kind", [{"mine": replace(Qa(), name="mine")}])


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ([{"qa": Qa()}], "two tasks named 'qa'"),
        ([{"mine": replace(Qa(), name="mine")}, {"mine": replace(Qa(), name="mine")}], "two tasks named 'mine'"),
        ([{"mine": Qa()}], "'qa' is offered as 'mine'"),
        ([{"mine": object()}], "'mine' lacks name, metric, decoding, prompt, answer, score"),
    ],
)
def test_what_a_plugin_may_not_offer(extra, expected):
    with pytest.raises(TaskError, match=expected):
        find_task("rca", extra)
