import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data.choices import Choice, find_answers, read_options
from energyaware.errors import DataError


def is_fit_to_be_shown(error):
    assert error.cause
    assert str(error).isprintable()


def choices(*answers, options=("red", "green", "blue"), keys=()):
    return [Choice(f"t line {number}", options, keys, answer) for number, answer in enumerate(answers, start=2)]


def indices(*answers, **more):
    return [meant.index for meant in find_answers(choices(*answers, **more))]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("green", "RED", " blue "), [1, 0, 2]),
        (("option 2: green", "Option 1", "option 3."), [1, 0, 2]),
        (("choice 2", "answer 1"), [1, 0]),
        (("B", "a", "(c)"), [1, 0, 2]),
        (("B) green", "A. red", "C: blue"), [1, 0, 2]),
        (("1", "0", "2"), [1, 0, 2]),
        (("1", "3", "2"), [0, 2, 1]),
        (("1.0", "3.0"), [0, 2]),
    ],
)
def test_every_way_of_writing_answers(answers, expected):
    assert indices(*answers) == expected


def test_keys_come_before_words_and_letters():
    assert indices("C", "A", keys=("C", "B", "A")) == [0, 2]
    assert indices("opt b", "opt a: red", keys=("opt a", "opt b", "opt c")) == [1, 0]
    eleven = tuple(f"o{number}" for number in range(11))
    names = tuple(f"option {number}" for number in range(1, 12))
    assert indices("option 11", "option 1: o0", options=eleven, keys=names) == [10, 0]


def test_texts_come_before_numbers():
    assert indices("2", "1", options=("1", "2", "3")) == [1, 0]


def test_other_words_behind_a_number_are_reported():
    found = find_answers(choices("option 2: Green", "option 1: crimson"))
    assert [(meant.index, meant.differs) for meant in found] == [(1, False), (0, True)]


def test_an_empty_option_counts_in_numbering_but_is_no_answer():
    assert indices("3", "1", options=("red", "", "blue")) == [2, 0]
    with pytest.raises(DataError, match="t line 3 has the answer '2', none of its 3 options"):
        indices("3", "2", "1", options=("red", "", "blue"))


def test_numbers_that_could_mean_two_things_are_refused():
    with pytest.raises(DataError, match="0 or 1 could be the first option"):
        indices("1", "2")


def test_the_first_answer_out_of_line_is_named():
    with pytest.raises(DataError, match="t line 4 has the answer 'purple', none of its 3 options"):
        indices("red", "green", "purple", "blue")


@given(st.lists(st.sampled_from(["red", "green", "blue"]), min_size=1))
def test_texts_are_found_again(answers):
    assert [("red", "green", "blue")[index] for index in indices(*answers)] == answers


@given(st.lists(st.text(max_size=12), max_size=5), st.lists(st.text(max_size=6), max_size=4))
def test_any_answer_gives_an_option_or_an_error(answers, options):
    try:
        found = find_answers(choices(*answers, options=tuple(options)))
    except DataError as error:
        is_fit_to_be_shown(error)
    else:
        assert all(options[meant.index] for meant in found)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([("a", "x"), ("b", None), ("c", 3)], (("x", "", "3"), ("a", "b", "c"))),
        ([("o", ["x", 2])], (("x", "2"), ())),
        ([("o", '["x", "y"]')], (("x", "y"), ())),
        ([("o", {"A": "x", "B": "y"})], (("x", "y"), ("A", "B"))),
        ([("o", {"text": ["x", "y"], "label": ["1", "2"]})], (("x", "y"), ("1", "2"))),
        ([("o", {"text": ["x", "y"]})], (("x", "y"), ())),
        ([("o", [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}])], (("x", "y"), ("A", "B"))),
        ([("o", [{"text": "x"}, {"text": "y"}])], (("x", "y"), ())),
        ([("o", """['x', "y's"]""")], (("x", "y's"), ())),
        ([("o", "{'A': 'x', 'B': 'y'}")], (("x", "y"), ("A", "B"))),
        ([("o", "x | y")], (("x", "y"), ())),
        ([("o", "x\ny")], (("x", "y"), ())),
    ],
)
def test_every_way_of_writing_options(cells, expected):
    assert read_options(cells, "t line 2") == expected


@pytest.mark.parametrize(
    "value", [3, None, '["x"', "[open()]", "{1, 2}", "{[1]: 2}", "{['a'], ['b']}", "[" * 100_000, [["x"]], [{"a": 1}]]
)
def test_other_ways_are_refused(value):
    with pytest.raises(DataError, match="t line 2 holds"):
        read_options([("o", value)], "t line 2")
