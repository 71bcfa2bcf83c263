import socket

import pytest

from energyaware.errors import OptionError
from energyaware.meters.carbon import CarbonIntensity, intensity


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    asked = []

    def refuse(*arguments):
        asked.append(arguments[1:])
        raise OSError("there is no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert asked == []


def test_grams_of_a_kilowatt_hour():
    assert CarbonIntensity(400.0, "a table").grams(3.6e6) == pytest.approx(400.0)
    assert CarbonIntensity(400.0, "a table").grams(0.0) == 0.0


def test_countries_differ_and_are_named():
    france, poland = intensity("FRA"), intensity("POL")
    assert 0 < france.g_per_kwh < 0.5 * poland.g_per_kwh < 600
    assert france.origin == "CodeCarbon's table, FRA"


@pytest.mark.parametrize("country", ["deu", "DEU"])
def test_the_code_may_be_written_small(country):
    assert intensity(country) == intensity("DEU")


@pytest.mark.parametrize("country", ["USA", "CAN", "CHN", "SWE"])
def test_countries_with_regions_need_none(country):
    assert 0 < intensity(country).g_per_kwh < 1000


def test_without_a_country_it_is_the_world(monkeypatch):
    world = intensity(None)
    assert 300 < world.g_per_kwh < 700
    assert world.origin == "CodeCarbon's table, world average"


@pytest.mark.parametrize("country", ["XYZ", "", "Germany", "DE", "<script>"])
def test_an_unknown_country_is_refused_with_an_example(country):
    with pytest.raises(OptionError, match="has no country") as caught:
        intensity(country)
    assert repr(country) in caught.value.cause
    assert "--energy-country=DEU" in caught.value.remedy
