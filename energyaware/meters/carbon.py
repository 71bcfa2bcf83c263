"""Joules to grams of CO₂ equivalent with CodeCarbon's table of countries. Never asks the network."""

from __future__ import annotations

from dataclasses import dataclass

from energyaware.errors import OptionError
from energyaware.units import kwh


@dataclass(frozen=True, slots=True)
class CarbonIntensity:
    """Grams of CO₂ equivalent per kilowatt-hour, and whose."""

    g_per_kwh: float
    origin: str

    def grams(self, energy_j: float) -> float:
        """CO₂ equivalent of `energy_j` joules, in grams."""
        return kwh(energy_j) * self.g_per_kwh


def intensity(country: str | None) -> CarbonIntensity:
    """The intensity of a country (ISO 3166 alpha-3 code), or CodeCarbon's world average without one.

    Raises:
        OptionError: CodeCarbon's table lacks the country.
    """
    from energyaware.meters.codecarbon import quiet

    with quiet():
        from codecarbon.core.emissions import Emissions
        from codecarbon.core.units import Energy
        from codecarbon.external.geography import GeoMetadata
        from codecarbon.input import DataSource

    data = DataSource()
    if country is not None:
        known = data.get_global_energy_mix_data()
        if country.upper() not in known:
            raise OptionError(
                f"CodeCarbon's table has no country {country!r}",
                "give an ISO 3166 code of three letters, as --energy-country=DEU",
            )
    place = GeoMetadata(country_iso_code=country and country.upper())
    kg = Emissions(data).get_private_infra_emissions(Energy.from_energy(kWh=1.0), place)
    return CarbonIntensity(kg * 1000, f"CodeCarbon's table, {country.upper() if country else 'world average'}")
