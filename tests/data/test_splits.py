import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.data.splits import content_id, draw_splits, fingerprint, merge_duplicates, sorted_labels, split_dataset
from energyaware.errors import DataError
from energyaware.examples import Example

rows = st.lists(
    st.builds(
        lambda text, label, group: Example(content_id(text), text, label, group),
        st.integers(0, 60).map("text {}".format),
        st.sampled_from("abc"),
        st.one_of(st.just(""), st.integers(0, 25).map("group {}".format)),
    ),
    min_size=1,
    max_size=150,
)


def plain(count: int, labels: str = "ab") -> list[Example]:
    return [Example(content_id(str(i)), f"text {i}", labels[i % len(labels)]) for i in range(count)]


@given(rows, st.integers(0, 5))
def test_no_group_or_duplicate_straddles_splits(examples, seed):
    merged, _ = merge_duplicates(examples)
    splits = draw_splits(merged, seed=seed)
    assert Counter(e.id for split in splits for e in split) == Counter({e.id for e in examples})
    for attribute in ("text", "group"):
        seen = [{getattr(e, attribute) for e in split} for split in splits]
        assert sum(map(len, seen)) == len(set().union(*seen))
    # The groups that the file names, which merging replaces by groups of its own.
    split_of = {e.id: number for number, split in enumerate(splits) for e in split}
    for group in {e.group for e in examples} - {""}:
        assert len({split_of[e.id] for e in examples if e.group == group}) == 1


@given(rows, st.integers(0, 5), st.randoms(use_true_random=False))
def test_splits_depend_on_contents_and_seed_only(examples, seed, rng):
    shuffled = rng.sample(examples, len(examples))
    assert draw_splits(merge_duplicates(shuffled)[0], seed=seed) == draw_splits(
        merge_duplicates(examples)[0], seed=seed
    )


@given(rows, st.integers(0, 5))
def test_every_label_stays_in_train(examples, seed):
    merged, _ = merge_duplicates(examples)
    train, _, _ = draw_splits(merged, seed=seed)
    majority = {}
    for group in {e.group for e in merged}:
        votes = Counter(e.label for e in merged if e.group == group)
        majority[group] = min(votes, key=lambda label: (-votes[label], label))
    assert {majority[e.group] for e in train} == set(majority.values())


@given(st.integers(40, 400), st.integers(0, 20))
@settings(max_examples=30)
def test_shares_are_met_label_by_label(count, seed):
    train, validation, test = draw_splits(plain(count, "aab"), seed=seed)
    for label in "ab":
        total = sum(e.label == label for e in (*train, *validation, *test))
        assert abs(sum(e.label == label for e in test) - 0.2 * total) <= 1
        assert abs(sum(e.label == label for e in validation) - 0.08 * total) <= 1


def test_another_seed_draws_another_split():
    first, second = (split_dataset("t", plain(100), seed=seed) for seed in (0, 1))
    assert {e.id for e in first.test} != {e.id for e in second.test}
    assert first.fingerprint != second.fingerprint


def test_duplicates_are_merged_and_counted_and_the_majority_labels_them():
    copies = [Example("x", "same", label) for label in ("b", "a", "b")]
    tie = [Example("y", "other", label) for label in ("b", "a")]
    merged, notes = merge_duplicates([*copies, *tie, *plain(3)])
    assert {e.id: e.label for e in merged if e.id in "xy"} == {"x": "b", "y": "a"}
    assert any(note.startswith("3 exact duplicates") for note in notes)
    assert any(note.startswith("2 duplicated rows disagreed") for note in notes)


def test_rows_of_one_text_are_kept_but_share_a_group():
    merged, notes = merge_duplicates([Example("1", "same", "a"), Example("2", "same", "b"), Example("3", "else", "a")])
    assert len(merged) == 3
    assert len({e.group for e in merged if e.text == "same"}) == 1
    assert any("2 different texts" in note for note in notes)


def test_groups_that_share_a_row_become_one():
    chain = [Example("1", "p", "a", "g1"), Example("1", "p", "a", "g2"), Example("2", "q", "b", "g2")]
    merged, _ = merge_duplicates(chain)
    assert len({e.group for e in merged}) == 1


def test_given_split_is_kept_and_cleaned():
    examples = [*plain(20), Example("copy", "text 0", "a"), Example("odd", "text x", "b")]
    assigned = dict.fromkeys((e.id for e in examples), "train")
    for i in (0, 1):
        assigned[content_id(str(i))] = "test"
    for i in (2, 3):
        assigned[content_id(str(i))] = "validation"
    dataset = split_dataset("t", examples, assigned=assigned)
    assert {e.text for e in dataset.test} == {"text 0", "text 1"}
    assert {e.text for e in dataset.validation} == {"text 2", "text 3"}
    assert "copy" not in {e.id for e in dataset.train}
    assert len(dataset.train) == 17
    assert any(note.startswith("1 rows shared a text") for note in dataset.notes)


def test_missing_validation_is_carved_out_of_train():
    examples = plain(100)
    assigned = {e.id: "test" if i < 20 else "train" for i, e in enumerate(examples)}
    dataset = split_dataset("t", examples, assigned=assigned)
    assert len(dataset.test) == 20
    assert len(dataset.validation) == 8
    assert len(dataset.train) == 72


@pytest.mark.parametrize(
    ("examples", "assigned", "message"),
    [
        ([], None, "holds no row"),
        (plain(50, "a"), None, "only the label 'a'"),
        (plain(6), None, "leaves none for validation"),
        (plain(6), dict.fromkeys((e.id for e in plain(6)), "train"), "leaves none for test"),
        (
            plain(30),
            {e.id: "test" if e.label == "b" else "train" for e in plain(30)},
            "labels in validation or test that train lacks: 'b'",
        ),
    ],
)
def test_unusable_data_is_refused(examples, assigned, message):
    with pytest.raises(DataError, match=message):
        split_dataset("t", examples, assigned=assigned)


@pytest.mark.parametrize("field", ["id", "text", "label"])
def test_fingerprint_sees_every_field_split_and_order(field):
    a, b, c = plain(3)
    base = fingerprint([a], [b], [c])
    assert len(base) == 64
    assert base == fingerprint([a], [b], [c])
    assert base != fingerprint([dataclasses.replace(a, **{field: "new"})], [b], [c])
    assert base != fingerprint([a, b], [], [c])
    assert fingerprint([a, b], [], [c]) != fingerprint([b, a], [], [c])


def test_fingerprints_of_plain_examples_are_those_of_stored_runs():
    assert fingerprint([Example("1", "x", "a", "g")], [], []) == (
        "8fe88ffc4fe53bc0bc6cea009b56c50ed3d0b0772d2f24be1b3a1d5e311d359c"
    )


def test_fingerprint_sees_questions_and_options():
    plain_one = Example("1", "x", "a")
    asked = dataclasses.replace(plain_one, question="why?")
    offered = dataclasses.replace(plain_one, options=("a", "b"))
    turned = dataclasses.replace(plain_one, options=("b", "a"))
    prints = {fingerprint([example], [], []) for example in (plain_one, asked, offered, turned)}
    assert len(prints) == 4


def test_free_answers_are_drawn_from_all_rows_together():
    examples = [Example(content_id(str(i)), f"text {i}", f"answer {i}") for i in range(100)]
    dataset = split_dataset("t", examples, task="qa", closed=False)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [72, 8, 20]
    assert dataset.labels == ()
    assert dataset.task == "qa"
    with pytest.raises(DataError, match="t holds no row"):
        split_dataset("t", [], closed=False)


def test_copies_keep_their_question_and_options():
    one = Example("1", "x", "b", question="q", options=("b", "c"))
    other = Example("1", "x", "c", question="q", options=("c", "b"))
    for copies in ([one, one, other], [other, one, one]):
        (kept,), _ = merge_duplicates(copies)
        assert (kept.question, kept.options, kept.label) == ("q", ("b", "c"), "b")


def test_questions_without_text_are_no_copies_of_each_other():
    examples = [Example(str(i), "", "a", question=f"q {i % 3}") for i in range(6)]
    merged, notes = merge_duplicates(examples)
    assert len({e.group for e in merged}) == 3
    assert notes == ["6 rows make 3 different texts; rows of one text stay in one split"]


def test_validation_takes_the_place_of_a_missing_test():
    examples = plain(100)
    assigned = {e.id: "validation" if i < 20 else "train" for i, e in enumerate(examples)}
    dataset = split_dataset("t", examples, assigned=assigned)
    assert {e.id for e in dataset.test} == {e.id for e in examples[:20]}
    assert len(dataset.validation) == 8
    assert len(dataset.train) == 72


def test_labels_are_sorted_by_number_then_word():
    labels = ["10", "b", "2", "a", "2"]
    random.Random(0).shuffle(labels)
    assert sorted_labels(labels) == ("2", "10", "a", "b")
