"""From the name that a user types to an open meter."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from energyaware.errors import MeterError, OptionError
from energyaware.meters.base import Combined, Meter, MeterFactory

BUILT_IN = ("auto", "cpu-time", "codecarbon", "zeus", "replay:FILE")


def cpu_time(core_watts: float | None) -> Meter:
    """The estimate from CPU seconds, with this machine's watts."""
    from energyaware.meters.cpu_time import CpuTimeMeter, core_power

    return CpuTimeMeter(core_power(core_watts))


def best_available(core_watts: float | None) -> Meter:
    """A counter for every domain that has one; `cpu-time` for CPU and DRAM where nothing counts them."""
    from energyaware.meters.zeus import ZeusMeter, counters_in_sight

    if not counters_in_sight():
        return cpu_time(core_watts)
    try:
        counters = ZeusMeter()
    except MeterError:
        return cpu_time(core_watts)
    if any(domain == "soc" or domain.startswith("cpu") for domain in counters.domains):
        return counters
    return Combined((counters, cpu_time(core_watts)))


def open_meter(name: str, core_watts: float | None, registered: Mapping[str, MeterFactory]) -> Meter:
    """Open the meter that `--energy-meter` names.

    Args:
        registered: meters of other plugins (hook `pytest_energy_meters`), by name.

    Raises:
        OptionError: no meter has that name.
        MeterError: the meter cannot be opened here.
    """
    if name in registered:
        try:
            return registered[name]()
        except MeterError:
            raise
        except Exception as error:
            raise MeterError(
                f"the meter {name} of another plugin cannot be opened ({type(error).__name__}: {error})",
                "see that plugin, or use --energy-meter=cpu-time",
            ) from error
    if name == "auto":
        return best_available(core_watts)
    if name == "cpu-time":
        return cpu_time(core_watts)
    if name == "codecarbon":
        from energyaware.meters.codecarbon import CodeCarbonMeter

        return CodeCarbonMeter()
    if name == "zeus":
        from energyaware.meters.zeus import ZeusMeter

        return ZeusMeter()
    if name.startswith("replay:"):
        from energyaware.meters import replay

        return replay.load(Path(name.removeprefix("replay:")))
    names = (*BUILT_IN, *registered)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise OptionError(f"no meter is called {name!r}", f"{hint}Known: {', '.join(names)}")
