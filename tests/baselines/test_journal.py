import errno
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energyaware.baselines import journal as journals
from energyaware.baselines.journal import JOURNAL_VERSION, Finished, RunJournal, Spent, Timing, interrupted, resume
from energyaware.errors import StoredRunError

CONDITIONS = {"--energy-rounds": "4", "commit": "abc"}
EARLY, LATE = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 2, 12, tzinfo=UTC)


def finished(benchmark, energy_j=2.0):
    timing = Timing(benchmark.name, benchmark.fullname, "g", None, {"size": 3}, {}, {"timer": "x"}, 5, (0.5, 0.25))
    return Finished(benchmark, timing, "2026-01-01T12:00:01+00:00", Spent(energy_j, 3.0, 0.5), {"gpu": "A"})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "storage" / "journals"


@pytest.fixture
def write(folder, bench):
    """Journals as ended processes left them."""

    def make(*names, conditions=None, now=EARLY):
        written = RunJournal(folder, conditions or CONDITIONS, now)
        for name in names:
            written.add(finished(bench(name)))
        written.close()
        return written.path

    return make


def test_what_was_written_is_read_back_and_gone_on_with(write, folder, bench):
    path = write("test_a", "test_b")
    taken = resume(folder, CONDITIONS)
    assert taken.finished == {f"t.py::{name}": finished(bench(name)) for name in ("test_a", "test_b")}
    assert (taken.started_at, taken.torn, taken.journal.path) == ("2026-01-01T12:00:00+00:00", False, path)
    assert taken.spent == Spent(4.0, 6.0, 1.0)
    taken.journal.add(finished(bench("test_c")))
    assert taken.journal.kept == 3
    taken.journal.close()
    assert list(resume(folder, CONDITIONS).finished) == ["t.py::test_a", "t.py::test_b", "t.py::test_c"]


def test_a_part_without_joules_leaves_the_total_unknown():
    assert (Spent(1.0, 2.0, 0.5) + Spent(None, 1.0, 0.0)) == Spent(None, 3.0, 0.5)


def test_nothing_is_made_before_the_first_benchmark(folder):
    RunJournal(folder, CONDITIONS).finish()
    assert not folder.exists()
    assert resume(folder, CONDITIONS) is None
    assert interrupted(folder) == ()


def test_a_finished_run_leaves_nothing(folder, bench):
    written = RunJournal(folder, CONDITIONS)
    written.add(finished(bench()))
    written.finish()
    assert list(folder.iterdir()) == []


def test_a_living_run_is_neither_listed_nor_taken(folder, bench):
    alive = RunJournal(folder, CONDITIONS)
    alive.add(finished(bench()))
    assert interrupted(folder) == ()
    assert resume(folder, CONDITIONS) is None
    alive.close()
    assert [item.path for item in interrupted(folder)] == [alive.path]
    taken = resume(folder, CONDITIONS)
    assert interrupted(folder) == ()  # it lives again
    assert resume(folder, CONDITIONS) is None
    taken.journal.finish()


def test_two_runs_of_one_second_have_a_journal_each(write, folder):
    assert write("test_a") != write("test_a")
    assert len(interrupted(folder)) == 2


def test_the_newest_under_the_same_conditions_is_taken(write, folder):
    write("test_a")
    write("test_b", now=LATE, conditions={**CONDITIONS, "commit": "other"})
    assert list(resume(folder, CONDITIONS).finished) == ["t.py::test_a"]
    listed = interrupted(folder)
    assert [(item.started_at, item.benchmarks) for item in listed] == [("2026-01-02 12:00:00 UTC", 1)]


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({**CONDITIONS, "commit": "def"}, "commit abc, now def"),
        ({"commit": "abc"}, "--energy-rounds 4, now unset"),
        ({**CONDITIONS, "new": "1"}, "new unset, now 1"),
        ({str(number): "x" for number in range(9)}, "and 6 more differences"),
    ],
)
def test_other_conditions_are_refused_with_both_values(write, folder, now, named):
    path = write("test_a")
    before = path.read_bytes()
    with pytest.raises(StoredRunError, match=named):
        resume(folder, now)
    assert path.read_bytes() == before
    assert resume(folder, CONDITIONS) is not None  # and it is free again


def test_a_torn_last_line_is_dropped(write, folder, bench):
    path = write("test_a", "test_b")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    taken = resume(folder, CONDITIONS)
    assert taken.torn
    assert list(taken.finished) == ["t.py::test_a"]
    taken.journal.add(finished(bench("test_b")))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("keep", [0, 20])
def test_a_journal_that_was_cut_off_in_its_first_line_holds_nothing(write, folder, keep):
    path = write("test_a")
    path.write_bytes(path.read_bytes()[:keep])
    assert resume(folder, CONDITIONS) is None
    assert interrupted(folder) == ()
    assert path.exists()


@pytest.mark.parametrize(
    ("line", "change", "named"),
    [
        (2, lambda text: text.replace('"cpu": 0.99', '"cpu": 0.0'), "cpu read 0.0 J"),
        (2, lambda text: text.replace('"calls"', '"cals"'), "calls"),
        (2, lambda text: text[:-20], "line 2 is damaged"),
        (2, lambda text: text.replace('"data": [0.5', '"data": [NaN'), "without a time"),
        (2, lambda text: text.replace('"data": [0.5, 0.25]', '"data": []'), "without a time"),
        (2, lambda text: text.replace('"iterations": 5', '"iterations": 0'), "0 calls"),
        (2, lambda text: text.replace('"fullname": "t.py::test_a"', '"fullname": "x"', 1), "times of"),
        (1, lambda text: text.replace(f'_version": {JOURNAL_VERSION}', '_version": 99'), "version 99"),
        (1, lambda text: text.replace('"conditions": {', '"conditions": {"a": 1, '), "conditions"),
        (1, lambda text: "[]", "no object"),
    ],
)
def test_damage_is_named_by_file_and_line_and_left_alone(write, folder, line, change, named):
    path = write("test_a", "test_b")
    lines = path.read_text().splitlines()
    changed = change(lines[line - 1])
    assert changed != lines[line - 1]
    lines[line - 1] = changed
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    for _ in range(2):  # the first refusal gives the lock back
        with pytest.raises(StoredRunError, match=named) as caught:
            resume(folder, CONDITIONS)
        assert f"{path}: line {line}" in str(caught.value)
        assert "leave out --energy-resume" in caught.value.remedy
    assert path.read_bytes() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_whatever_stands_in_it_is_our_error_or_a_journal(write, folder, data):
    path = write("test_a")
    lines = path.read_bytes().splitlines(keepends=True)
    where = data.draw(st.integers(0, sum(map(len, lines))))
    whole = b"".join(lines)
    garbage = data.draw(st.binary(max_size=20) | st.sampled_from([b"\n", b"{}\n", b"[" * 5000, b'"', b"1e999"]))
    path.write_bytes(whole[:where] + garbage + whole[where:])
    try:
        taken = resume(folder, CONDITIONS)
    except StoredRunError:
        taken = None
    if taken is not None:
        assert set(taken.finished) <= {"t.py::test_a"} or garbage.strip()
        taken.journal.close()
    path.unlink()


def test_a_full_disk_keeps_benchmarks_in_memory_until_there_is_room(folder, bench, monkeypatch):
    written = RunJournal(folder, CONDITIONS)
    real = journals.append_lines

    def full(descriptor, entries):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journals, "append_lines", full)
    for count, name in enumerate(("test_a", "test_b"), start=1):
        with pytest.raises(StoredRunError, match=rf"No space left.*make room.*{count} finished") as caught:
            written.add(finished(bench(name)))
        assert str(written.path) in str(caught.value)
    monkeypatch.setattr(journals, "append_lines", real)
    written.add(finished(bench("test_c")))
    assert (written.waiting, written.kept) == (0, 3)
    written.close()
    assert list(resume(folder, CONDITIONS).finished) == ["t.py::test_a", "t.py::test_b", "t.py::test_c"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, bench):
    (tmp_path / "file").write_text("")
    written = RunJournal(tmp_path / "file" / "journals", CONDITIONS)
    with pytest.raises(StoredRunError, match="journals cannot be written"):
        written.add(finished(bench()))
    assert written.waiting == 1


def test_other_files_in_the_folder_are_left_alone(write, folder):
    write("test_a")
    (folder / "notes.jsonl").write_text("mine\n\n\n")
    assert len(interrupted(folder)) == 1
    resume(folder, CONDITIONS).journal.finish()
    assert [path.name for path in folder.iterdir()] == ["notes.jsonl"]


def test_a_run_that_ends_well_while_another_looks_for_journals_is_left_alone(folder, bench, monkeypatch):
    """Its journal was listed, and is gone before it is opened, or before it is locked."""
    for moment in ("open", "lock"):
        alive = RunJournal(folder, CONDITIONS)
        alive.add(finished(bench()))
        real = {"open": journals.os.open, "lock": journals.try_lock}

        def ending(*given, moment=moment, alive=alive, real=real, **how):
            if moment == "lock" or str(given[0]).endswith(".jsonl"):
                alive.finish()
            return real[moment](*given, **how)

        with monkeypatch.context() as patched:
            if moment == "open":
                patched.setattr(journals.os, "open", ending)
            else:
                patched.setattr(journals, "try_lock", ending)
            assert resume(folder, CONDITIONS) is None
        assert list(folder.iterdir()) == []


def test_a_journal_that_cannot_be_locked_is_named(write, folder, monkeypatch):
    path = write("test_a")

    def refused(descriptor):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(journals, "try_lock", refused)
    with pytest.raises(StoredRunError, match="cannot be locked") as caught:
        resume(folder, CONDITIONS)
    assert str(path) in str(caught.value)
    assert interrupted(folder) == ()
