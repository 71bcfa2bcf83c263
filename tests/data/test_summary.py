import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data.summary import summarize, summary_text
from energyaware.examples import Dataset, Example


def dataset(*lengths, **more):
    examples = [Example(str(i), " ".join(["w"] * n), "ab"[i % 2]) for i, n in enumerate(lengths)]
    return Dataset("t.csv", "0" * 64, ("a", "b"), tuple(examples), (), (), **more)


def test_rows_labels_and_repeats_are_counted():
    summary = summarize(dataset(1, 2, 2, 5, 5))
    assert (summary.rows, summary.train, summary.test) == (5, 5, 0)
    assert summary.labels == (("a", 3), ("b", 2))
    assert summary.repeated == 2
    assert summary.answers is None


@given(st.lists(st.integers(1, 300), min_size=1, max_size=50))
def test_lengths_are_those_of_numpy(lengths):
    inputs = summarize(dataset(*lengths)).inputs
    assert [inputs.p5, inputs.p50, inputs.p95] == pytest.approx(list(np.quantile(lengths, [0.05, 0.5, 0.95])))
    assert (inputs.longest, inputs.total) == (max(lengths), sum(lengths))
    assert sum(inputs.bin_counts) == len(lengths)
    assert len(inputs.bin_edges) == len(inputs.bin_counts) + 1
    assert inputs.bin_edges[0] <= min(lengths) <= max(lengths) <= inputs.bin_edges[-1]


def test_a_tokenizer_counts_tokens():
    summary = summarize(dataset(3, 3), tokenize=list)
    assert (summary.inputs.unit, summary.inputs.longest) == ("tokens", 5)


def test_questions_and_options_are_part_of_the_input():
    example = Example("1", "", "x y", question="a b c", options=("x y", "z"))
    choice = dataclasses.replace(dataset(), train=(example,), labels=(), task="choice")
    assert summarize(choice).inputs.longest == 6
    assert summarize(choice).answers is None
    free = dataclasses.replace(choice, train=(dataclasses.replace(example, options=()),), task="qa")
    assert summarize(free).answers.longest == 2


def test_the_text_says_it_all():
    text = summary_text(summarize(dataset(1, 2, 3, ceiling=0.9375, notes=("2 rows dropped",))))
    assert text.splitlines() == [
        "t.csv (rca): 3 rows: 3 train, 0 validation, 0 test; fingerprint 000000000000",
        "2 labels: a 2 (66.7%), b 1 (33.3%)",
        "words per input: 5 % up to 1, median 2, 95 % up to 3, longest 3; 6 in all",
        "best possible accuracy: 0.938",
        "note: 2 rows dropped",
    ]


def test_lines_fit_the_terminal_and_a_label_keeps_its_count():
    labels = ("loss of signal at the far end", "no mains", "x" * 100)
    examples = tuple(Example(str(i), "w", labels[i % 3]) for i in range(12))
    long = dataclasses.replace(dataset(), train=examples, labels=labels, notes=("n " * 60,))
    for width in (60, 80, 120):
        lines = summary_text(summarize(long), width).splitlines()
        assert max(map(len, lines)) <= width
        assert any("loss of signal at the far end 4 (33.3%)" in line for line in lines)
        assert "\N{NO-BREAK SPACE}" not in "".join(lines)
    assert "x" * 59 + "… 4 (33.3%)" in summary_text(summarize(long))


def test_many_labels_are_not_all_shown():
    examples = tuple(Example(str(i), "x", f"l{i}") for i in range(30))
    many = dataclasses.replace(dataset(), train=examples, labels=tuple(e.label for e in examples))
    assert "and 18 more" in summary_text(summarize(many))


def test_names_out_of_files_cannot_steer_a_terminal():
    evil = dataclasses.replace(dataset(1), name="a\x1b[2Jb.csv", labels=("a\nb",), notes=("\x07",))
    text = summary_text(summarize(evil))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert len(text.splitlines()) == 4


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="has no rows"):
        summarize(dataset())
