"""Scores of answers. All lie in [0, 1], 1 is best."""

from __future__ import annotations

import functools
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


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


def exact_match(reference: str, answer: str) -> float:
    """1 where both are the same words, as SQuAD compares them (see `squad_words`), else 0."""
    return float(squad_words(reference) == squad_words(answer))


def token_f1(reference: str, answer: str) -> float:
    """F1 of the words that both share, each counted as often as it occurs (SQuAD 1.1, Rajpurkar et al. 2016).

    Where one of them has no words, 1 if the other has none either, else 0 (SQuAD 2.0).
    """
    expected, given = squad_words(reference), squad_words(answer)
    if not expected or not given:
        return float(expected == given)
    shared = sum((Counter(expected) & Counter(given)).values())
    return 2 * shared / (len(expected) + len(given))


def squad_words(text: str) -> list[str]:
    """Lower case, without punctuation and English articles, split at white space: the normalisation of SQuAD's own
    evaluation script.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def rouge(reference: str, answer: str) -> Mapping[str, float]:
    """F-measures `rouge_1`, `rouge_2` and `rouge_l` (Lin 2004) as Google's `rouge-score` computes them, unstemmed.

    Its words are made of the letters a to z and digits; texts in other scripts have no words there and score 0.
    """
    found = _rouge_scorer().score(reference, answer)
    return {f"rouge_{kind[5:].lower()}": float(found[kind].fmeasure) for kind in ("rouge1", "rouge2", "rougeL")}


def distinct(texts: Sequence[str], n: int) -> float:
    """distinct-n (Li et al. 2016): different word n-grams of all texts together per n-gram. 0 where there is none."""
    grams = [gram for text in texts for gram in _grams(text.split(), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


@functools.cache
def _rouge_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
