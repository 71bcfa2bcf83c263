import json
import resource

import pytest

from energyaware.branches.launches import JOURNAL_VERSION, Journal, Launch, Pair, Question
from energyaware.errors import StoredRunError

QUESTION = Question("base1", "head1", ("--rounds=6",), ("t.py::test_a",), {}, {"t.py::test_a": ("energy:5%",)}, {})
ASKED = (QUESTION.base, QUESTION.head, QUESTION.arguments)


@pytest.fixture
def launch(bench):
    return Launch({"t.py::test_a": Pair(bench(1.0), bench(1.1))}, 2.0, 7.0)


@pytest.fixture
def journal(tmp_path, launch):
    """A journal with two launches, as another process left it."""
    written = Journal(tmp_path / "folder" / "journal.jsonl")
    written.begin(QUESTION)
    written.add(launch)
    written.add(launch)
    return Journal(written.path)


def test_what_was_written_is_read_back(journal, launch):
    assert journal.resume(*ASKED) == (QUESTION, [launch, launch])
    assert journal.outlook == "2 finished launches are kept: go on with --resume"


def test_a_launch_that_was_cut_off_is_left_out_and_written_over(journal, launch):
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-7])
    assert journal.resume(*ASKED)[1] == [launch]
    journal.add(launch)
    assert journal.path.read_bytes() == whole


def test_a_failed_test_keeps_its_reason(journal):
    failed = Launch({"t.py::test_a": Pair(base_error="ValueError: no")}, 1.0)
    journal.add(failed)
    assert journal.resume(*ASKED)[1][-1] == failed


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (("base2", "head1", ("--rounds=6",)), "base 'base1', not 'base2'"),
        (("base1", "head2", ("--rounds=6",)), "head 'head1', not 'head2'"),
        (("base1", "head1", ("--rounds=7",)), "--rounds=6"),
        (("base1", "head1", ("--rounds=6", "")), "arguments"),
    ],
)
def test_another_question_is_not_answered(journal, asked, named):
    with pytest.raises(StoredRunError, match=named):
        journal.resume(*asked)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "has not finished a launch"),
        ('{"journal_version"', "has not finished a launch"),
        ("nonsense\n", "damaged"),
        ("[]\n", "damaged"),
        (json.dumps({"journal_version": JOURNAL_VERSION + 1}) + "\n", "another version"),
        (json.dumps({"journal_version": JOURNAL_VERSION, "question": {"base": 1}}) + "\n", "damaged"),
    ],
)
def test_a_journal_that_says_nothing_is_refused_with_its_path(tmp_path, content, named):
    path = tmp_path / "journal.jsonl"
    path.write_text(content)
    with pytest.raises(StoredRunError, match=named) as caught:
        Journal(path).resume(*ASKED)
    assert str(path) in str(caught.value)


def test_a_damaged_launch_is_named_by_its_line(journal):
    lines = journal.path.read_text().splitlines()
    lines[1] = lines[1].replace('"cpu": 1.0', '"cpu": 0.0')
    journal.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StoredRunError, match="line 2"):
        journal.resume(*ASKED)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(StoredRunError, match="no comparison to resume"):
        Journal(tmp_path / "none").resume(*ASKED)


def test_a_full_disk_is_explained_and_keeps_what_was_finished(journal, launch):
    journal.resume(*ASKED)
    size = journal.path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))  # Python ignores the signal: writing fails
    try:
        with pytest.raises(StoredRunError, match=r"make room.*2 finished launches are kept: go on with --resume"):
            journal.add(launch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.path.stat().st_size == size  # what was written of the line is gone
    assert Journal(journal.path).resume(*ASKED)[1] == [launch, launch]


def test_the_outlook_counts(tmp_path, launch):
    journal = Journal(tmp_path / "journal")
    journal.begin(QUESTION)
    assert journal.outlook == "No launch had finished"
    journal.add(launch)
    assert journal.outlook.startswith("1 finished launch is kept")
    journal.finish()
    journal.finish()
    assert not journal.path.exists()
