from __future__ import annotations

import math

import pytest

from energyaware.errors import TaskError
from energyaware.examples import Dataset, Example
from energyaware.tasks.base import fit_task
from energyaware.tasks.choice import Choice
from energyaware.tasks.generation import Generation
from energyaware.tasks.qa import Qa
from energyaware.tasks.rca import Rca
from energyaware.tasks.registry import TASKS
from energyaware.tasks.summarization import Summarization
from energyaware.tasks.trivial import most_frequent, trivial_quality


def data(train, test, labels=()):
    return Dataset("toy", "0" * 64, labels, tuple(train), (), tuple(test))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_one(tokenizer, dataset, name):
    task = fit_task(TASKS[name], dataset, tokenizer)
    quality = trivial_quality(task, dataset, tokenizer)
    assert next(iter(quality)) == task.metric
    assert 0 <= quality[task.metric] < 1


def test_root_causes_by_the_majority(tokenizer):
    train = [Example(str(n), "x", label) for n, label in enumerate(("fan", "clock", "clock"))]
    test = [Example(str(n), "x", label) for n, label in enumerate(("fan", "clock", "fan", "fan"))]
    quality = trivial_quality(Rca(("clock", "fan")), data(train, test), tokenizer)
    assert quality["accuracy"] == 0.25
    # fan: F1 0; clock: precision 1/4, recall 1.
    assert quality["macro_f1"] == pytest.approx((0 + 2 * 0.25 / 1.25) / 2)


def test_questions_by_the_most_frequent_answer(tokenizer):
    train = [Example(str(n), "x", label, question="q?") for n, label in enumerate(("yes", "yes", "no"))]
    test = [Example("t", "x", "yes", question="q?"), Example("u", "x", "yes indeed", question="q?")]
    assert trivial_quality(Qa(), data(train, test), tokenizer) == {
        "token_f1": pytest.approx((1 + 2 / 3) / 2),
        "exact_match": 0.5,
    }


def test_summaries_by_the_first_sentence(tokenizer):
    train = [Example("a", "x", "y")]
    test = [Example("t", "noc: alder down. Later more! Then less", "noc: alder down.")]
    assert trivial_quality(Summarization(), data(train, test), tokenizer)["rouge_l"] == 1.0
    assert Summarization().trivial_answers(train, [Example("t", "one\ntwo", "")]) == ["one"]
    assert Summarization().trivial_answers(train, [Example("t", "version 1.2 is out. two", "")]) == [
        "version 1.2 is out."
    ]


def test_choices_by_the_place_that_is_right_most_often(tokenizer):
    def item(name, label, options):
        return Example(name, "", label, question="q?", options=options)

    train = [item("a", "2", ("1", "2", "3")), item("b", "3", ("1", "3")), item("c", "1", ("1", "2"))]
    test = [item("t", "5", ("4", "5")), item("u", "6", ("6", "7"))]
    assert trivial_quality(Choice(), data(train, test), tokenizer)["accuracy"] == 0.5


def test_continuations_by_a_unigram_model(tokenizer):
    train, test = [Example("a", "alder los", "birch ais")], [Example("t", "alder", "birch")]
    quality = trivial_quality(Generation(), data(train, test), tokenizer)
    seen = [
        token
        for text in ("alder los", " birch ais")
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    answer = tokenizer(" birch", add_special_tokens=False)["input_ids"]
    bits = sum(-math.log2((seen.count(token) + 1) / (len(seen) + len(tokenizer))) for token in answer)
    assert quality["bits_per_byte"] == pytest.approx(bits / 6)
    assert quality["bpb_score"] == pytest.approx(2 ** (-bits / 6))
    assert quality["perplexity"] == pytest.approx(2 ** (bits / len(answer)))


def test_the_first_by_alphabet_among_equals():
    assert most_frequent(["b", "a", "b", "a", "c"]) == "a"


def test_nothing_to_learn_from(tokenizer):
    with pytest.raises(TaskError, match="0 training and 1 test"):
        trivial_quality(Qa(), data([], [Example("t", "x", "y", question="q?")]), tokenizer)
