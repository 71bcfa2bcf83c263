"""`energyaware doctor`: which meters work here, why the others do not, what to do, and what numbers rest on."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from tabulate import tabulate

from energyaware.dvfs.catalogue import open_knob
from energyaware.dvfs.knob import Offer
from energyaware.dvfs.spec import UNITS
from energyaware.dvfs.state import state_dir
from energyaware.dvfs.sweep import leftover, recover
from energyaware.errors import CacheError, EnergyAwareError, KnobError, OptionError
from energyaware.measure.idle import idle_power_w
from energyaware.measure.machine import describe
from energyaware.measure.rounds import MIN_WINDOW_S, RESOLUTIONS_PER_WINDOW
from energyaware.meters.carbon import CarbonIntensity, intensity
from energyaware.meters.cpu_time import CorePower, core_power
from energyaware.meters.selection import MeterReport, best_available, survey
from energyaware.meters.zeus import INSTALL, counters_in_sight
from energyaware.paths import CACHE_VARIABLE, cache_dir, writable_dir
from energyaware.records import Domain
from energyaware.reports.columns import plain
from energyaware.units import ABSENT, si

PACKAGES = (
    "pytest",
    "pytest-benchmark",
    "codecarbon",
    "zeus",
    "torch",
    "transformers",
    "bitsandbytes",
)
WIDEST = 120
"""Longer lines are hard to read, however wide the terminal."""

_VIRTUAL = (
    "This is a virtual machine: hypervisors seldom pass energy counters of the CPU on. Measured joules need the bare "
    "machine, or a GPU that is handed through."
)
_OTHER_METERS = (
    "Meters of plugins and of a conftest.py are known to pytest alone and are not tried here: "
    "pytest --energy --energy-meter=NAME tries one before anything is measured."
)


@dataclass(frozen=True, slots=True)
class Auto:
    """What `--energy-meter=auto` takes here.

    Attributes:
        name: of the meter; empty where none can be opened.
        idle_w: watts of measured domains while this process slept.
        problem: why there is no meter, or no idle power.
    """

    name: str = ""
    domains: Mapping[str, Domain] = field(default_factory=dict)
    idle_w: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the cache.

    Attributes:
        size_bytes: of all files below it; None where it does not exist.
        problem: why it cannot be written; empty where it can.
    """

    purpose: str
    path: str
    size_bytes: int | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KnobReport:
    """A clock or power cap.

    Attributes:
        works: whether `--energy-dvfs` can change it here and now.
        unit: of the offer.
        offer: what it takes; None where the machine does not tell.
        problem: why it does not work; empty where it does.
        remedy: what to do about it.
    """

    name: str
    works: bool
    unit: str
    offer: Offer | None
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that `doctor` says.

    Attributes:
        gpus: names of NVIDIA GPUs, with the driver.
        gpu_problem: why GPUs that seem to be there cannot be named.
        watts: of `cpu-time`; None where `problems` tells why.
        carbon: as a run without `--energy-country` uses it; None where `problems` tells why.
        versions: None for what is not installed.
        problems: of parts that could not be found out.
        knobs: clocks and power caps, none of them changed.
        left: what a sweep that was killed left changed; empty where nothing is.
    """

    machine: Mapping[str, str]
    gpus: Sequence[str]
    gpu_problem: str
    meters: Sequence[MeterReport]
    auto: Auto
    watts: CorePower | None
    carbon: CarbonIntensity | None
    folders: Sequence[Folder]
    versions: Mapping[str, str | None]
    problems: Mapping[str, str]
    knobs: Sequence[KnobReport] = ()
    left: str = ""


def run(parsed: argparse.Namespace) -> int:
    """Print the diagnosis and return the exit status: 1 where no meter works at all. With `--restore`, put back what a
    killed sweep left instead.

    Raises:
        OptionError: watts that no core draws, or an unknown country.
        KnobError: with `--restore`, something could not be put back.
    """
    if parsed.restore:
        said = recover(state_dir())
        print(plain(said or "nothing to put back: no sweep of --energy-dvfs left anything changed"))
        return 0
    watts = parsed.core_watts
    if watts is not None and not (math.isfinite(watts) and watts > 0):
        raise OptionError(f"--core-watts={watts:g} is not above 0", "give the watts of one busy core, as 6.5")
    found = diagnose(watts, parsed.country)
    print(as_json(found) if parsed.json else as_text(found, shutil.get_terminal_size().columns))
    return 0 if any(meter.works for meter in found.meters) else 1


def diagnose(core_watts: float | None = None, country: str | None = None) -> Diagnosis:
    """Try everything; what fails is part of the answer. Never loads torch. Takes seconds: meters are opened and read.

    Raises:
        OptionError: an unknown country.
    """
    problems: dict[str, str] = {}

    def attempt(part: str, find: Callable[[], Any]) -> Any:
        try:
            return find()
        except OptionError:
            raise
        except Exception as error:  # noqa: BLE001 - a broken installation is what doctor is asked about
            problems[part] = str(error) if isinstance(error, EnergyAwareError) else f"{type(error).__name__}: {error}"
            return None

    gpus, gpu_problem = _gpus()
    return Diagnosis(
        machine=describe(),
        gpus=gpus,
        gpu_problem=gpu_problem,
        meters=survey(core_watts, {}),
        auto=_auto(core_watts),
        watts=attempt("watts", lambda: core_power(core_watts)),
        carbon=attempt("carbon", lambda: intensity(country)),
        folders=attempt("folders", _folders) or (),
        versions=_versions(),
        problems=problems,
        knobs=attempt("knobs", _knobs) or (),
        left=_left(),
    )


def _auto(core_watts: float | None) -> Auto:
    try:
        meter = best_available(core_watts)
    except Exception as error:  # noqa: BLE001 - as in `diagnose`
        return Auto(problem=str(error))
    try:
        idle_w, problem = idle_power_w(meter), ""
    except Exception as error:  # noqa: BLE001 - as in `diagnose`
        idle_w, problem = {}, f"idle power could not be read: {error}"
    finally:
        meter.close()
    return Auto(meter.name, dict(meter.domains), idle_w, problem)


def _knobs() -> tuple[KnobReport, ...]:
    # Zeus takes seconds to import, for nothing where there is no GPU.
    return tuple(_knob(name, 0) for name in UNITS if not name.startswith("gpu") or counters_in_sight())


def _knob(name: str, gpu: int) -> KnobReport:
    unit, offer = UNITS[name], None
    try:
        knob = open_knob(name, gpu)
        offer = knob.offer()
        knob.ready()
    except KnobError as error:
        return KnobReport(name, False, unit, offer, error.cause, error.remedy)
    return KnobReport(name, True, unit, offer)


def _left() -> str:
    try:
        prior = leftover(state_dir())
    except KnobError as error:
        return str(error)
    if prior is None:
        return ""
    return (
        f"process {prior.pid} changed {prior.knob} and did not put it back, or sweeps still. Every measurement may be "
        "wrong until then. What to do: energyaware doctor --restore"
    )


def _gpus() -> tuple[tuple[str, ...], str]:
    """Names of NVIDIA GPUs by NVML, and why there are none although the machine shows a device."""
    seen = "a GPU or its driver is in sight" if counters_in_sight() else ""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return (), f"{seen}, but it cannot be named without NVML: {INSTALL}" if seen else ""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), f"{seen}, but NVML does not answer ({error}); AMD's is not asked for a name" if seen else ""
    try:
        driver = _decoded(nvml.nvmlSystemGetDriverVersion())
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return tuple(f"{_decoded(nvml.nvmlDeviceGetName(handle))}, driver {driver}" for handle in handles), ""
    except nvml.NVMLError as error:
        return (), f"NVML answers only in part ({error})"
    finally:
        nvml.nvmlShutdown()


def _decoded(text: str | bytes) -> str:
    # Older releases of the library give bytes.
    return text.decode(errors="replace") if isinstance(text, bytes) else text


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in ("energyaware", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _folders() -> tuple[Folder, ...]:
    """The cache and the folders in it."""
    root = cache_dir()
    inside = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return tuple(_folder(path.name if path != root else "whole cache", path) for path in (root, *inside))


def _folder(purpose: str, path: Path) -> Folder:
    size_bytes = _size_bytes(path) if path.is_dir() else None
    # A doctor leaves no folder behind: where there is none yet, the next one above is tried.
    nearest = next(place for place in (path, *path.parents) if place.exists())
    try:
        writable_dir(nearest, "cache")
    except CacheError as error:
        return Folder(purpose, str(path), size_bytes, error.cause)
    return Folder(purpose, str(path), size_bytes)


def _size_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:  # another run removed it meanwhile
                continue
    return total


# --- shown -----------------------------------------------------------------------------------------------------------


def as_json(found: Diagnosis) -> str:
    """The diagnosis for programs; a missing value is null."""
    data = asdict(found)
    data["watts"] = found.watts and found.watts._asdict()  # a named tuple would become a list
    return json.dumps(data, indent=1, ensure_ascii=False)


def as_text(found: Diagnosis, width: int) -> str:
    """The diagnosis for people, in lines no wider than `width` as far as paths and words allow."""
    width = min(max(width, 40), WIDEST)
    sections = (
        ("What a run with --energy reads here (--energy-meter=auto)", _auto_text(found.auto, width)),
        ("Meters", _meters_text(found, width)),
        ("Clocks and power caps (--energy-dvfs)", _knobs_text(found, width)),
        ("Watts of the estimate (cpu-time)", _watts_text(found.watts, found.problems, width)),
        ("Carbon", _carbon_text(found.carbon, found.problems, width)),
        ("Machine", _machine_text(found, width)),
        ("Cache", _folders_text(found.folders, found.problems, width)),
        ("Versions", _pairs(((name, version or "not installed") for name, version in found.versions.items()), width)),
    )
    return "\n\n".join(f"{title}\n{'-' * len(title)}\n{text}" for title, text in sections)


def meaning(auto: Auto) -> str:
    """What the choice of `auto` means for the joules, in one sentence."""
    if not auto.domains:
        return f"No meter can be opened: {auto.problem}"
    measured = [name for name, item in auto.domains.items() if item.source == "measured"]
    estimated = [name for name in auto.domains if name not in measured]
    parts = []
    if measured:
        parts.append(
            f"{', '.join(measured)} measured by hardware counters (of the whole device: other programs count too)"
        )
    if estimated:
        parts.append(
            f"{', '.join(estimated)} estimated from CPU seconds and watts (blind to clock frequency, number formats "
            "and idle power)"
        )
    mixed = "; rows say `mixed`" if measured and estimated else ""
    return f"auto takes {auto.name}: {' and '.join(parts)}{mixed}."


def _auto_text(auto: Auto, width: int) -> str:
    lines = [_wrapped(meaning(auto), width)]
    if auto.domains:
        rows = [
            (name, item.source, item.meter, si(item.resolution_s, "s", 2), si(auto.idle_w.get(name), "W"))
            for name, item in auto.domains.items()
        ]
        lines += ["", _table(("domain", "source", "meter", "resolution", "idle power"), rows)]
        if not auto.idle_w:
            lines.append(_wrapped(auto.problem or "Idle power is known of measured domains only.", width))
    return "\n".join(lines)


def _meters_text(found: Diagnosis, width: int) -> str:
    rows, notes = [], []
    for meter in found.meters:
        domains = meter.domains.values()
        sources = " + ".join(sorted({item.source for item in domains}))
        resolution_s = max((item.resolution_s for item in domains), default=None)
        window_s = None if resolution_s is None else max(MIN_WINDOW_S, RESOLUTIONS_PER_WINDOW * resolution_s)
        works = "yes" if meter.works else "NO"
        reads = ", ".join(meter.domains) or ABSENT
        rows.append((meter.name, works, reads, sources or ABSENT, si(resolution_s, "s", 2), si(window_s, "s", 2)))
        if meter.problem:
            why = "in part" if meter.works else "does not work"
            notes += ["", _wrapped(f"{meter.name} {why}: {meter.problem}", width)]
        if meter.remedy:
            notes.append(_wrapped(f"What to do: {meter.remedy}", width, indent="  "))
    table = _table(("meter", "works", "reads", "source", "resolution", "window at least"), rows)
    measured = any(item.source == "measured" for meter in found.meters for item in meter.domains.values())
    if found.machine.get("virtual") == "yes" and not measured:
        notes += ["", _wrapped(_VIRTUAL, width)]
    return "\n".join((table, *notes, "", _wrapped(_OTHER_METERS, width)))


def _knobs_text(found: Diagnosis, width: int) -> str:
    if "knobs" in found.problems:
        return _wrapped(f"unknown: {found.problems['knobs']}", width)
    rows, notes = [], []
    for knob in found.knobs:
        offer = ABSENT if knob.offer is None else f"{knob.offer.lowest:g} to {knob.offer.highest:g} {knob.unit}"
        rows.append((knob.name, "yes" if knob.works else "NO", offer))
        if knob.problem:
            notes += ["", _wrapped(f"{knob.name} cannot be swept: {knob.problem}", width)]
            notes.append(_wrapped(f"What to do: {knob.remedy}", width, indent="  "))
    left = [_wrapped(f"LEFT CHANGED: {found.left}", width), ""] if found.left else []
    return "\n".join((*left, _table(("knob", "works", "takes"), rows), *notes))


def _watts_text(watts: CorePower | None, problems: Mapping[str, str], width: int) -> str:
    if watts is None:
        return _wrapped(f"unknown: {problems.get('watts', '')}", width)
    pairs = [
        ("per busy core", f"{watts.core_w:g} W: {watts.core_origin}"),
        ("DRAM", f"{watts.dram_w:g} W: {watts.dram_origin}"),
    ]
    advice = "Better watts make better estimates: --core-watts=W here, --energy-core-watts=W in pytest."
    return f"{_pairs(pairs, width)}\n{_wrapped(advice, width)}"


def _carbon_text(carbon: CarbonIntensity | None, problems: Mapping[str, str], width: int) -> str:
    if carbon is None:
        return _wrapped(f"unknown: {problems.get('carbon', '')}", width)
    year = "year unknown" if carbon.year is None else f"year {carbon.year}"
    text = f"{carbon.g_per_kwh:.0f} g CO₂e/kWh, {year}: {carbon.origin}."
    return _wrapped(f"{text} Choose a country with --country=DEU here, --energy-country=DEU in pytest.", width)


def _machine_text(found: Diagnosis, width: int) -> str:
    names = {"cpu": "CPU", "dtype_support": "instructions", "virtual": "virtual machine"}
    pairs = [(names.get(name, name), text) for name, text in found.machine.items()]
    gpus = list(found.gpus) or [found.gpu_problem or "none in sight"]
    pairs += [(f"GPU {index}" if found.gpus else "GPU", text) for index, text in enumerate(gpus)]
    return _pairs(pairs, width)


def _folders_text(folders: Sequence[Folder], problems: Mapping[str, str], width: int) -> str:
    if not folders:
        return _wrapped(f"unknown: {problems.get('folders', '')}", width)
    root, *inside = folders
    state = "not there yet, made when needed" if root.size_bytes is None else f"{si(root.size_bytes, 'B')}, writable"
    lines = [_wrapped(f"{root.path}: {root.problem or state}", width)]
    if root.problem or root.size_bytes is None:
        lines.append(_wrapped(f"Choose another place with the environment variable {CACHE_VARIABLE}.", width))
    pairs = [(folder.purpose, folder.problem or si(folder.size_bytes, "B")) for folder in inside]
    return "\n".join([*lines, *([_pairs(pairs, width)] if pairs else [])])


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    # tabulate pads headers by two, which costs a narrow terminal a column: so the header is a row with a rule below.
    cells = [[plain(cell) for cell in row] for row in rows]
    header, *body = tabulate([titles, *cells], tablefmt="plain", disable_numparse=True).splitlines()
    return "\n".join([header, "-" * max(map(len, (header, *body))), *body])


def _pairs(pairs: Iterable[tuple[str, str]], width: int) -> str:
    known = [(plain(name), text) for name, text in pairs]
    column = max((len(name) for name, _ in known), default=0) + 2
    lines = [_wrapped(f"{name:<{column}}{text}", width, indent=" " * column, first="") for name, text in known]
    return "\n".join(lines)


def _wrapped(text: str, width: int, indent: str = "", first: str | None = None) -> str:
    return textwrap.fill(
        plain(text),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
