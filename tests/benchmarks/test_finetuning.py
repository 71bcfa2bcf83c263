"""What the benchmark of fine-tuning meters, without a model."""

from __future__ import annotations

import pytest

from benchmarks.test_finetuning import Epochs, nothing, trivial
from energyaware.examples import Dataset, Example
from energyaware.pytest_plugin.unmeasured import Unmeasured


class Recorded:
    """A fine-tuning that writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.curve: list[int] = []
        self.epochs_done = 0

    def warm_up(self) -> None:
        self.asked.append("warm-up")

    def train_epoch(self) -> None:
        self.asked.append("epoch")
        self.epochs_done += 1

    def validate(self) -> None:
        self.asked.append("validation")
        self.curve.append(self.epochs_done)


@pytest.fixture
def tuning() -> Recorded:
    return Recorded()


def test_the_first_call_warms_up_and_each_other_one_is_an_epoch_that_is_validated_once(tuning):
    epochs = Epochs(tuning)
    for _ in range(3):
        epochs()
        epochs.score()
    epochs.score()
    assert tuning.asked == ["warm-up", "epoch", "validation", "epoch", "validation"]


def test_a_run_that_does_not_measure_trains_nothing(tuning):
    epochs = Epochs(tuning)
    Unmeasured().pedantic(epochs, setup=nothing, teardown=epochs.score, rounds=4, layout="not redrawn")
    assert tuning.asked == ["warm-up"]


def test_the_trivial_reader_names_the_most_frequent_cause_of_the_training_split():
    examples = tuple(Example(str(n), "text", label) for n, label in enumerate("aab"))
    dataset = Dataset("x", "0" * 64, ("a", "b"), examples, (), ())
    assert trivial(dataset, examples) == {"accuracy": pytest.approx(2 / 3)}
