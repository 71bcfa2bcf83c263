import contextlib
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energyaware.baselines.codec import from_json, to_json
from energyaware.errors import StoredRunError
from energyaware.records import Benchmark, Domain, Reading, Round, Totals, Variant, Work

word = st.text(max_size=6)
amount = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
count = st.one_of(st.none(), st.integers(0, 2**62))
joules = st.dictionaries(word, amount, min_size=1, max_size=3)
reading = st.builds(Reading, joules, amount)
rounds = st.builds(
    Round, st.integers(1, 10**7), amount, reading, st.none() | reading, st.booleans(),
    st.dictionaries(word, reading, max_size=2),
)  # fmt: skip
quality = st.dictionaries(word, st.floats(allow_nan=False, allow_infinity=False), max_size=2)
texts = st.dictionaries(word, word, max_size=2)
benchmarks = st.builds(
    Benchmark, fullname=word, name=word, group=word, task=word, phase=word, candle=word, layout=word,
    domains=st.dictionaries(
        word, st.builds(Domain, word, st.sampled_from(["measured", "estimated"]), amount, word), max_size=2
    ),
    rounds=st.lists(rounds, max_size=2).map(tuple), variant=st.none() | st.builds(Variant, word, word, word),
    discarded=st.dictionaries(word, st.integers(0, 99), max_size=2), quality=quality,
    scores=st.dictionaries(word, st.lists(st.floats(0, 1), max_size=3).map(tuple), max_size=2),
    example_ids=st.lists(word, max_size=3).map(tuple), trivial_quality=quality,
    work=st.builds(Work, count, count, count, count, count),
    peak_memory_bytes=st.none() | st.integers(1, 2**60), fingerprints=texts, traits=texts,
    notes=st.lists(word, max_size=2).map(tuple), outcome=st.sampled_from(["passed", "failed"]), error=word,
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(benchmarks)
def test_every_benchmark_survives_json(benchmark):
    assert from_json(json.loads(json.dumps(to_json(benchmark))), Benchmark, "file") == benchmark


@given(
    st.builds(
        Totals, st.none() | amount, st.sampled_from([None, "measured", "mixed"]), st.none() | amount, st.none() | amount
    )
)
def test_totals_survive_json(totals):
    assert from_json(json.loads(json.dumps(to_json(totals))), Totals, "file") == totals


def test_a_record_becomes_plain_json_types(bench):
    def check(value):
        assert type(value) in (dict, list, tuple, str, int, float, bool, type(None))
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
            check(part)

    check(to_json(bench(variant=Variant("gpt2"), scores={"accuracy": (1.0, 0.0)})))


@pytest.mark.parametrize("literal", ["0", "0.0", "-1.5", "NaN", "Infinity", "-Infinity"])
def test_a_reading_that_is_no_number_is_refused_in_json_too(bench, literal):
    for place in ("reading", "candle"):
        data = to_json(bench(rounds=3))
        data["rounds"][1][place]["energy_j"]["cpu"] = "HERE"
        damaged = json.loads(json.dumps(data).replace('"HERE"', literal))
        with pytest.raises(StoredRunError, match="not a stored number") as caught:
            from_json(damaged, Benchmark, "0001_main.json: benchmarks[0].energy")
        assert "0001_main.json: benchmarks[0].energy is damaged" in caught.value.cause
        assert f"rounds[1].{place}" in caught.value.cause or f"rounds[...].{place}" in caught.value.cause


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("fullname", None, "fullname"),
        ("fullname", 3, "fullname"),
        ("rounds", "many", "rounds"),
        ("rounds", [{"calls": 1}], "rounds"),
        ("domains", [], "domains"),
        ("domains", {"cpu": {"meter": "x", "source": "guessed", "resolution_s": 1}}, "source"),
        ("outcome", "maybe", "outcome"),
        ("scores", {"accuracy": ["good"]}, "scores"),
        ("work", {"flops": 1.5}, "flops"),
        ("work", {"requests": -3}, "a count of -3"),
        ("quality", {"accuracy": math.nan}, "accuracy is nan"),
        ("peak_memory_bytes", -5, "a peak of -5 bytes"),
    ],
)
def test_a_damaged_member_is_named_with_its_file(bench, member, value, said):
    data = {**to_json(bench()), member: value}
    with pytest.raises(StoredRunError, match="is damaged") as caught:
        from_json(data, Benchmark, "0001_main.json")
    assert "0001_main.json" in caught.value.cause
    assert said in caught.value.cause


def test_a_missing_member_is_named(bench):
    data = to_json(bench())
    del data["candle"]
    with pytest.raises(StoredRunError, match="candle"):
        from_json(data, Benchmark, "file")


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(StoredRunError, match="file is damaged"):
        from_json(data, Benchmark, "file")


def test_members_of_a_later_version_are_left_out(bench):
    benchmark = bench()
    data = {**to_json(benchmark), "colour": "red"}
    data["rounds"][0]["reading"]["humidity"] = 3
    assert from_json(data, Benchmark, "file") == benchmark


def test_a_run_of_an_earlier_version_without_optional_members_is_read():
    data = dict.fromkeys(("fullname", "name", "group", "task", "phase", "candle", "layout"), "x")
    benchmark = from_json({**data, "domains": {}}, Benchmark, "file")
    assert benchmark.rounds == ()
    assert benchmark.work == Work()
    assert benchmark.quality == {}


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(word, inner),
    )
)
def test_whatever_json_says_gives_a_record_or_a_stored_run_error(data):
    for kind in (Benchmark, Totals):
        # No other error gets through.
        with contextlib.suppress(StoredRunError):
            assert isinstance(from_json(data, kind, "file"), kind)
