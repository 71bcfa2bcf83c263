from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import pytest

from energyaware.errors import TaskError
from energyaware.examples import Example
from energyaware.tasks.base import Chosen, Written
from energyaware.tasks.evaluation import Answers, evaluate, likelihood_scores, score_answers
from energyaware.tasks.likelihood import AnswerLikelihood
from energyaware.tasks.rca import Rca
from energyaware.tasks.registry import TASKS


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_is_scored_per_example_whatever_the_batch(model, tokenizer, dataset, find_short, name):
    task = find_short(name)
    examples = dataset.test[:5]
    found = [evaluate(model, tokenizer, task, examples, size) for size in (1, 4)]
    for scores in found:
        assert next(iter(scores.quality)) == task.metric
        assert scores.example_ids == tuple(example.id for example in examples)
        assert all(len(values) == 5 for values in scores.per_example.values())
        assert all(0 <= value <= 1 for value in scores.per_example[task.metric])
        assert scores.quality[task.metric] == pytest.approx(sum(scores.per_example[task.metric]) / 5)
        assert all(map(math.isfinite, scores.quality.values()))
    assert found[0].answers == found[1].answers
    assert found[0].quality == pytest.approx(found[1].quality, rel=1e-3)


METRICS = {
    "rca": {"accuracy", "macro_f1", "nll"},
    "response": {"rouge_l", "token_f1"},
    "generation": {"bpb_score", "bits_per_byte", "perplexity", "distinct_1", "distinct_2"},
    "qa": {"token_f1", "exact_match"},
    "summarization": {"rouge_l", "rouge_1", "rouge_2"},
    "choice": {"accuracy", "bits_per_byte", "nll"},
}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_metrics_of_each_task(model, tokenizer, dataset, find_short, name):
    task = find_short(name)
    assert set(evaluate(model, tokenizer, task, dataset.test[:2]).quality) == METRICS[name]


@pytest.mark.parametrize("name", ["response", "qa", "summarization", "choice"])
def test_a_perfect_answer_scores_one_and_a_wrong_one_nothing(examples, name):
    task = TASKS[name]
    perfect = Answers([task.answer(example).strip() for example in examples])
    assert set(score_answers(task, examples, perfect).quality.values()) <= {1.0, 0.0}
    assert score_answers(task, examples, perfect).quality[task.metric] == 1.0
    wrong = Answers(["nonsense"] * len(examples))
    assert score_answers(task, examples, wrong).quality[task.metric] == 0.0


def test_the_options_decide_by_bits_per_byte_whatever_their_order(model, tokenizer, examples):
    task = TASKS["choice"]
    turned = [replace(example, options=example.options[::-1]) for example in examples]
    one, other = (evaluate(model, tokenizer, task, items, 4) for items in (examples, turned))
    assert one.answers == other.answers
    assert set(one.answers) <= set(examples[0].options)


def test_labels_that_begin_alike_are_read_in_full(model, tokenizer, dataset):
    @dataclass(frozen=True)
    class Place(Rca):
        @property
        def decoding(self):
            return Chosen(self.labels)

    labels = ("at alder", "at birch")
    examples = [replace(dataset.test[n], label=labels[n % 2]) for n in range(4)]
    scores = evaluate(model, tokenizer, Place(labels), examples, 2)
    assert set(scores.answers) <= set(labels)
    assert "bits_per_byte" in scores.quality
    assert scores.quality["nll"] > 0


def test_likelihoods_over_all_examples_by_hand():
    per_example, corpus = likelihood_scores([AnswerLikelihood(8, 2, 4), AnswerLikelihood(2, 2, 4)])
    assert per_example == {"bpb_score": [0.25, 2**-0.5], "bits_per_byte": [2.0, 0.5]}
    assert corpus == {"bits_per_byte": 10 / 8, "perplexity": 2 ** (10 / 4)}


def test_a_broken_model_scores_zero_and_leaves_out_what_is_no_number(model, tokenizer, dataset, find_short):
    broken = copy.deepcopy(model)
    for parameter in broken.parameters():
        parameter.data.fill_(float("nan"))
    scores = evaluate(broken, tokenizer, find_short("generation"), dataset.test)
    assert scores.quality["bpb_score"] == 0.0
    assert not {"bits_per_byte", "perplexity"} & set(scores.quality)
    assert "bits_per_byte" not in scores.per_example


def test_long_prompts_are_counted(model, tokenizer, dataset, find_short):
    long = replace(dataset.test[0], text="alder los " * 100)
    for name in TASKS:
        if name != "generation":
            truncated = evaluate(model, tokenizer, find_short(name), [long, dataset.test[1]]).truncated
            if model.config.is_encoder_decoder:
                assert truncated == 0
            else:
                # Once, though the prompt is read with each of the three options of `choice`.
                assert truncated == 1, name


@dataclass(frozen=True)
class Odd:
    scores: dict[str, float]
    name: str = "odd"
    metric: str = "score"
    decoding: Written = Written(4)  # noqa: RUF009

    def prompt(self, example):
        return example.text

    def answer(self, example):
        return f" {example.label}"

    def score(self, example, answer):
        return self.scores if example.id != "t-1" or "uneven" not in self.scores else {}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"score": 1.5}, "score of the task odd is 1.5"),
        ({"score": float("nan")}, "score of the task odd is nan"),
        ({"other": 1.0}, "no score 'score'. its scores are: other"),
        ({"score": 1.0, "uneven": 1.0}, "does not score all examples alike"),
    ],
)
def test_scores_that_cannot_be(examples, scores, expected):
    with pytest.raises(TaskError, match=expected):
        score_answers(Odd(scores), examples, Answers(["x"] * len(examples)))


def test_nothing_to_score(model, tokenizer):
    with pytest.raises(TaskError, match="no examples"):
        evaluate(model, tokenizer, TASKS["qa"], ())


@pytest.mark.parametrize("options", [(), ("fan",), ("one", "two")])
def test_options_that_are_no_choice(model, tokenizer, options):
    example = Example("x", "alder", "fan", question="why?", options=options)
    with pytest.raises(TaskError, match="example x has"):
        evaluate(model, tokenizer, TASKS["choice"], [example])
