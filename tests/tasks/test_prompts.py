"""What each task asks, word by word: trained models depend on it."""

from __future__ import annotations

import pytest

from energyaware.errors import TaskError
from energyaware.examples import Example
from energyaware.tasks.generation import Generation
from energyaware.tasks.registry import TASKS

EXAMPLE = Example("x", "alder los", "red crew", question="who goes?", options=("red crew", "blue crew"))


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("response", "alder los response:"),
        ("generation", "alder los"),
        ("qa", "alder los question: who goes? answer:"),
        ("summarization", "alder los summary:"),
        ("choice", "alder los question: who goes? answer:"),
    ],
)
def test_prompt_and_answer(name, prompt):
    assert TASKS[name].prompt(EXAMPLE) == prompt
    assert TASKS[name].answer(EXAMPLE) == " red crew"


@pytest.mark.parametrize("name", ["qa", "choice"])
def test_a_question_without_a_text(name):
    bare = Example("x", "", "red", question="who goes?", options=("red", "blue"))
    assert TASKS[name].prompt(bare) == "question: who goes? answer:"


def test_a_question_task_without_a_question():
    with pytest.raises(TaskError, match="example x has no question"):
        TASKS["qa"].prompt(Example("x", "alder", "los"))


def test_a_text_alone_is_continued_from_its_middle():
    task, example = Generation(), Example("x", "one two three  four five", "")
    assert task.prompt(example) + task.answer(example) == example.text
    assert task.prompt(example) == "one two three"
    with pytest.raises(TaskError, match="single word"):
        task.prompt(Example("x", "one", ""))
