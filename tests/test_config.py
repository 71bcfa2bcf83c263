import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.config import (
    DEFAULT_LIMIT,
    METRICS,
    Limit,
    TestSettings,
    gpus_of,
    parse_limit,
    parse_limits,
    parse_marker,
    require_device,
)
from energyaware.errors import OptionError


@pytest.mark.parametrize(
    ("text", "metric", "value", "relative", "shown"),
    [
        ("energy:5%", "energy", 0.05, True, "energy:5%"),
        ("energy:0.2J", "energy", 0.2, False, "energy:0.2J"),
        ("energy:.5mJ", "energy", 0.0005, False, "energy:0.5mJ"),
        ("  energy : 2.5 %  ", "energy", 0.025, True, "energy:2.5%"),
        ("energy:+5%", "energy", 0.05, True, "energy:5%"),
        ("latency:10%", "latency", 0.1, True, "latency:10%"),
        ("latency:20ms", "latency", 0.02, False, "latency:20ms"),
        ("latency:1.5s", "latency", 1.5, False, "latency:1.5s"),
        ("memory:10%", "memory", 0.1, True, "memory:10%"),
        ("memory:100MB", "memory", 1e8, False, "memory:100MB"),
        ("bytes:1GB", "bytes", 1e9, False, "bytes:1GB"),
        ("flops:0%", "flops", 0.0, True, "flops:0%"),
        ("bytes:0%", "bytes", 0.0, True, "bytes:0%"),
        ("accuracy:3pp", "accuracy", 0.03, False, "accuracy:3pp"),
        ("accuracy:0pp", "accuracy", 0.0, False, "accuracy:0pp"),
        ("macro-f1:1pp", "macro_f1", 0.01, False, "macro_f1:1pp"),
        ("macro_f1:1pp", "macro_f1", 0.01, False, "macro_f1:1pp"),
    ],
)
def test_a_limit_is_read(text, metric, value, relative, shown):
    limit = parse_limit(text)
    assert limit == Limit(metric, pytest.approx(value), relative, shown)
    assert limit.kind == METRICS[metric].kind
    assert parse_limit(limit.text) == limit


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "METRIC:LIMIT"),
        ("energy", "METRIC:LIMIT"),
        ("energy5%", "METRIC:LIMIT"),
        ("energy:5%:3", "METRIC:LIMIT"),
        ("energy:5%, accuracy:3pp", "METRIC:LIMIT"),
        ("joules:5%", "unknown metric 'joules'"),
        ("Energy:5%", "unknown metric 'Energy'"),
        ("energy:5", "no unit"),
        ("energy:", "no unit"),
        ("energy:5W", "unit 'W'"),
        ("energy:5j", "unit 'j'"),
        ("energy:5pp", "unit 'pp'"),
        ("accuracy:3%", "unit '%'"),
        ("flops:3GB", "unit 'GB'"),
        ("energy:-5%", "no number from 0 on"),
        ("accuracy:-1pp", "no number from 0 on"),
        ("energy:%", "no number from 0 on"),
        ("energy:5,5%", "no number from 0 on"),
        ("energy:1.2.3%", "no number from 0 on"),
        ("energy:" + "9" * 400 + "%", "no number from 0 on"),
        ("energy:nan%", "METRIC:LIMIT"),
        ("energy:nanJ", "unit 'nanJ'"),
        ("energy:inf", "unit 'inf'"),
        ("energy:0%", "is noisy"),
        ("latency:0.0ms", "is noisy"),
        ("memory:0%", "is noisy"),
    ],
)
def test_a_limit_that_says_nothing_is_refused_with_a_remedy(text, said):
    with pytest.raises(OptionError, match=re.escape(repr(text))) as caught:
        parse_limit(text)
    assert said in caught.value.cause
    assert caught.value.remedy


def test_an_unknown_metric_or_unit_lists_what_is_known():
    with pytest.raises(OptionError) as caught:
        parse_limit("speed:5%")
    assert all(name in caught.value.remedy for name in METRICS)
    with pytest.raises(OptionError) as caught:
        parse_limit("energy:5kWh")
    assert all(unit in caught.value.remedy for unit in METRICS["energy"].units)


@given(
    st.one_of(
        st.text(),
        st.text("energylatncyflopsacrbm_-01234567890.:% JspGM"),
        st.builds("{}:{}{}".format, st.sampled_from([*METRICS, ""]), st.text(), st.sampled_from(["%", "J", "pp", ""])),
    )
)
def test_whatever_is_typed_gives_a_limit_or_an_option_error(text):
    # No other error gets through.
    with contextlib.suppress(OptionError):
        limit = parse_limit(text)
        assert limit.value > 0 or (limit.value == 0 and limit.kind != "noisy")


@given(st.sampled_from(list(METRICS)), st.decimals(0, 10**6, places=3, allow_nan=False), st.data())
def test_every_decimal_is_read_in_every_unit(metric, number, data):
    unit = data.draw(st.sampled_from(sorted(METRICS[metric].units)))
    if number == 0 and METRICS[metric].kind == "noisy":
        number += 1
    limit = parse_limit(f"{metric}:{number:f}{unit}")
    assert limit.value == pytest.approx(float(number) * METRICS[metric].units[unit])
    assert limit.relative == (unit == "%")


def test_the_last_limit_of_a_metric_counts():
    limits = parse_limits(["energy:5%", "accuracy:3pp", "energy:0.2J"])
    assert {limit.metric: limit.text for limit in limits} == {"energy": "energy:0.2J", "accuracy": "accuracy:3pp"}
    assert parse_limits([]) == ()


def test_the_default_limit_is_one():
    assert parse_limit(DEFAULT_LIMIT).text == DEFAULT_LIMIT


def test_an_empty_marker_leaves_everything_to_the_run():
    assert parse_marker({}) == TestSettings()


def test_a_full_marker():
    settings = parse_marker({"group": "rca", "fail": "energy:3%", "rounds": 40, "candle": "interpreter"})
    assert settings == TestSettings("rca", (parse_limit("energy:3%"),), 40, "interpreter")


@pytest.mark.parametrize("several", [["energy:3%", "flops:0%"], ("energy:3%", "flops:0%")])
def test_a_marker_takes_several_limits(several):
    limits = parse_marker({"fail": several}).limits
    assert limits is not None
    assert [limit.text for limit in limits] == ["energy:3%", "flops:0%"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"groups": "a"}, "no key 'groups'"),
        ({"group": 3}, "group=3"),
        ({"candle": ["matmul"]}, "candle="),
        ({"rounds": 1}, "rounds=1"),
        ({"rounds": -3}, "rounds=-3"),
        ({"rounds": True}, "rounds=True"),
        ({"rounds": 20.0}, "rounds=20.0"),
        ({"rounds": "20"}, "rounds='20'"),
        ({"fail": 5}, "fail=5"),
        ({"fail": ["energy:3%", 5]}, "fail="),
        ({"fail": {"energy": 5}}, "fail="),
        ({"fail": "energy:3"}, "no unit"),
    ],
)
def test_a_marker_that_says_nothing_is_refused(arguments, said):
    with pytest.raises(OptionError) as caught:
        parse_marker(arguments)
    assert said in caught.value.cause


def test_a_misspelt_key_gets_a_hint_and_the_list():
    with pytest.raises(OptionError, match="did you mean group") as caught:
        parse_marker({"grup": "a"})
    assert all(key in caught.value.remedy for key in ("group", "fail", "rounds", "candle"))


def test_a_positional_argument_is_refused():
    with pytest.raises(OptionError, match="no positional argument"):
        parse_marker({}, ("rca",))


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.lists(st.text()))))
def test_whatever_a_marker_holds_gives_settings_or_an_option_error(arguments):
    with contextlib.suppress(OptionError):
        settings = parse_marker(arguments)
        assert set(arguments) <= {"group", "fail", "rounds", "candle"}
        assert settings.rounds is None or settings.rounds >= 2


@pytest.mark.parametrize("text", ["energy:0.00001J", "energy:1234567J", "memory:12345678901MB", "energy:3.1415926535%"])
def test_a_limit_is_shown_as_one_that_reads_back(text):
    limit = parse_limit(text)
    assert parse_limit(limit.text) == limit
    assert limit.text == text


@pytest.mark.parametrize(
    ("device", "gpus"),
    [
        ("auto", None), ("cuda", None), ("cuda:all", None), ("cpu", ()), ("cuda:3", (3,)), ("cuda:1,0", (1, 0)),
    ],
)  # fmt: skip
def test_the_gpus_that_a_device_names(device, gpus):
    assert require_device(device) == device
    assert gpus_of(device) == gpus


@pytest.mark.parametrize(
    "device", ["", "gpu", "cuda:", "cuda:-1", "cuda:0,", "cuda:0,0", "cuda:all,1", "cpu:0", "cuda:1 "]
)
def test_what_is_no_device_is_refused(device):
    with pytest.raises(OptionError, match="--energy-device"):
        require_device(device)
