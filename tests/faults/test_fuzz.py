"""Whatever comes from outside is read, or refused with cause and remedy: a few of `benchmarks.promises.fuzz`."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.promises import fuzz
from benchmarks.promises import fuzz_targets as targets
from energyaware.baselines.durable import complete_lines
from energyaware.errors import OptionError, StoredRunError

FAST = [name for name, target in targets.TARGETS.items() if not target.slow]
SLOW = [name for name, target in targets.TARGETS.items() if target.slow]


def try_some(name, count, tmp_path_factory):
    target = targets.TARGETS[name]

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def one(value):
        targets.attempt(target, value, tmp_path_factory.mktemp("input"))

    one()


@pytest.mark.parametrize("name", FAST)
def test_any_input_is_read_or_refused(name, tmp_path_factory):
    try_some(name, 40, tmp_path_factory)


@pytest.mark.parametrize("name", SLOW)
def test_any_name_is_found_or_refused(name, tmp_path_factory):
    try_some(name, 8, tmp_path_factory)


def test_a_crash_is_noticed_and_counted(tmp_path):
    target = targets.Target(st.none(), lambda *_: json.loads("{"))
    with pytest.raises(ValueError, match="Expecting"):
        targets.attempt(target, None, tmp_path)
    tried, crashes = fuzz.try_many(target, 3)
    assert tried == len(crashes) > 0


@pytest.mark.parametrize("name", targets.TARGETS)
def test_inputs_beside_which_others_are_drawn_are_valid(name, tmp_path):
    target = targets.TARGETS[name]
    assert target.seeds
    for number, seed in enumerate(target.seeds):
        folder = tmp_path / str(number)
        folder.mkdir()
        target.read(target.decode(seed), folder)


def test_the_usual_page_has_scripts_to_compare_with():
    assert "<script" in targets._usual_page()


def test_bytes_stand_for_every_option_and_every_data_file():
    assert {targets._as_ini(bytes([number]))[0] for number in range(256)} == set(targets.INI)
    found = [targets._as_data_file(bytes([first, second])) for first in range(12) for second in range(12)]
    assert {name for name, *_ in found} == set(targets.data_files())
    assert {task for _, task, _ in found} == set(targets.TASK_COLUMNS)
    assert targets._as_ini(b"") == ("energy_suite", "")
    assert targets._as_data_file(b"")[2] == b""


def test_an_ini_value_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(OptionError, match="--energy-rounds=x"):
        targets._ini(("energy_rounds", "x"), tmp_path)


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("energyaware.baselines.durable._MOST_LINE_BYTES", 1000)
    path = tmp_path / "journal"
    path.write_bytes(b"{}\n" + b"x" * 5000)
    with path.open("rb") as stream:
        lines = complete_lines(stream)
        assert next(lines) == b"{}\n"
        with pytest.raises(StoredRunError, match="has a line of over") as caught:
            next(lines)
    assert str(path) in caught.value.cause
