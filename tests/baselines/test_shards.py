import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.baselines.shards import Shard, ShardRecord, parse_shard, plan_of, split
from energyaware.errors import OptionError

names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=40, unique=True)


def test_a_part_is_read():
    assert parse_shard(" 2/4 ") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/2", "1.0/4", "²/4", "1/99999999"])
def test_what_is_no_part_shows_how_to_write_one(text):
    with pytest.raises(OptionError, match="--energy-shard=2/4"):
        parse_shard(text)


@given(ids=names, count=st.integers(1, 12), data=st.data())
def test_each_benchmark_is_in_exactly_one_part_and_none_is_empty(ids, count, data):
    durations = data.draw(st.dictionaries(st.sampled_from(ids), st.floats(0, 1e6), max_size=len(ids)))
    if count > len(ids):
        with pytest.raises(OptionError, match="would be empty"):
            split(ids, count, durations)
        return
    parts = split(ids, count, durations)
    assert set(parts) == set(ids)
    assert set(parts.values()) == set(range(1, count + 1))
    shuffled = data.draw(st.permutations(ids))
    assert split(shuffled, count, durations) == parts
    assert plan_of(split(shuffled, count, durations)) == plan_of(parts)


def test_parts_without_known_durations_have_equal_numbers():
    parts = split([f"t{index}" for index in range(10)], 5, {})
    assert sorted(parts.values()) == sorted([1, 2, 3, 4, 5] * 2)


def test_parts_are_balanced_by_durations():
    parts = split(["long", "a", "b", "c"], 2, {"long": 9.0, "a": 3.0, "b": 3.0, "c": 3.0})
    assert len({parts["a"], parts["b"], parts["c"]}) == 1
    assert parts["long"] != parts["a"]


def test_an_unknown_benchmark_counts_as_a_usual_one():
    parts = split(["a", "b", "new"], 3, {"a": 5.0, "b": 1.0})
    assert sorted(parts.values()) == [1, 2, 3]


def test_another_split_is_another_plan():
    assert plan_of({"a": 1, "b": 2}) != plan_of({"a": 2, "b": 1})
    assert plan_of({"a": 1, "b": 2}) == plan_of({"b": 2, "a": 1})


def test_a_record_of_no_part_is_refused():
    with pytest.raises(ValueError, match="part 3 of 2"):
        ShardRecord(3, 2, "", ())
