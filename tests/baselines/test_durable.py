import errno
import os
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.baselines import durable
from energyaware.errors import StoredRunError


def opened(path):
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)


def lines_of(path):
    with path.open("rb") as stream:
        return list(durable.complete_lines(stream))


def test_lines_are_appended_and_read_back(tmp_path):
    path = tmp_path / "lines"
    descriptor = opened(path)
    durable.append_lines(descriptor, [{"a": 1}, {"b": "zwei\n"}])
    durable.append_lines(descriptor, [{"c": None}])
    os.close(descriptor)
    assert [durable.parse_line(line, "here", "") for line in lines_of(path)] == [{"a": 1}, {"b": "zwei\n"}, {"c": None}]


def test_a_line_that_does_not_fit_leaves_nothing_behind_and_the_next_one_is_whole(tmp_path):
    path = tmp_path / "lines"
    descriptor = opened(path)
    durable.append_lines(descriptor, [{"a": 1}])
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 3, hard))  # Python ignores the signal: writing fails
    try:
        with pytest.raises(OSError, match="File too large"):
            durable.append_lines(descriptor, [{"long": "x" * 100}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    durable.append_lines(descriptor, [{"b": 2}])
    os.close(descriptor)
    assert path.read_bytes() == whole + b'{"b": 2}\n'


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=5), st.data())
def test_wherever_a_file_is_cut_off_whole_lines_remain(tmp_path_factory, entries, data):
    path = tmp_path_factory.mktemp("cut") / "lines"
    descriptor = opened(path)
    durable.append_lines(descriptor, entries)
    os.close(descriptor)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    found = [durable.parse_line(line, "here", "") for line in lines_of(path)]
    assert found == entries[: len(found)]
    assert len(found) == path.read_bytes().count(b"\n")


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b"3", b'{"a": ', b"\xff\xfe", b"[" * 200_000, b"\0\0\0"])
def test_a_line_that_is_no_object_is_named(line):
    with pytest.raises(StoredRunError, match="file: line 3 is damaged"):
        durable.parse_line(line, "file: line 3", "remedy")


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    durable.replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]


def test_a_file_that_cannot_be_replaced_stays_and_leaves_no_part(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        durable.replace_file(path, b"new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    durable.replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    durable.replace_file(path, b"new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_lock_holds_as_long_as_the_file_is_open(tmp_path):
    first, second = opened(tmp_path / "a"), opened(tmp_path / "a")
    assert durable.try_lock(first)
    assert not durable.try_lock(second)
    os.close(first)
    assert durable.try_lock(second)
    os.close(second)


def test_a_folder_is_free_again_after_a_fault(tmp_path):
    with pytest.raises(KeyError), durable.only_one(tmp_path):
        raise KeyError
    with durable.only_one(tmp_path):
        descriptor = os.open(tmp_path, os.O_RDONLY)
        assert not durable.try_lock(descriptor)
        os.close(descriptor)


def test_what_two_processes_of_one_number_write_at_once_is_of_one_of_them(tmp_path, monkeypatch):
    """As processes of two containers that share a folder."""
    monkeypatch.setattr(durable.os, "getpid", lambda: 7)
    path = tmp_path / "report"
    fsync = os.fsync
    inner = iter([b"other"])

    def meanwhile(descriptor):
        for data in inner:
            durable.replace_file(path, data)
        fsync(descriptor)

    monkeypatch.setattr(durable.os, "fsync", meanwhile)
    durable.replace_file(path, b"a longer text")
    assert path.read_bytes() == b"a longer text"
    assert [item.name for item in tmp_path.iterdir()] == ["report"]


def test_over_nfs_a_file_in_the_folder_is_locked(tmp_path, monkeypatch):
    flock = durable.fcntl.flock

    def as_nfs(descriptor, how):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, how)

    monkeypatch.setattr(durable.fcntl, "flock", as_nfs)
    for _ in range(2):
        with durable.only_one(tmp_path):
            descriptor = os.open(tmp_path / durable.LOCK_NAME, os.O_RDWR)
            assert not durable.try_lock(descriptor)
            os.close(descriptor)


def test_a_folder_that_cannot_be_locked_is_an_error(tmp_path, monkeypatch):
    before = len(list(Path("/proc/self/fd").iterdir()))

    def refused(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(durable.fcntl, "flock", refused)
    with pytest.raises(OSError, match="No locks available"), durable.only_one(tmp_path):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
