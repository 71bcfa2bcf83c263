"""Command line and ini file to one frozen `EnergyConfig`."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any, cast

import pytest

from energyaware.config import (
    DEFAULT_LIMIT,
    NEWEST_ANCESTOR,
    SORTS,
    SUITES,
    EnergyConfig,
    Suite,
    parse_limits,
    require_device,
)
from energyaware.errors import OptionError
from energyaware.paths import is_dir


def add_options(parser: pytest.Parser) -> None:
    """Every option and its ini twin: `--energy-meter` is `energy_meter` in pytest.ini."""
    group = parser.getgroup("energy", "energy of benchmarks (energyaware)")

    def twin(name: str, text: str, default: Any = None, kind: str = "string", **option: Any) -> None:
        key = name.removeprefix("--").replace("-", "_")
        group.addoption(name, dest=key, default=None, help=text, **option)
        parser.addini(key, text, type=cast("Any", kind), default=default)

    twin(
        "--energy", "measure energy (without it, energy benchmarks run once, unmeasured)", False, "bool",
        action="store_true",
    )  # fmt: skip
    twin("--energy-suite", "quick: minutes on two cores; full: the whole grid", "quick", metavar="quick|full")
    twin("--energy-meter", "auto: counters where they exist, else cpu-time; or a meter's name", "auto", metavar="NAME")
    twin(
        "--energy-models", "catalogue names, Hugging Face ids or local directories, comma-separated", "",
        metavar="A,B",
    )  # fmt: skip
    twin(
        "--energy-compressions",
        "what to make of each model in place of the suite's grid, comma-separated: fp32, bf16-2of4, fp32-depth-50",
        "",
        metavar="A,B",
    )
    twin("--energy-device", "auto, cpu, cuda[:N], or cuda:N,M,… or cuda:all to spread models", "auto", metavar="DEVICE")
    twin(
        "--energy-data",
        "a catalogue dataset, or a JSONL, CSV or Parquet file with a map of columns: tickets.csv:text=body,label=kind; "
        "for other tasks than rca: boards.jsonl:task=choice",
        "network",
        metavar="NAME|PATH",
    )
    twin("--energy-weight", "w of R = w·φ + (1−w)·ρ", "0.5", metavar="W")
    twin(
        "--energy-compare",
        "judge against a stored run: file, number, name or branch; alone: the newest clean run of an ancestor of HEAD",
        nargs="?",
        const=NEWEST_ANCESTOR,
        metavar="FILE|NUM|NAME|BRANCH",
    )
    twin(
        "--energy-fail",
        "smallest worsening that must not get through, repeatable: energy:5%%, accuracy:3pp, flops:0%%",
        kind="linelist",
        default=[],
        action="append",
        metavar="METRIC:LIMIT",
    )
    twin(
        "--energy-strict", "inconclusive, incomparable and missing fail too", False, "bool", action="store_true"
    )  # fmt: skip
    twin("--energy-sort", "r, energy, latency, accuracy or variant", "r", metavar="KEY")
    twin("--energy-columns", "columns of the ranking, comma-separated", "", metavar="A,B")
    twin("--energy-report", "folder for HTML, Markdown and CSV of the run", "", metavar="DIR")
    twin("--energy-core-watts", "power of one busy core, for the meter cpu-time", "", metavar="W")
    twin(
        "--energy-net", "take idle power off measured joules", False, "bool", action="store_true"
    )  # fmt: skip
    twin(
        "--energy-country",
        "country of CO₂e, ISO 3166 code of three letters, or a region as USA-CA; else the world average",
        "",
        metavar="CODE",
    )
    twin(
        "--energy-dvfs",
        "change a clock or power cap and sweep it, as cpu:5, package:50W,80W, gpu-clock:1200MHz; put back at the end",
        "",
        metavar="SPEC",
    )
    group.addoption("--energy-turns", dest="energy_turns", type=int, default=None, help=argparse.SUPPRESS)
    twin(
        "--energy-resume", "go on with an interrupted run: what it finished is not measured again", False, "bool",
        action="store_true",
    )  # fmt: skip
    twin("--energy-top", "prune only what comes from the K best by R; what is not pruned runs first", "", metavar="K")
    twin("--energy-requests", "add fine-tuning and N requests up, variant by variant", "", metavar="N")
    twin(
        "--energy-isolate", "measure each benchmark in a process of its own: one that dies takes nothing with it",
        False, "bool", action="store_true",
    )  # fmt: skip
    group.addoption("--energy-isolated", dest="energy_isolated", type=int, default=None, help=argparse.SUPPRESS)
    twin(
        "--energy-shard",
        "part i of n of the energy benchmarks, for a matrix of jobs; see energyaware merge",
        "",
        metavar="I/N",
    )
    twin(
        "--energy-engine",
        "measure each benchmark on a node of a Ray cluster: ray for the one that runs here, or its address",
        "",
        metavar="ray[://HOST:PORT]",
    )
    twin("--energy-rounds", "metered rounds per benchmark; else as many as fit five seconds", "", metavar="N")


def _value(config: pytest.Config, name: str) -> str:
    given = config.getoption(name)
    return str(config.getini(name) or "") if given is None else str(given)


def _number(config: pytest.Config, name: str, low: float, high: float) -> float | None:
    text = _value(config, name)
    if not text:
        return None
    option = "--" + name.replace("_", "-")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high:  # also False for NaN
        raise OptionError(f"{option}={text} is no number from {low:g} to {high:g}", f"give one, as {option}={high:g}")
    return number


def _count(config: pytest.Config, name: str, measure: bool) -> int | None:
    """A whole number from 1 of an option that says nothing without `--energy`."""
    text = _value(config, name)
    if not text:
        return None
    option = "--" + name.replace("_", "-")
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise OptionError(f"{option}={text} is no whole number from 1", f"give one, as {option}=3")
    if not measure and config.getoption(name) is not None:
        raise OptionError(f"{option} has nothing to rank without --energy", "add --energy")
    return int(text) if measure else None


def _choice(config: pytest.Config, name: str, known: tuple[str, ...]) -> str:
    value = _value(config, name)
    if value not in known:
        raise OptionError(f"--{name.replace('_', '-')}={value} is unknown", f"known: {', '.join(known)}")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _columns(config: pytest.Config) -> tuple[str, ...]:
    names = _names(_value(config, "energy_columns"))
    if names:
        from energyaware.reports.columns import NAMES

        for name in names:
            if name not in NAMES:
                raise OptionError(f"--energy-columns: unknown column {name!r}", f"known: {', '.join(NAMES)}")
    return names


def _compare(config: pytest.Config, measure: bool) -> str | None:
    given = config.getoption("energy_compare")
    value = given if given is not None else config.getini("energy_compare") or None
    if value is None or (not measure and given is None):
        return None
    if not measure:
        raise OptionError("--energy-compare has nothing to compare without --energy", "add --energy")
    path = Path(value.split("::")[0])
    if value and (is_dir(path) or path.suffix == ".py"):
        # argparse takes the word after `--energy-compare` for its value.
        raise OptionError(
            f"--energy-compare took the path {value!r} for a baseline",
            f"put the option last or write --energy-compare -- {value}",
        )
    return str(value)


def _resume(config: pytest.Config, measure: bool) -> bool:
    asked = bool(config.getoption("energy_resume"))
    if asked and not measure:
        raise OptionError("--energy-resume has nothing to resume without --energy", "add --energy")
    return asked or bool(config.getini("energy_resume"))


def _isolate(config: pytest.Config, measure: bool) -> bool:
    given = bool(config.getoption("energy_isolate"))
    if given and not measure:
        raise OptionError("--energy-isolate has nothing to isolate without --energy", "add --energy")
    asked = measure and (given or bool(config.getini("energy_isolate")))
    started = config.getoption("energy_isolated") is not None or config.getoption("energy_turns") is not None
    if asked and not started and config.getoption("usepdb", False):
        raise OptionError("--energy-isolate runs benchmarks where no debugger reaches them", "leave out --pdb")
    return asked and not started


def _shard(config: pytest.Config, measure: bool) -> str | None:
    text = _value(config, "energy_shard")
    given = config.getoption("energy_shard") is not None
    if not text and not given:
        return None
    from energyaware.baselines.shards import parse_shard

    shard = parse_shard(text)
    if given and not measure:
        raise OptionError("--energy-shard has nothing to split without --energy", "add --energy")
    if _value(config, "energy_top"):
        raise OptionError(
            "--energy-top chooses among all variants, and a part of --energy-shard sees only some",
            "leave one of them out",
        )
    return str(shard) if measure else None


def _engine(config: pytest.Config, measure: bool) -> tuple[str | None, str]:
    """The engine and the address of its cluster."""
    text = _value(config, "energy_engine")
    given = config.getoption("energy_engine") is not None
    if not text and not given:
        return None, ""
    if not re.fullmatch(r"ray(://\S+)?", text):
        raise OptionError(f"--energy-engine={text} is unknown", "known: ray, ray://HOST:PORT")
    if given and not measure:
        raise OptionError("--energy-engine has nothing to measure without --energy", "add --energy")
    started = config.getoption("energy_isolated") is not None or config.getoption("energy_turns") is not None
    if not measure or started:
        return None, ""
    for asked, reason in (
        (_value(config, "energy_top"), "--energy-top chooses after the unpruned ones, and nodes do not wait for these"),
        (_value(config, "energy_dvfs"), "--energy-dvfs puts a clock back at the end, which a lost node would not see"),
        (config.getoption("usepdb", False), "no debugger reaches the benchmarks of --energy-engine (--pdb)"),
    ):
        if asked:
            raise OptionError(reason, "leave one of the two out")
    if _value(config, "energy_device").startswith("cuda:"):
        raise OptionError("the cluster chooses each benchmark's GPU", "write --energy-device=cuda")
    return "ray", text if "://" in text else ""


def _dvfs(config: pytest.Config, measure: bool) -> str | None:
    text = _value(config, "energy_dvfs")
    given = config.getoption("energy_dvfs") is not None
    if not text and not given:
        return None
    from energyaware.dvfs.spec import parse_spec, refuse_estimating_meter

    spec = parse_spec(text)
    if not measure:
        if given:
            raise OptionError("--energy-dvfs has nothing to measure without --energy", "add --energy")
        return None
    if config.getoption("energy_turns") is not None:
        raise OptionError(
            "--energy-dvfs changes the machine for both sides of energyaware compare", "sweep with pytest --energy"
        )
    refuse_estimating_meter(spec, _value(config, "energy_meter"))
    return text


def read_config(config: pytest.Config) -> EnergyConfig:
    """Read and check every option.

    Raises:
        OptionError: a value that says nothing, with the valid ones.
    """
    measure = bool(config.getoption("energy")) or bool(config.getini("energy"))
    compare = _compare(config, measure)
    given = config.getoption("energy_fail")
    limits = parse_limits(given if given is not None else config.getini("energy_fail") or [DEFAULT_LIMIT])
    if given is not None and compare is None and config.getoption("energy_turns") is None:
        raise OptionError(
            "--energy-fail has no baseline to judge against", "add --energy --energy-compare (or --energy-compare=NAME)"
        )
    rounds = _number(config, "energy_rounds", 2, 100_000)
    device = require_device(_value(config, "energy_device"))
    report = _value(config, "energy_report")
    watts = _number(config, "energy_core_watts", 0.001, 1000)
    weight = _number(config, "energy_weight", 0, 1)
    engine, engine_address = _engine(config, measure)
    return EnergyConfig(
        measure=measure,
        suite=cast("Suite", _choice(config, "energy_suite", SUITES)),
        meter=_value(config, "energy_meter"),
        models=_names(_value(config, "energy_models")),
        compressions=_names(_value(config, "energy_compressions")),
        device=device,
        data=_value(config, "energy_data"),
        weight=0.5 if weight is None else weight,
        compare=compare,
        limits=limits,
        strict=bool(config.getoption("energy_strict")) or bool(config.getini("energy_strict")),
        sort=_choice(config, "energy_sort", SORTS),
        columns=_columns(config),
        report_dir=config.rootpath / report if report else None,
        core_watts=watts,
        net=bool(config.getoption("energy_net")) or bool(config.getini("energy_net")),
        country=_value(config, "energy_country") or None,
        rounds=None if rounds is None else int(rounds),
        turns=config.getoption("energy_turns"),
        dvfs=_dvfs(config, measure),
        resume=_resume(config, measure),
        top=_count(config, "energy_top", measure),
        requests=_count(config, "energy_requests", measure),
        shard=_shard(config, measure),
        isolate=_isolate(config, measure),
        isolated=config.getoption("energy_isolated"),
        engine=engine,
        engine_address=engine_address,
    )
