import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.errors import OptionError
from energyaware.meters import carbon
from energyaware.meters.carbon import CarbonIntensity, intensity

pytestmark = pytest.mark.usefixtures("no_network")


def test_grams_of_a_kilowatt_hour():
    assert CarbonIntensity(400.0, "a table", 2023).grams(3.6e6) == pytest.approx(400.0)
    assert CarbonIntensity(400.0, "a table", 2023).grams(0.0) == 0.0


def test_countries_differ_and_are_named():
    france, poland = intensity("FRA"), intensity("POL")
    assert 0 < france.g_per_kwh < 0.5 * poland.g_per_kwh < 600
    assert france.origin.startswith("CodeCarbon ")
    assert france.origin.endswith(", FRA")
    assert france.year == 2023


@pytest.mark.parametrize("country", ["deu", "DEU"])
def test_the_code_may_be_written_small(country):
    assert intensity(country) == intensity("DEU")


@pytest.mark.parametrize("country", ["USA", "CAN", "CHN", "SWE"])
def test_countries_with_regions_need_none(country):
    assert 0 < intensity(country).g_per_kwh < 1000


def test_without_a_country_it_is_the_world():
    world = intensity(None)
    assert 300 < world.g_per_kwh < 700
    assert "world average of the IEA" in world.origin
    assert world.year == 2019


@pytest.mark.parametrize(
    ("place", "low", "high", "said"),
    [
        ("USA-CA", 100, 300, "USA california"),
        ("usa-new-york", 100, 350, "USA new york"),
        ("USA-new york", 100, 350, "USA new york"),
        ("USA-wy", 500, 1000, "USA wyoming"),
        ("CAN-quebec", 1, 50, "CAN quebec"),
        ("CAN-British-Columbia", 1, 60, "CAN british columbia"),
        ("CHN-BJ", 400, 700, "CHN beijing"),
        ("chn-inner-mongolia", 400, 1000, "CHN inner mongolia"),
        ("SWE-SE3", 1, 60, "SWE SE3"),
        ("nor-no1", 1, 60, "NOR NO1"),
    ],
)
def test_a_region_has_its_own_intensity_and_year(place, low, high, said):
    region = intensity(place)
    assert low < region.g_per_kwh < high
    assert said in region.origin
    assert region.year in range(2020, 2031)
    assert region.g_per_kwh != intensity(place[:3]).g_per_kwh


def test_a_region_by_code_and_by_name_is_the_same():
    assert intensity("USA-CA") == intensity("USA-california")
    assert intensity("CHN-BJ") == intensity("CHN-beijing")


@pytest.mark.parametrize(
    "place", ["USA-XX", "USA-", "USA-usa", "USA-_source", "CAN-", "CAN-texas", "SWE-NO1", "FIN-SE1", "CHN-tibet"]
)
def test_an_unknown_region_is_refused_with_the_known_ones(place):
    with pytest.raises(OptionError, match="has no region") as caught:
        intensity(place)
    assert caught.value.remedy.startswith("known: ")
    assert len(caught.value.remedy) > len("known: ")


def test_a_country_without_regions_says_so():
    with pytest.raises(OptionError, match="no regions of DEU") as caught:
        intensity("DEU-BY")
    assert "--energy-country=DEU" in caught.value.remedy


@pytest.mark.parametrize("country", ["XYZ", "", "Germany", "DE", "<script>", "-", "XYZ-A", "-CA"])
def test_an_unknown_country_is_refused_with_an_example(country):
    with pytest.raises(OptionError, match="has no country") as caught:
        intensity(country)
    assert repr(country) in caught.value.cause
    assert "--energy-country=DEU" in caught.value.remedy


def test_what_codecarbon_says_of_a_year_is_what_is_said():
    from codecarbon.input import DataSource

    table = DataSource().get_global_energy_mix_data()
    years = {code: intensity(code).year for code in ("DEU", "AFG", "USA")}
    assert years == {code: table[code]["year"] for code in years}
    assert len(set(years.values())) > 1


def test_the_world_and_every_country_are_what_codecarbon_computes():
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    data = DataSource()
    emissions, unit = Emissions(data), Energy.from_energy(kWh=1.0)
    for code in data.get_global_energy_mix_data():
        kg = emissions.get_country_emissions(unit, GeoMetadata(country_iso_code=code))
        assert intensity(code).g_per_kwh == pytest.approx(kg * 1000, rel=1e-12), code
    # What CodeCarbon falls back on where it does not know the country.
    kg = emissions.get_country_emissions(unit, GeoMetadata(country_iso_code="nowhere"))
    assert intensity(None).g_per_kwh == pytest.approx(kg * 1000, rel=1e-12)


def test_a_country_whose_intensity_is_not_stated_is_computed_from_its_mix(monkeypatch):
    from codecarbon.input import DataSource

    stated = intensity("POL")
    table = DataSource().get_global_energy_mix_data()
    monkeypatch.setattr(carbon, "_table", lambda path: {"POL": table["POL"] | {"carbon_intensity": None}})
    assert intensity("POL") == CarbonIntensity(pytest.approx(stated.g_per_kwh), stated.origin, stated.year)


@pytest.mark.parametrize("place", [None, "DEU"])
def test_neither_pandas_nor_what_asks_the_network_is_loaded_for_it(place):
    code = (
        "import sys\n"
        "from energyaware.meters.carbon import intensity\n"
        f"intensity({place!r})\n"
        "print({'pandas', 'requests', 'pycountry'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@given(st.floats(0, 1e15), st.floats(0, 2000))
def test_grams_grow_with_joules_and_are_never_negative(energy_j, g_per_kwh):
    carbon = CarbonIntensity(g_per_kwh, "a table", 2023)
    assert 0 <= carbon.grams(energy_j) <= carbon.grams(2 * energy_j)
    assert dataclasses.replace(carbon, g_per_kwh=0.0).grams(energy_j) == 0
