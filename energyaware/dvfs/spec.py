"""What `--energy-dvfs=SPEC` says: which knob, and which settings.

SPEC    = KNOB [":" (COUNT | SETTING {"," SETTING})]
KNOB    = "cpu" | "package" | "gpu-clock" | "gpu-power"
SETTING = number and unit: GHz, MHz, kHz for clocks, W for power caps
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass

from energyaware.dvfs.knob import Offer
from energyaware.errors import OptionError

CLOCK_UNITS = {"GHz": 1000.0, "MHz": 1.0, "kHz": 0.001}
POWER_UNITS = {"W": 1.0}
UNITS = {"cpu": "MHz", "package": "W", "gpu-clock": "MHz", "gpu-power": "W"}
"""Knobs, and the unit in which their settings are kept."""

DEFAULT_COUNT = 5
MOST_SETTINGS = 50
ESTIMATING_METERS = ("cpu-time", "codecarbon")
EXAMPLES = "cpu, cpu:5, cpu:1.2GHz,1.8GHz,2.4GHz, package:50W,80W, gpu-clock:600MHz,1200MHz, gpu-power:200W,300W"

_SETTING = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>[A-Za-zµ]*)", flags=re.ASCII)
# Of one setting: what people round when they type 1.33 GHz for a step of 1333 MHz.
_SAME = 0.005


@dataclass(frozen=True, slots=True)
class Spec:
    """A sweep as asked for.

    Attributes:
        settings: in MHz or W, in the order given; empty where the machine is asked.
        count: how many evenly spaced settings, where `settings` is empty.
    """

    knob: str
    settings: tuple[float, ...] = ()
    count: int = DEFAULT_COUNT

    @property
    def unit(self) -> str:
        """Of settings: `MHz` or `W`."""
        return UNITS[self.knob]


def parse_spec(text: str) -> Spec:
    """Read SPEC.

    Raises:
        OptionError: unknown knob or unit, no setting, one given twice, or too many.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if name not in UNITS:
        close = difflib.get_close_matches(name, UNITS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise OptionError(
            f"--energy-dvfs={text} names an unknown knob {name!r}", f"{hint}Known: {', '.join(UNITS)}; as {EXAMPLES}"
        )
    if not colon:
        return Spec(name)
    if re.fullmatch(r"\d{1,9}", rest, flags=re.ASCII):
        if not 2 <= int(rest) <= MOST_SETTINGS:
            raise OptionError(
                f"--energy-dvfs={text} asks for {rest} settings",
                f"a number without a unit is a count, from 2 to {MOST_SETTINGS}; a setting has a unit, as "
                f"{name}:{_example(name)}",
            )
        return Spec(name, count=int(rest))
    settings = tuple(_setting(part.strip(), name, text) for part in rest.split(","))
    if len(set(settings)) < len(settings) or len(settings) > MOST_SETTINGS:
        raise OptionError(
            f"--energy-dvfs={text} gives a setting twice, or more than {MOST_SETTINGS}", "give each setting once"
        )
    return Spec(name, settings)


def _example(knob: str) -> str:
    return "1200MHz" if UNITS[knob] == "MHz" else "80W"


def _setting(part: str, knob: str, text: str) -> float:
    units = CLOCK_UNITS if UNITS[knob] == "MHz" else POWER_UNITS
    # People write ghz and Ghz; no two units here differ in their case alone.
    factors = {unit.lower(): factor for unit, factor in units.items()}
    match = _SETTING.fullmatch(part)
    factor = factors.get(match["unit"].lower()) if match is not None else None
    value = float(match["number"]) * factor if match is not None and factor is not None else 0.0
    if not (math.isfinite(value) and value > 0):
        raise OptionError(
            f"--energy-dvfs={text}: {part!r} is no setting of {knob}",
            f"give a number above 0 with one of the units {', '.join(units)}, as {knob}:{_example(knob)}",
        )
    return value


def choose(spec: Spec, offer: Offer) -> tuple[float, ...]:
    """The settings of a sweep, in MHz or W: those asked for, else evenly spaced ones of those offered, ascending.

    Raises:
        OptionError: one asked for is not offered, or there are fewer than two to choose from.
    """
    if spec.settings:
        return tuple(_offered(setting, spec, offer) for setting in spec.settings)
    width = (offer.highest - offer.grid_lowest) / (spec.count - 1)
    wanted = [offer.grid_lowest + index * width for index in range(spec.count)]
    if offer.choices:
        found = sorted({min(offer.choices, key=lambda choice: abs(choice - value)) for value in wanted})
    else:
        rounded = (round(value / offer.step) * offer.step for value in wanted)
        found = sorted({min(max(value, offer.lowest), offer.highest) for value in rounded})
    if len(found) < 2:
        raise OptionError(
            f"--energy-dvfs={spec.knob} has nothing to compare: this machine offers {_offers(offer, spec.unit)}",
            "leave it out",
        )
    return tuple(found)


def _offered(setting: float, spec: Spec, offer: Offer) -> float:
    if offer.choices:
        near = min(offer.choices, key=lambda choice: abs(choice - setting))
        if abs(near - setting) <= _SAME * near:
            return near
    elif offer.lowest * (1 - 1e-9) <= setting <= offer.highest * (1 + 1e-9):
        return setting
    raise OptionError(
        f"--energy-dvfs={spec.knob}: {setting:g} {spec.unit} is not offered",
        f"this machine offers {_offers(offer, spec.unit, setting)}",
    )


def _offers(offer: Offer, unit: str, near: float = 0.0) -> str:
    if not offer.choices:
        return f"{offer.lowest:g} to {offer.highest:g} {unit}"
    shown = sorted(sorted(offer.choices, key=lambda choice: abs(choice - near))[:8])
    of = f", of {len(offer.choices)} from {offer.lowest:g} to {offer.highest:g} {unit}"
    return ", ".join(f"{choice:g}" for choice in shown) + f" {unit}" + (of if len(shown) < len(offer.choices) else "")


def setting_text(knob: str, setting: float) -> str:
    """One setting as SPEC writes it, `cpu:1200MHz`: a row's trait, which `parse_spec` reads again."""
    return f"{knob}:{setting:.10g}{UNITS[knob]}"


def refuse_estimating_meter(spec: Spec, meter: str) -> None:
    """Refuse a meter whose name says that it estimates.

    Raises:
        OptionError: with the reason.
    """
    if meter in ESTIMATING_METERS:
        raise _refusal(spec.knob, meter)


def refuse_estimated_domain(knob: str, domain: str, sources: dict[str, str]) -> None:
    """Refuse a sweep unless the energy that the knob changes is measured.

    Args:
        domain: of the knob: `cpu` stands for every package (`cpu`, `cpu0`, `cpu1`), `gpu1` for itself. `soc`, a whole
            chip, holds both.
        sources: of the run's meter, domain to `measured` or `estimated`.

    Raises:
        OptionError: with the reason.
    """
    own = {
        name: source
        for name, source in sources.items()
        if name in (domain, "soc") or (domain == "cpu" and re.fullmatch(r"cpu\d+", name))
    }
    if not own:
        raise OptionError(
            f"--energy-dvfs={knob} changes the energy of {domain}, which the meter of this run does not read "
            f"(it reads {', '.join(sources) or 'nothing'})",
            "choose a meter that does (energyaware doctor lists them), or leave --energy-dvfs out",
        )
    estimated = [name for name, source in own.items() if source != "measured"]
    if estimated:
        raise _refusal(knob, f"the meter of {', '.join(estimated)}")


def _refusal(knob: str, meter: str) -> OptionError:
    return OptionError(
        f"--energy-dvfs={knob} needs measured joules, and {meter} estimates them from time and a fixed power: it would "
        "call the highest setting best whatever is true",
        "choose a meter with a hardware counter (energyaware doctor lists them), or leave --energy-dvfs out",
    )
