"""Joules to grams of CO₂ equivalent with the tables that CodeCarbon carries. Never asks the network.

CodeCarbon's own reader of tables loads pandas, and its formulas load what asks services on the network. The world and a
country are one number in a JSON table each, which is read here; regions are left to CodeCarbon.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from energyaware.errors import OptionError
from energyaware.units import kwh

# Countries of whose regions CodeCarbon has figures; the bidding zones of the Nordic ones begin with these letters.
_NORDIC = {"FIN": "FI", "NOR": "NO", "SWE": "SE"}
_REGIONAL = ("USA", "CAN", "CHN", *_NORDIC)


@dataclass(frozen=True, slots=True)
class CarbonIntensity:
    """Grams of CO₂ equivalent per kilowatt-hour, whose, and of which year.

    Attributes:
        origin: the table and its entry.
        year: the year of the figures as the table states it; None where it states none.
    """

    g_per_kwh: float
    origin: str
    year: int | None = None

    @property
    def described(self) -> str:
        """Origin and year, as people read them."""
        return f"{self.origin}, {self.year}" if self.year is not None else f"{self.origin}, year not stated"

    def grams(self, energy_j: float) -> float:
        """CO₂ equivalent of `energy_j` joules, in grams."""
        return kwh(energy_j) * self.g_per_kwh


class _Region(NamedTuple):
    """A region as CodeCarbon knows it.

    Attributes:
        name: as its functions take it.
        code: the short one, where it has one.
    """

    name: str
    code: str
    year: int | None
    source: str


def intensity(place: str | None) -> CarbonIntensity:
    """The intensity of a country or of one of its regions, or the world average without one.

    Args:
        place: an ISO 3166 alpha-3 code (`DEU`), or one with a region: `USA-CA`, `USA-new-york`, `CAN-quebec`,
            `CHN-beijing`, `SWE-SE3`; in either case of letters.

    Raises:
        OptionError: CodeCarbon's tables lack the country or the region.
    """
    from energyaware.meters.codecarbon import quiet

    with quiet():
        from codecarbon import __version__
        from codecarbon.input import DataSource

    data = DataSource()
    table = f"CodeCarbon {__version__}"
    if place is None:
        world = _table(data.carbon_intensity_per_source_path)
        # The table has no field for the year; the report that it cites bears one, and tells of the year before.
        origin = f"{table}, world average of the IEA's status report"
        year = _year(r"status-report-(\d{4})", str(world["world_average_source"]))
        return CarbonIntensity(float(world["world_average"]), origin, year)
    country, hyphen, wanted = place.partition("-")
    country = country.upper()
    countries = _table(data.global_energy_mix_data_path)
    if country not in countries:
        raise OptionError(
            f"CodeCarbon's table has no country {place!r}",
            "give an ISO 3166 code of three letters, as --energy-country=DEU",
        )
    if not hyphen:
        entry = countries[country]
        stated = entry.get("carbon_intensity")
        g_per_kwh = _computed(data, country) if stated is None else float(stated)
        return CarbonIntensity(g_per_kwh, f"{table}, {country}", int(entry["year"]))
    region = _region(data, country, wanted)
    origin = f"{table}, {country} {region.name} ({region.source})"
    return CarbonIntensity(_computed(data, country, region.name), origin, region.year)


def _table(path: Path) -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table


def _computed(data: Any, country: str, region: str | None = None) -> float:
    """Grams per kilowatt-hour by CodeCarbon's formulas."""
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata

    emissions, unit = Emissions(data), Energy.from_energy(kWh=1.0)
    place = GeoMetadata(country_iso_code=country, region=region)
    compute = emissions.get_country_emissions if region is None else emissions.get_region_emissions
    return float(compute(unit, place)) * 1000


def _region(data: Any, country: str, wanted: str) -> _Region:
    if country not in _REGIONAL:
        raise OptionError(
            f"CodeCarbon has no regions of {country}, only of {', '.join(_REGIONAL)}",
            f"give the country alone, as --energy-country={country}",
        )
    regions = _regions(data, country)
    spelled = wanted.replace(" ", "-").casefold()
    for region in regions:
        if spelled and spelled in (region.code.casefold(), region.name.casefold().replace(" ", "-")):
            return region
    names = ", ".join(region.code or region.name.replace(" ", "-") for region in regions)
    raise OptionError(f"CodeCarbon's table of {country} has no region {wanted!r}", f"known: {names}")


def _regions(data: Any, country: str) -> list[_Region]:
    if country in _NORDIC:
        zones: Mapping[str, Mapping[str, Any]] = data.get_nordic_country_energy_mix_data()["data"]
        return [
            _Region(zone, zone, int(item["year"]), "bidding zone")
            for zone, item in zones.items()
            if zone.startswith(_NORDIC[country])
        ]
    if country == "CHN":
        provinces: Mapping[str, Mapping[str, Any]] = data.get_china_provincial_emissions_data()["data"]
        return [
            _Region(item["names"][0], code.removeprefix("CN-"), int(item["year"]), "CO₂ alone, Chinese ministries")
            for code, item in provinces.items()
        ]
    if country == "USA":
        states: Mapping[str, Mapping[str, Any]] = data.get_country_emissions_data("usa")
        return [
            _Region(name, item["regionCode"], int(states["_source"]["year"]), "eGRID")
            for name, item in states.items()
            if not name.startswith("_") and name != "usa"
        ]
    # The table of Canada states no year; the folder that holds it bears one.
    year = _year(r"/(\d{4})/", str(data.config["can_energy_mix_data_path"]))
    source = "fuels alone, year of the table's folder"
    return [_Region(name, "", year, source) for name in data.get_country_energy_mix_data("can")]


def _year(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None
