import pytest

from energyaware.data.columns import ColumnMap
from energyaware.data.rows import MAX_TEXT_CHARACTERS, task_rows
from energyaware.data.table import Table
from energyaware.data.task_columns import TASK_COLUMNS
from energyaware.errors import DataError


def table(*rows, name="t", **more):
    columns = tuple(dict.fromkeys(key for row in rows for key in row))

    def read(wanted):
        return ((number, [row.get(column) for column in wanted]) for number, row in enumerate(rows, start=1))

    return Table(name, columns, read, row_word="row", **more)


def examples(task, *rows, drop_missing=False, **mapped):
    found, notes = task_rows([table(*rows)], ColumnMap(**mapped), task, drop_missing=drop_missing)
    return [row.example for row in found], notes


def test_usual_names_are_found_and_said():
    (example,), notes = examples("summarization", {"article": "long", "highlights": "short"})
    assert (example.text, example.label) == ("long", "short")
    assert notes == ["text from column 'article', answers from column 'highlights'"]


@pytest.mark.parametrize("task", TASK_COLUMNS)
def test_what_is_missing_is_named_with_a_map_that_would_do(task):
    with pytest.raises(DataError, match=r"t has no column .*; its columns are a.*map them like this: PATH:") as raised:
        examples(task, {"a": 1})
    for column in raised.value.remedy.partition("PATH:")[2].partition(" ")[0].split(","):
        assert column.endswith(("=COLUMN", "|…"))


def test_squad_answers():
    rows = [
        {"context": "c", "question": "q1", "answers": {"text": ["one", "two"], "answer_start": [1, 2]}},
        {"context": "c", "question": "q2", "answers": {"text": ["same", "same"], "answer_start": [1, 2]}},
        {"context": "c", "question": "q3", "answers": ["", "three"]},
    ]
    found, notes = examples("qa", *rows)
    assert [(e.text, e.question, e.label) for e in found] == [
        ("c", "q1", "one"),
        ("c", "q2", "same"),
        ("c", "q3", "three"),
    ]
    assert "1 rows have several reference answers; the first is used" in notes
    assert len({e.id for e in found}) == 3


def test_arc_and_mmlu_choices():
    arc = {"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    mmlu = [{"question": f"q{i}", "choices": ["x", "y", "z"], "answer": i} for i in range(3)]
    assert examples("choice", arc)[0][0].label == "y"
    assert [e.label for e in examples("choice", *mmlu)[0]] == ["x", "y", "z"]


def test_choices_as_arc_and_others_publish_them():
    arc = {"question": {"stem": "q", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}, "key": "B"}
    (example,), _ = examples("choice", arc, question="question.stem", options="question.choices", label="key")
    assert (example.question, example.options, example.label) == ("q", ("x", "y"), "y")
    (example,), _ = examples("choice", {"article": "a", "question": "q", "options": ["x", "y"], "answer": "A"})
    assert (example.text, example.label) == ("a", "x")
    rows = [{"sentence": f"s{n}", "option1": "x", "option2": "y", "answer": str(n)} for n in (1, 2)]
    assert [e.label for e in examples("choice", *rows, question="sentence")[0]] == ["x", "y"]


def test_several_columns_of_text_are_joined():
    row = {"title": "link down", "body": " since 8 ", "note": None, "label": "a"}
    (example,), notes = examples("rca", row, text="title|body|note")
    assert (example.text, notes) == ("link down\nsince 8", [])
    with pytest.raises(DataError, match=r"no column 'title\|text'"):
        examples("rca", row, text="title|text")
    with pytest.raises(DataError, match=r"empty text in column 'note'"):
        examples("rca", row, text="note")
    with pytest.raises(DataError, match=r"empty text in column 'note \| title'"):
        examples("rca", row | {"title": ""}, text="note|title")


@pytest.mark.parametrize("about", ["input", "context"])
def test_an_instruction_is_read_with_what_it_is_about(about):
    rows = [{"instruction": "sum up", about: "link down", "output": "o1"}, {"instruction": "say hi", "output": "o2"}]
    found, notes = examples("response", *rows)
    assert [example.text for example in found] == ["sum up\nlink down", "say hi"]
    assert notes == [f"text from columns 'instruction', '{about}', answers from column 'output'"]


def test_all_items_of_a_list_are_reached_by_a_star():
    row = {"thread": [{"say": "hi"}, {"say": "bye"}, {}], "summary": "s"}
    (example,), notes = examples("summarization", row, text="thread.*.say")
    assert example.text == "hi\nbye"
    assert notes == ["1 texts were lists, joined line by line"]


def test_a_column_that_is_named_as_one_part_is_not_guessed_as_another():
    row = {"text": "q", "options": ["x", "y"], "answer": "x"}
    (example,), _ = examples("choice", row, question="text")
    assert (example.text, example.question) == ("", "q")
    (example,), _ = examples("choice", row, question="text", text="text")
    assert (example.text, example.question) == ("q", "q")


def test_several_columns_of_options():
    rows = [{"q": "?", "opa": "x", "opb": "y", "opc": None, "right": "opb"}]
    for options in ("opa|opb|opc", "op*", "op?"):
        (example,), _ = examples("choice", *rows, question="q", options=options, label="right")
        assert (example.options, example.label) == (("x", "y"), "y")
    with pytest.raises(DataError, match=r"no column 'opa\|opz'"):
        examples("choice", *rows, question="q", options="opa|opz", label="right")


def test_repeated_options_are_offered_once():
    (example,), notes = examples("choice", {"question": "q", "options": ["x", "y", "x"], "answer": "x"})
    assert example.options == ("x", "y")
    assert "1 rows name an option twice; it is offered once" in notes
    with pytest.raises(DataError, match=r"t row 1 offers 1 option"):
        examples("choice", {"question": "q", "options": ["x", "x"], "answer": "x"})


def test_the_order_of_options_does_not_make_another_question():
    rows = [{"question": "q", "options": options, "answer": "x"} for options in (["x", "y"], ["y", "x"])]
    assert len({e.id for e in examples("choice", *rows)[0]}) == 1


def test_a_continuation_may_be_given():
    (plain,), _ = examples("generation", {"text": "log", "label": "more"})
    (continued,), _ = examples("generation", {"text": "log", "next": "more"}, label="next")
    assert (plain.label, continued.label) == ("", "more")


def test_rows_without_what_they_need_are_refused_or_left_out():
    rows = [{"question": "q", "answer": "a"}, {"question": " ", "answer": "a"}, {"question": "q2", "answer": None}]
    with pytest.raises(DataError, match=r"t row 2 has an empty question in column 'question'.*missing=drop"):
        examples("qa", *rows)
    with pytest.raises(DataError, match="t row 2 has no answer"):
        examples("qa", rows[0], rows[2])
    found, notes = examples("qa", *rows, drop_missing=True)
    assert len(found) == 1
    assert notes == ["2 rows without text, question or answer left out"]


def test_every_long_part_is_cut_and_the_row_is_counted_once():
    long = "x " * MAX_TEXT_CHARACTERS
    (example,), notes = examples("qa", {"context": long, "question": long, "answer": long})
    assert {len(part) for part in (example.text, example.question, example.label)} == {MAX_TEXT_CHARACTERS}
    assert notes == [f"1 texts cut to their first {MAX_TEXT_CHARACTERS} characters"]


def test_answers_are_read_the_same_way_in_all_tables():
    train = table({"question": "q1", "options": ["x", "y"], "answer": 0}, name="train", split="train")
    test = table({"question": "q2", "options": ["x", "y"], "answer": 1}, name="test", split="test", notes=("said",))
    rows, notes = task_rows([train, test], ColumnMap(), "choice")
    assert [(row.example.label, row.split) for row in rows] == [("x", "train"), ("y", "test")]
    assert notes == ["said"]
