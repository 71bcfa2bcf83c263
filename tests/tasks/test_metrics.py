from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.tasks.metrics import accuracy, distinct, exact_match, macro_f1, rouge, token_f1


def test_accuracy():
    assert accuracy([1, 0, 1, 1]) == 0.75


def test_accuracy_of_nothing():
    with pytest.raises(ValueError, match="no answers"):
        accuracy([])


def test_macro_f1_by_hand():
    # a: precision 1, recall 1/2, F1 2/3; b: precision 1/2, recall 1, F1 2/3.
    assert macro_f1(["a", "a", "b"], ["a", "b", "b"]) == pytest.approx(2 / 3)


def test_macro_f1_counts_a_label_never_predicted_as_zero_and_ignores_labels_that_do_not_occur():
    assert macro_f1(["a", "b"], ["a", "a"]) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(["a", "a"], ["a", "c"]) == pytest.approx(2 / 3)


def test_token_f1_by_hand():
    # Without the article: red, crew and at of four words each.
    assert token_f1("The red crew, at alder", "red crew went at") == pytest.approx(2 * 3 / (4 + 4))
    assert token_f1("alder", "birch") == 0
    assert token_f1("", "") == token_f1("the", "a") == 1
    assert token_f1("alder", "") == token_f1("", "alder") == 0
    assert token_f1("a b b", "b b b") == pytest.approx(2 * 2 / (2 + 3))


def test_exact_match_is_squads():
    assert exact_match("The Alder, birch.", "alder birch") == 1
    assert exact_match("alder birch", "birch alder") == 0


def test_rouge_by_hand():
    found = rouge("red crew cleaned the filter", "red crew replaced the filter")
    assert found["rouge_1"] == pytest.approx(4 / 5)
    assert found["rouge_2"] == pytest.approx(2 / 4)
    assert found["rouge_l"] == pytest.approx(4 / 5)
    assert set(rouge("alder", "").values()) == {0.0}


def test_distinct_by_hand():
    assert distinct(["a b a b", "a"], 1) == 2 / 5
    assert distinct(["a b a b", "a"], 2) == 2 / 3
    assert distinct(["a", ""], 2) == 0


@given(st.text(max_size=40), st.text(max_size=40))
def test_scores_of_texts_lie_between_none_and_one_and_equality_is_best(one, other):
    for score in (token_f1, exact_match):
        assert 0 <= score(one, other) <= 1
        assert score(one, one) == 1
    assert all(0 <= value <= 1 for value in rouge(one, other).values())
