"""What the user asked for, read once and frozen."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from energyaware.errors import OptionError

Suite = Literal["quick", "full"]
SUITES: tuple[Suite, ...] = ("quick", "full")
SORTS = ("r", "energy", "latency", "accuracy", "variant")
DEFAULT_LIMIT = "energy:5%"
# `--energy-compare` without a value.
NEWEST_ANCESTOR = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that can be gated.

    Attributes:
        kind: `noisy` is judged with an interval, `exact` compares exactly, `quality` is paired by example.
        units: factor to the stored unit; `%` is relative to the baseline.
    """

    name: str
    kind: Literal["noisy", "exact", "quality"]
    units: dict[str, float]


_RELATIVE = {"%": 0.01}
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("energy", "noisy", {**_RELATIVE, "J": 1.0, "mJ": 1e-3}),
        Metric("latency", "noisy", {**_RELATIVE, "s": 1.0, "ms": 1e-3}),
        Metric("memory", "noisy", {**_RELATIVE, "MB": 1e6, "GB": 1e9}),
        Metric("flops", "exact", _RELATIVE),
        Metric("bytes", "exact", {**_RELATIVE, "MB": 1e6, "GB": 1e9}),
        Metric("accuracy", "quality", {"pp": 0.01}),
        Metric("macro_f1", "quality", {"pp": 0.01}),
    )
}

_LIMIT = re.compile(r"\s*(?P<metric>[A-Za-z_0-9-]+)\s*:\s*(?P<value>[^\s%A-Za-z]*)\s*(?P<unit>%|[A-Za-z]*)\s*")


@dataclass(frozen=True, slots=True)
class Limit:
    """The smallest worsening of one metric that must not get through.

    Attributes:
        value: a ratio where `relative`, else in the metric's stored unit (J, s, bytes, or a share of 1 for `pp`).
        text: as the user wrote it, normalised.
    """

    metric: str
    value: float
    relative: bool
    text: str

    @property
    def kind(self) -> Literal["noisy", "exact", "quality"]:
        """How the metric is judged."""
        return METRICS[self.metric].kind


def parse_limit(text: str) -> Limit:
    """Read `METRIC:LIMIT`, as `energy:5%`, `energy:0.2J`, `accuracy:3pp`, `flops:0%`.

    Raises:
        OptionError: unknown metric or unit, no number, a negative one, or 0 on a noisy metric.
    """
    examples = "energy:5%, energy:0.2J, latency:10%, accuracy:3pp, flops:0%"
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise OptionError(f"the limit {text!r} is not METRIC:LIMIT", f"write it as one of {examples}")
    name, unit = match["metric"].replace("-", "_"), match["unit"]
    metric = METRICS.get(name)
    if metric is None:
        raise OptionError(
            f"the limit {text!r} names an unknown metric {match['metric']!r}", f"known metrics: {', '.join(METRICS)}"
        )
    if unit not in metric.units:
        raise OptionError(
            f"the limit {text!r} has the unit {unit!r}, which {name} does not have"
            if unit
            else f"{text!r} has no unit",
            f"units of {name}: {', '.join(metric.units)}",
        )
    try:
        number = float(match["value"])
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise OptionError(f"the limit {text!r} has no number from 0 on", f"write it as one of {examples}")
    if number == 0 and metric.kind == "noisy":
        raise OptionError(
            f"the limit {text!r} is 0, but {name} is noisy: every second run would fail",
            f"give the smallest increase that matters, as {name}:5%; flops and bytes can be gated at 0%",
        )
    shown = f"{number:g}"
    if "e" in shown or float(shown) != number:  # it must read back as the same limit
        shown = match["value"]
    return Limit(name, number * metric.units[unit], unit == "%", f"{name}:{shown}{unit}")


def parse_limits(texts: Iterable[str]) -> tuple[Limit, ...]:
    """Read several limits; the last one of a metric counts.

    Raises:
        OptionError: as `parse_limit`.
    """
    return tuple({limit.metric: limit for limit in map(parse_limit, texts)}.values())


@dataclass(frozen=True, slots=True)
class TestSettings:
    """What `@pytest.mark.energy(...)` says for one test; None leaves it to the run."""

    __test__ = False  # pytest would collect it by its name

    group: str | None = None
    limits: tuple[Limit, ...] | None = None
    rounds: int | None = None
    candle: str | None = None


def parse_marker(arguments: dict[str, object], positional: tuple[object, ...] = ()) -> TestSettings:
    """Read the marker's arguments.

    Raises:
        OptionError: unknown key, or a value that says nothing.
    """
    keys = ("group", "fail", "rounds", "candle")
    if positional:
        raise OptionError("the marker energy takes no positional argument", f"name them: {', '.join(keys)}")
    for key in arguments:
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise OptionError(f"the marker energy has no key {key!r}", f"{hint}Known keys: {', '.join(keys)}")
    group, fail, rounds, candle = (arguments.get(key) for key in keys)
    for key, value in (("group", group), ("candle", candle)):
        if value is not None and not isinstance(value, str):
            raise OptionError(f"{key}={value!r} of the marker energy is no text", f'write {key}="…"')
    if rounds is not None and (isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 2):
        raise OptionError(f"rounds={rounds!r} of the marker energy is no whole number from 2", "write rounds=20")
    limits = None
    if fail is not None:
        texts = [fail] if isinstance(fail, str) else fail
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise OptionError(f"fail={fail!r} of the marker energy is no limit", 'write fail="energy:3%"')
        limits = parse_limits(texts)
    return TestSettings(
        group=group if isinstance(group, str) else None,
        limits=limits,
        rounds=rounds if isinstance(rounds, int) else None,
        candle=candle if isinstance(candle, str) else None,
    )


@dataclass(frozen=True)
class EnergyConfig:
    """Every option of one run.

    Attributes:
        compressions: of each model, as `fp32` or `bf16-2of4`, in place of the suite's; empty leaves it to the suite.
        compare: None: do not compare; `NEWEST_ANCESTOR`: the default baseline; else FILE, NUM, NAME or BRANCH.
        limits: what `--energy-fail` or the ini file says; gated only when comparing.
        net: take idle power off measured joules.
        report_dir: where HTML, Markdown and CSV go.
        rounds: rounds per benchmark; None leaves it to the time one round takes.
        turns: descriptor of the line to `energyaware compare`, which gives this worker its turns; None without one.
        dvfs: the clock or power cap to sweep, as `energyaware.dvfs.spec` reads it; None: nothing is changed.
        resume: go on with an interrupted run.
        top: prune only variants made from that many best by R; None prunes all.
        requests: how many requests a fine-tuned variant is to answer, for its total energy; None asks nothing.
        shard: the part of the suite to measure, as `2/4`; None: all of it.
        isolate: measure each benchmark in a process of its own.
        isolated: descriptor of the line to the process that started this one for one benchmark; None without one.
        engine: what measures the benchmarks elsewhere, as `ray`; None: they are measured here.
        engine_address: where its cluster is, as `ray://head:10001`; empty: the one that runs here.
    """

    measure: bool
    suite: Suite
    meter: str
    models: tuple[str, ...]
    device: str
    data: str
    weight: float
    compare: str | None
    limits: tuple[Limit, ...]
    strict: bool
    sort: str
    columns: tuple[str, ...]
    report_dir: Path | None
    core_watts: float | None
    net: bool
    country: str | None
    rounds: int | None
    compressions: tuple[str, ...] = ()
    turns: int | None = None
    dvfs: str | None = None
    resume: bool = False
    top: int | None = None
    requests: int | None = None
    shard: str | None = None
    isolate: bool = False
    isolated: int | None = None
    engine: str | None = None
    engine_address: str = ""


_DEVICE = re.compile(r"auto|cpu|cuda(:(all|[0-9]+(,[0-9]+)*))?")


def require_device(text: str) -> str:
    """A value of `--energy-device` as it is.

    Raises:
        OptionError: not `auto`, `cpu`, `cuda`, `cuda:N`, `cuda:N,M,…` or `cuda:all`, or a GPU named twice.
    """
    if _DEVICE.fullmatch(text) is None:
        raise OptionError(f"--energy-device={text} is unknown", "known: auto, cpu, cuda, cuda:N, cuda:N,M,…, cuda:all")
    named = gpus_of(text) or ()
    if len(set(named)) < len(named):
        raise OptionError(f"--energy-device={text} names a GPU twice", "name each once")
    return text


def gpus_of(device: str) -> tuple[int, ...] | None:
    """The GPUs that a run on `device` uses; None where that is not known yet (`auto`, `cuda`, `cuda:all`)."""
    if device == "cpu":
        return ()
    numbers = device.removeprefix("cuda:")
    if numbers in ("auto", "cuda", "all"):
        return None
    return tuple(map(int, numbers.split(",")))


# What decides how a run is stored, judged and shown, but not what it measures.
_READING_ONLY = frozenset(
    {
        "measure", "weight", "compare", "limits", "strict", "sort", "columns", "report_dir", "country", "turns",
        "resume", "requests", "isolated", "engine_address",
    }
)  # fmt: skip


def shaping(config: EnergyConfig) -> dict[str, str]:
    """Every option that shapes what is measured, as text. A new option counts as one until it is named above."""
    # With --energy-top R decides what is measured, and so does its weight.
    left_out = _READING_ONLY if config.top is None else _READING_ONLY - {"weight"}
    values = {item.name: getattr(config, item.name) for item in fields(config) if item.name not in left_out}
    return {
        name: "" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }
