from __future__ import annotations

import pytest

from energyaware.tasks.metrics import accuracy, macro_f1


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
