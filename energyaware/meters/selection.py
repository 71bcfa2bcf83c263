"""From the name that a user types to an open meter, and what every meter says for itself."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from energyaware.errors import EnergyAwareError, MeterError, OptionError
from energyaware.meters.base import Combined, Meter, MeterFactory
from energyaware.meters.ranks import reads_machine
from energyaware.records import Domain

BUILT_IN = ("auto", "zeus", "rapl", "cpu-time", "codecarbon", "replay:FILE")


def cpu_time(core_watts: float | None, domains: Sequence[str] | None = None) -> Meter:
    """The estimate from CPU seconds, with this machine's watts; of both domains or only some."""
    from energyaware.meters.cpu_time import DOMAINS, CpuTimeMeter, core_power

    return CpuTimeMeter(core_power(core_watts), DOMAINS if domains is None else domains)


def best_available(core_watts: float | None, gpus: Sequence[int] | None = None) -> Meter:
    """A counter for every domain that has one, `cpu-time` for CPU and DRAM where nothing counts them.

    A package counter without one for DRAM (most client CPUs) leaves DRAM to the model of `cpu-time`: totals then hold
    the same parts on every machine, and the row says `mixed`. Ranks other than the first leave CPU and DRAM to the
    first where it has counters for them.

    Raises:
        MeterError: the run uses GPUs and none of their counters can be read: the joules of the CPU alone would pass for
            the whole.
    """
    from energyaware.meters import rapl, zeus

    parts: list[Meter] = []
    counted: set[str] = set()
    # A counter that cannot be opened is not the end: the header shows what is estimated, and `survey` tells why.
    if gpus or (gpus is None and zeus.counters_in_sight()):
        try:
            devices = zeus.ZeusMeter(gpus)
        except MeterError:
            if gpus:
                raise
        else:
            parts.append(devices)
            counted |= {"cpu", "dram"} if devices.covers_cpu else set()
    if not counted and rapl.in_sight():
        with contextlib.suppress(MeterError):
            packages = rapl.RaplMeter(environ={})
            counted |= {domain.rstrip("0123456789") for domain in packages.domains}
            if reads_machine(os.environ):
                parts.append(packages)
            else:
                packages.close()
    missing = [domain for domain in ("cpu", "dram") if domain not in counted]
    if missing:
        parts.append(cpu_time(core_watts, missing))
    if not parts:
        return rapl.RaplMeter()  # which says that another rank reads it
    return parts[0] if len(parts) == 1 else Combined(parts)


def open_meter(
    name: str,
    core_watts: float | None,
    registered: Mapping[str, MeterFactory],
    gpus: Sequence[int] | None = None,
) -> Meter:
    """Open the meter that `--energy-meter` names.

    Args:
        registered: meters of other plugins (hook `pytest_energy_meters`), by name.
        gpus: GPUs that the run uses, as torch numbers them; empty for none, None for all that this process sees.

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
        return best_available(core_watts, gpus)
    if name == "cpu-time":
        return cpu_time(core_watts)
    if name == "codecarbon":
        from energyaware.meters.codecarbon import CodeCarbonMeter

        return CodeCarbonMeter()
    if name == "zeus":
        from energyaware.meters.zeus import ZeusMeter

        return ZeusMeter(gpus)
    if name == "rapl":
        from energyaware.meters.rapl import RaplMeter

        return RaplMeter()
    if name.startswith("replay:"):
        from energyaware.meters import replay

        return replay.load(Path(name.removeprefix("replay:")))
    names = (*BUILT_IN, *registered)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise OptionError(f"no meter is called {name!r}", f"{hint}Known: {', '.join(names)}")


@dataclass(frozen=True)
class MeterReport:
    """What one meter says for itself on this machine.

    Attributes:
        works: whether it opened and one window of it could be read.
        domains: what it reads.
        problem: why it does not work, or what it leaves out.
        remedy: what the user can do.
    """

    name: str
    works: bool
    domains: Mapping[str, Domain] = field(default_factory=dict)
    problem: str = ""
    remedy: str = ""


def survey(core_watts: float | None, registered: Mapping[str, MeterFactory]) -> tuple[MeterReport, ...]:
    """Try every meter, built in and of other plugins. Never raises, never loads torch."""
    names = dict.fromkeys(("zeus", "rapl", "cpu-time", "codecarbon", *registered))
    return tuple(_report(name, core_watts, registered) for name in names)


def _report(name: str, core_watts: float | None, registered: Mapping[str, MeterFactory]) -> MeterReport:
    try:
        meter = open_meter(name, core_watts, registered)
        try:
            meter.stop(meter.start())
            domains = dict(meter.domains)
            left_out: Mapping[str, str] = getattr(meter, "left_out", {})
        finally:
            meter.close()
    except EnergyAwareError as error:
        return MeterReport(name, works=False, problem=error.cause, remedy=error.remedy)
    except Exception as error:  # noqa: BLE001 - a meter of another plugin may raise anything
        problem = f"{type(error).__name__}: {error}"
        return MeterReport(name, works=False, problem=problem, remedy="see the plugin that offers it")
    problem = "; ".join(f"{device} is not read: {reason}" for device, reason in left_out.items())
    return MeterReport(name, True, domains, problem)
