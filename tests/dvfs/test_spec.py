import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.dvfs.knob import Offer
from energyaware.dvfs.spec import (
    DEFAULT_COUNT,
    MOST_SETTINGS,
    UNITS,
    Spec,
    choose,
    parse_spec,
    refuse_estimated_domain,
    refuse_estimating_meter,
    setting_text,
)
from energyaware.errors import OptionError

RANGE = Offer(800.0, 3700.0, 800.0, 100.0)
TABLE = Offer(1000.0, 2600.0, 1000.0, 100.0, (1000.0, 1333.0, 1667.0, 2000.0, 2600.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", Spec("cpu")),
        ("cpu:5", Spec("cpu", count=5)),
        ("cpu:1.2GHz,1.8GHz, 2.4GHz", Spec("cpu", (1200.0, 1800.0, 2400.0))),
        ("cpu:800000kHz,1.2ghz", Spec("cpu", (800.0, 1200.0))),
        ("cpu : 900 MHz", Spec("cpu", (900.0,))),
        ("package:50W,80W", Spec("package", (50.0, 80.0))),
        ("package:80.5w,50W", Spec("package", (80.5, 50.0))),
        ("gpu-clock:1200MHz", Spec("gpu-clock", (1200.0,))),
        ("gpu-power:3", Spec("gpu-power", count=3)),
    ],
)
def test_a_spec_is_read(text, expected):
    assert parse_spec(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["unknown knob ''", "cpu, package, gpu-clock, gpu-power"]),
        ("gpu", ["unknown knob 'gpu'", "cpu, package"]),
        ("pakage:50W", ["did you mean package?"]),
        ("cpu:", ["'' is no setting of cpu", "GHz, MHz, kHz"]),
        ("cpu:50W", ["'50W' is no setting of cpu", "GHz, MHz, kHz"]),
        ("package:2GHz", ["'2GHz' is no setting of package", "units W"]),
        ("cpu:1.2GHz,", ["'' is no setting"]),
        ("cpu:1.2GHz,1800", ["'1800' is no setting", "units"]),
        ("cpu:0MHz", ["above 0"]),
        ("cpu:-1GHz", ["'-1GHz'"]),
        ("cpu:nanGHz", ["'nanGHz'"]),
        ("cpu:1e3GHz", ["'1e3GHz'"]),
        (f"cpu:{'9' * 400}GHz", ["no setting"]),
        ("cpu:1", ["asks for 1 settings", "from 2 to 50", "cpu:1200MHz"]),
        ("package:80", ["asks for 80 settings", "package:80W"]),
        (f"cpu:{'9' * 5000}", ["no setting"]),
        ("cpu:٣", ["no setting"]),
        ("cpu:1.2GHz,1200MHz", ["twice"]),
    ],
)
def test_what_says_nothing_is_refused_with_the_valid_ones(text, expected):
    with pytest.raises(OptionError) as caught:
        parse_spec(text)
    for part in expected:
        assert part in str(caught.value)


@given(
    st.text(max_size=40) | st.sampled_from(sorted(UNITS)).flatmap(lambda knob: st.text().map(lambda x: f"{knob}:{x}"))
)
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(OptionError):
        assert parse_spec(text).knob in UNITS


@given(st.sampled_from(sorted(UNITS)), st.floats(0.001, 1e5))
def test_a_trait_reads_back(knob, setting):
    (back,) = parse_spec(setting_text(knob, setting)).settings
    assert back == pytest.approx(setting, rel=1e-6)


def test_evenly_spaced_settings_reach_both_ends():
    assert choose(Spec("cpu", count=5), RANGE) == (800.0, 1500.0, 2200.0, 3000.0, 3700.0)
    assert choose(Spec("cpu", count=3), TABLE) == (1000.0, 1667.0, 2600.0)
    assert len(choose(Spec("cpu"), RANGE)) == DEFAULT_COUNT


@given(st.floats(1, 5000), st.floats(0, 5000), st.integers(2, MOST_SETTINGS), st.sampled_from([1.0, 5.0, 100.0]))
def test_evenly_spaced_settings_lie_within_the_offer(low, width, count, step):
    offer = Offer(low, low + width, low, step)
    try:
        found = choose(Spec("cpu", count=count), offer)
    except OptionError:
        assert width < step * count  # too narrow for two multiples of the step
        return
    assert 2 <= len(found) <= count
    assert list(found) == sorted(set(found))
    assert offer.lowest <= found[0] <= found[-1] <= offer.highest


def test_settings_of_a_table_are_its_own_numbers():
    assert choose(Spec("cpu", (2000.0, 1330.0)), TABLE) == (2000.0, 1333.0)


@pytest.mark.parametrize(
    ("setting", "offer", "expected"),
    [
        (1500.0, TABLE, "1000, 1333, 1667, 2000, 2600 MHz"),
        (3800.0, RANGE, "800 to 3700 MHz"),
        (799.0, RANGE, "800 to 3700 MHz"),
    ],
)
def test_a_setting_that_is_not_offered_is_refused_with_what_is(setting, offer, expected):
    with pytest.raises(OptionError) as caught:
        choose(Spec("cpu", (setting,)), offer)
    assert f"{setting:g} MHz is not offered" in str(caught.value)
    assert expected in str(caught.value)


def test_of_many_choices_the_nearest_are_named():
    offer = Offer(210.0, 1980.0, 210.0, 15.0, tuple(float(clock) for clock in range(210, 1981, 15)))
    with pytest.raises(OptionError) as caught:
        choose(Spec("gpu-clock", (1207.5,)), offer)
    assert "1200" not in str(caught.value).split("offered")[0]
    assert "1215" in str(caught.value)
    assert "of 119 from 210 to 1980 MHz" in str(caught.value)


def test_one_frequency_is_nothing_to_sweep():
    with pytest.raises(OptionError, match="nothing to compare"):
        choose(Spec("cpu"), Offer(2000.0, 2000.0, 2000.0, 100.0))


@pytest.mark.parametrize("meter", ["cpu-time", "codecarbon"])
def test_meters_that_estimate_are_refused_with_the_reason(meter):
    with pytest.raises(OptionError, match="would call the highest setting best"):
        refuse_estimating_meter(Spec("cpu"), meter)


def test_other_meters_are_judged_by_their_domains():
    refuse_estimating_meter(Spec("cpu"), "auto")
    refuse_estimating_meter(Spec("cpu"), "mine")


@pytest.mark.parametrize(
    ("domain", "sources"),
    [
        ("cpu", {"cpu": "measured"}),
        ("cpu", {"cpu0": "measured", "cpu1": "measured", "gpu0": "estimated"}),
        ("cpu", {"soc": "measured"}),
        ("gpu0", {"gpu0": "measured", "cpu": "estimated"}),
    ],
)
def test_a_measured_domain_may_be_swept(domain, sources):
    refuse_estimated_domain("cpu", domain, sources)


@pytest.mark.parametrize(
    ("domain", "sources", "expected"),
    [
        ("cpu", {"cpu": "estimated", "gpu0": "measured"}, "the meter of cpu estimates"),
        ("cpu", {"cpu0": "measured", "cpu1": "estimated"}, "the meter of cpu1 estimates"),
        ("cpu", {"gpu0": "measured", "dram": "measured"}, "does not read"),
        ("gpu1", {"gpu0": "measured", "gpu10": "measured"}, "does not read"),
        ("cpu", {}, "it reads nothing"),
    ],
)
def test_what_is_not_measured_is_refused(domain, sources, expected):
    with pytest.raises(OptionError, match=expected):
        refuse_estimated_domain("cpu", domain, sources)
