"""What every task has: examples become prompts, answers become scores. A task is the six members of `Task`.

How a model answers is the same for all tasks and lives beside: `writing` (greedy generation), `labels` and
`likelihood` (choice by log-likelihood), joined in `evaluation` (quality) and `workload` (what is metered).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from energyaware.examples import Dataset, Example


@dataclass(frozen=True, slots=True)
class Written:
    """The model writes its answer, always the likeliest token next, until end of text.

    Attributes:
        max_new_tokens: at most that many, the end of text included.
        stop: the answer ends before this text as well. Where the tokenizer has a token for it, writing stops there.
        likelihood: also measure how likely the reference is: `bpb_score` = 2^−(bits per byte) for each example, with
            `bits_per_byte` and `perplexity` (per token) beside it.
    """

    max_new_tokens: int
    stop: str = "\n"
    likelihood: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model chooses among answers by their log-likelihood and writes nothing.

    Attributes:
        labels: the same answers for every example, without leading space. Where their first tokens differ, these
            decide, in one forward pass. Empty: each example's own `options`, read in full; the one with the fewest bits
            per byte wins (log-likelihood normalised by length, as in `acc_norm` of EleutherAI's
            lm-evaluation-harness).
    """

    labels: tuple[str, ...] = ()


class Task(Protocol):
    """One thing that a model is asked to do."""

    @property
    def name(self) -> str:
        """Word for ids and tables, e.g. `rca`."""
        ...

    @property
    def metric(self) -> str:
        """Which score is the quality that enters ρ; it lies in [0, 1] for every example, more is better."""
        ...

    @property
    def decoding(self) -> Written | Chosen:
        """How the answer is had."""
        ...

    def prompt(self, example: Example) -> str:
        """What the model reads."""
        ...

    def answer(self, example: Example) -> str:
        """What a perfect model writes after the prompt, with its leading space."""
        ...

    def score(self, example: Example, answer: str) -> Mapping[str, float]:
        """Score an answer (without surrounding white space): metric to value, the same metrics for every example."""
        ...


@runtime_checkable
class CorpusScored(Protocol):
    """A task with scores that are not means over examples."""

    def corpus_scores(self, examples: Sequence[Example], answers: Sequence[str]) -> Mapping[str, float]:
        """Metric to value, of all answers together."""
        ...


@runtime_checkable
class TriviallyAnswered(Protocol):
    """A task whose trivial baseline is not the most frequent answer of the training split."""

    def trivial_answers(self, train: Sequence[Example], examples: Sequence[Example]) -> Sequence[str]:
        """What a reader who understands nothing answers to each of `examples`."""
        ...


@runtime_checkable
class Fitted(Protocol):
    """A task that depends on the dataset's labels or on how the tokenizer splits them."""

    def fitted(self, dataset: Dataset, tokenizer: Any) -> Task:
        """The task for this dataset and tokenizer."""
        ...


def fit_task(task: Task, dataset: Dataset, tokenizer: Any) -> Task:
    """The task as this dataset and tokenizer need it; most are the same for all.

    Raises:
        TaskError: the task does not fit the dataset.
    """
    return task.fitted(dataset, tokenizer) if isinstance(task, Fitted) else task


@dataclass(frozen=True)
class Workload:
    """A fixed piece of work, ready to be metered: calling it does the same every time.

    Attributes:
        run: does the work once.
        requests: examples answered per call.
        tokens_in: tokens read per call, padding not counted.
        tokens_out: tokens written per call, ends of text included, as counted in one call; None where the answer is
            chosen and nothing is written.
    """

    run: Callable[[], object]
    requests: int
    tokens_in: int
    tokens_out: int | None = None

    def __call__(self) -> object:
        """Do the work once."""
        return self.run()


@dataclass(frozen=True)
class Scores:
    """How well a model does a task.

    Attributes:
        quality: metric to value over all examples; the task's `metric` comes first. What is not finite is left out.
        per_example: metric to one value per example, in their order.
        example_ids: in the same order.
        answers: what was written or chosen.
        truncated: examples whose prompt lost its beginning, because the model has too few positions.
    """

    quality: Mapping[str, float]
    per_example: Mapping[str, tuple[float, ...]]
    example_ids: tuple[str, ...]
    answers: tuple[str, ...]
    truncated: int = 0
