"""The page of `energyaware compare`: verdicts, the launches behind them, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import nan

from energyaware import __version__
from energyaware.branches.comparison import Comparison
from energyaware.branches.verdicts import launch_value
from energyaware.config import METRICS
from energyaware.records import Benchmark, RowSource, Run, Totals
from energyaware.reports.html import page
from energyaware.reports.html.material import Material


def compared_page(title: str, comparison: Comparison, machine: Mapping[str, str]) -> str:
    """The page as text; the head's benchmarks stand for both sides, which were measured alike.

    Raises:
        OptionError: Jinja2 is not installed.
    """
    heads = _heads(comparison)
    sources = {item.source for item in heads if item.source}
    source: RowSource | None = (sources.pop() if len(sources) == 1 else "mixed") if sources else None
    totals = Totals(comparison.energy_j, source, comparison.duration_s)
    run = Run(heads, machine, {}, totals, __version__, commit=comparison.question.head)
    judgements = comparison.standing.judgements
    noisy = {(item.fullname, item.metric) for item in judgements if METRICS[item.metric].kind == "noisy"}
    launches = {
        (name, metric): tuple(
            value
            for launch in comparison.launches
            if name in launch.pairs and (value := launch_value(launch.pairs[name], metric)) is not None
        )
        for name, metric in noisy
    }
    base = f"{comparison.question.base[:12]}, measured in turns with the head"
    material = Material(run, (), lambda _: nan, (run,), judgements, base, launches=launches)
    return page.render(material, ("gate", "provenance"), title)


def _heads(comparison: Comparison) -> tuple[Benchmark, ...]:
    """The head's benchmarks, each with the rounds of all its launches."""
    found: dict[str, Benchmark] = {}
    for launch in comparison.launches:
        for name, pair in launch.pairs.items():
            if pair.head is not None:
                known = found.get(name)
                found[name] = replace(pair.head, rounds=known.rounds + pair.head.rounds) if known else pair.head
    return tuple(found.values())
