"""Scores of classification-like tasks."""

from __future__ import annotations

from collections.abc import Sequence


def accuracy(correct: Sequence[int]) -> float:
    """Share of ones, in [0, 1].

    Raises:
        ValueError: nothing to score.
    """
    if not correct:
        raise ValueError("no answers to score")
    return sum(correct) / len(correct)


def macro_f1(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean F1 over the labels that occur in the truth, in [0, 1]; a label never predicted counts as 0."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, predicted, labels=sorted(set(truth)), average="macro", zero_division=0))
