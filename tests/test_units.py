import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.units import ABSENT, fixed, joules, kwh, percent, si

_FACTORS = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0123, "12.3 mJ"),
        (0, "0 J"),
        (-0.0, "0 J"),
        (1, "1.00 J"),
        (99.97, "100 J"),
        (999.4, "999 J"),
        (999.7, "1.00 kJ"),
        (-999.7, "-1.00 kJ"),
        (0.9997, "1.00 J"),
        (-12.34, "-12.3 J"),
        (3.6e6, "3.60 MJ"),
        (4.2e-10, "0.420 nJ"),
        (1.5e13, "15000 GJ"),
        (None, ABSENT),
        (math.nan, ABSENT),
        (math.inf, ABSENT),
        (-math.inf, ABSENT),
    ],
)
def test_si(value, shown):
    assert si(value, "J") == shown


def test_si_takes_the_number_of_digits():
    assert si(1234.5, "s", digits=4) == "1.234 ks"
    assert si(0.05, "s", digits=1) == "50 ms"


@given(st.floats(1e-9, 1e12).flatmap(lambda value: st.sampled_from([value, -value])))
def test_si_shows_three_digits_of_the_value_and_never_a_thousand(value):
    number, unit = si(value, "J").split(" ")
    assert float(number) * _FACTORS[unit.removesuffix("J")] == pytest.approx(value, rel=5.1e-3)
    assert unit == "GJ" or abs(float(number)) < 1000


@pytest.mark.parametrize(
    ("ratio", "options", "shown"),
    [
        (0.123, {}, "12.3 %"),
        (0.05, {"signed": True}, "+5.0 %"),
        (-0.05, {"signed": True}, "-5.0 %"),
        (-0.05, {}, "-5.0 %"),
        (0.12345, {"digits": 2}, "12.35 %"),
        (0, {}, "0.0 %"),
        (None, {}, ABSENT),
        (math.nan, {"signed": True}, ABSENT),
        (math.inf, {}, ABSENT),
    ],
)
def test_percent(ratio, options, shown):
    assert percent(ratio, **options) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.5, "0.500"), (-1.23456, "-1.235"), (None, ABSENT), (math.nan, ABSENT), (-math.inf, ABSENT)]
)
def test_fixed(value, shown):
    assert fixed(value) == shown


def test_fixed_takes_the_number_of_decimals():
    assert fixed(0.987, 2) == "0.99"


def test_a_kilowatt_hour_is_3_6_megajoules():
    assert joules(1.0) == 3.6e6
    assert kwh(3.6e6) == 1.0


@given(st.floats(-1e200, 1e200))
def test_joules_and_kilowatt_hours_are_inverse(energy_j):
    assert joules(kwh(energy_j)) == pytest.approx(energy_j, rel=1e-15, abs=1e-300)
    assert kwh(joules(energy_j)) == pytest.approx(energy_j, rel=1e-15, abs=1e-300)
