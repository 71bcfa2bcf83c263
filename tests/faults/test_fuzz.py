"""Whatever comes from outside is read, or refused with cause and remedy: a few of `benchmarks.promises.fuzz`."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.promises import fuzz
from energyaware.baselines.durable import complete_lines
from energyaware.errors import OptionError, StoredRunError

FAST = [name for name, target in fuzz.TARGETS.items() if not target.slow]
SLOW = [name for name, target in fuzz.TARGETS.items() if target.slow]


def try_some(name, count, tmp_path_factory):
    target = fuzz.TARGETS[name]

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def one(value):
        fuzz.attempt(target, value, tmp_path_factory.mktemp("input"))

    one()


@pytest.mark.parametrize("name", FAST)
def test_any_input_is_read_or_refused(name, tmp_path_factory):
    try_some(name, 40, tmp_path_factory)


@pytest.mark.parametrize("name", SLOW)
def test_any_name_is_found_or_refused(name, tmp_path_factory):
    try_some(name, 8, tmp_path_factory)


def test_a_crash_is_noticed_and_counted(tmp_path):
    target = fuzz.Target(st.none(), lambda *_: json.loads("{"))
    with pytest.raises(ValueError, match="Expecting"):
        fuzz.attempt(target, None, tmp_path)
    tried, crashes = fuzz.try_many(target, 3)
    assert tried == len(crashes) > 0


def test_the_valid_inputs_beside_which_others_are_drawn_are_valid(tmp_path):
    def empty(name):
        (tmp_path / name).mkdir()
        return tmp_path / name

    fuzz._stored_run(json.dumps(fuzz.run_file()).encode(), empty("a"))
    assert "<script" in fuzz._usual_page()
    fuzz._merged(json.dumps(fuzz.run_file()).encode(), empty("b"))
    journal = json.dumps(fuzz.HEADER).encode() + b"\n" + json.dumps(fuzz.finished()).encode() + b"\n"
    fuzz._journal(journal, empty("c"))
    fuzz._message(json.dumps(fuzz.COLLECTED).encode(), empty("d"))
    fuzz._limit("energy:5%", tmp_path)
    fuzz._ini(("energy_rounds", "5"), tmp_path)


def test_an_ini_value_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(OptionError, match="--energy-rounds=x"):
        fuzz._ini(("energy_rounds", "x"), tmp_path)


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
