import contextlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.dvfs import state
from energyaware.dvfs.state import Prior, boot_id, load, lock_file, remove, save, state_dir, state_file
from energyaware.errors import KnobError

PRIOR = Prior("cpu", {"policy0/scaling_max_freq": 3_100_000}, "b-1", 42)
GOOD = {"schema": 1, "knob": "cpu", "values": {"a": 1}, "boot_id": "b", "pid": 42}


def test_what_is_saved_is_loaded_and_removed(tmp_path):
    path = tmp_path / "new" / "folder" / "state.json"
    save(PRIOR, path)
    assert load(path) == PRIOR
    assert [item.name for item in path.parent.iterdir()] == ["state.json"]
    assert path.stat().st_mode & 0o777 == 0o600
    remove(path)
    assert load(path) is None
    remove(path)


def test_it_is_whole_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (steps.append("sync"), sync(file)))
    # Path.replace calls it too.
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("rename"), replace(*names)))
    save(PRIOR, tmp_path / "state.json")
    assert steps == ["sync", "rename", "sync"]


def test_a_link_in_the_drafts_place_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "state.new").symlink_to(tmp_path / "precious")
    save(PRIOR, tmp_path / "state.json")
    assert (tmp_path / "precious").read_text() == "mine"
    assert load(tmp_path / "state.json") == PRIOR


def test_a_folder_that_cannot_be_written_stops_before_anything_changes(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KnobError, match=r"nothing is changed.*ENERGYAWARE_STATE"):
        save(PRIOR, tmp_path / "file" / "state.json")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema": 2}, "schema is 2"),
        ({"knob": "gpu"}, "knob is 'gpu'"),
        ({"knob": ["cpu"]}, "knob is"),
        ({"extra": 1}, "does not hold exactly"),
        ({"values": {}}, "values is {}"),
        ({"values": [1]}, "values is"),
        ({"values": {"a": True}}, "'a' is True"),
        ({"values": {"a": 1.5}}, "'a' is 1.5"),
        ({"values": {"a": "1"}}, "'a' is '1'"),
        ({"values": {"a": -1}}, "'a' is -1"),
        ({"values": {"a": 10**13}}, "'a' is 1"),
        ({"values": {"a" * 101: 1}}, "…"),
        ({"values": {str(index): 1 for index in range(20_001)}}, "values is"),
        ({"boot_id": None}, "boot_id is None"),
        ({"pid": 0}, "pid is 0"),
        ({"pid": True}, "pid is True"),
    ],
)
def test_a_field_that_says_something_else_is_named(tmp_path, change, expected):
    path = tmp_path / "state.json"
    path.write_text(json.dumps({**GOOD, **change}))
    path.chmod(0o600)
    with pytest.raises(KnobError) as caught:
        load(path)
    assert expected in caught.value.cause
    assert len(caught.value.cause) < 600
    assert "Nothing was changed" in caught.value.cause


def written(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"[" * 100_000, b" " * 1_000_001])
def test_damaged_files_are_refused(tmp_path, content):
    with pytest.raises(KnobError, match="cannot be trusted"):
        load(written(tmp_path / "state.json", content))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    )
)
def test_any_json_is_read_or_refused(tmp_path_factory, data):
    path = written(tmp_path_factory.getbasetemp() / "state.json", json.dumps(data).encode())
    with contextlib.suppress(KnobError):
        load(path)


def test_what_others_could_have_made_is_refused(tmp_path, monkeypatch):
    content = json.dumps(GOOD).encode()
    path = written(tmp_path / "state.json", content)
    assert load(path).pid == 42
    path.chmod(0o622)
    with pytest.raises(KnobError, match="others may write it"):
        load(path)
    link = tmp_path / "link.json"
    link.symlink_to(written(tmp_path / "aim.json", content))
    with pytest.raises(KnobError, match="cannot be trusted"):
        load(link)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(KnobError, match="no plain file"):
        load(tmp_path / "folder.json")
    os.mkfifo(tmp_path / "pipe.json", 0o600)
    with pytest.raises(KnobError, match="no plain file"):
        load(tmp_path / "pipe.json")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    path.chmod(0o600)
    with pytest.raises(KnobError, match="another user"):
        load(path)


def test_places_are_the_users_and_the_machines(monkeypatch, tmp_path):
    monkeypatch.setenv("ENERGYAWARE_STATE", str(tmp_path / "here"))
    assert state_dir() == tmp_path / "here"
    monkeypatch.delenv("ENERGYAWARE_STATE")
    assert state_dir().name == "energyaware"
    monkeypatch.setattr(state.platform, "node", lambda: "../ho st")
    assert state_file(tmp_path).parent == lock_file(tmp_path).parent == tmp_path
    assert state_file(tmp_path).name == "dvfs-.._ho_st.json"


def test_the_kernels_start_has_a_name_or_none(tmp_path):
    assert boot_id(tmp_path) == ""
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b-1\n")
    assert boot_id(tmp_path) == "b-1"
