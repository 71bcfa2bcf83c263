"""Rows of different machines side by side: each says where it was measured, and joules compare by the candle alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from energyaware.records import Benchmark


def joined(machines: Iterable[Mapping[str, str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is known of all machines together, and in which fields they differ.

    One that has loaded no model knows nothing of GPU and threads; that is no difference.
    """
    found: dict[str, list[str]] = {}
    for machine in machines:
        for name, value in machine.items():
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return {name: " | ".join(values) for name, values in found.items()}, tuple(
        name for name, values in found.items() if len(values) > 1
    )


def label(machine: Mapping[str, str], different: Sequence[str]) -> str:
    """What tells a machine from the others."""
    return ", ".join(f"{name} {machine[name]}" for name in different if name in machine)


def labelled(item: Benchmark, machine: str) -> Benchmark:
    """The benchmark with its machine in it: where the gate sees it as another power model, and where people read.

    Args:
        machine: its `label`.
    """
    domains = {
        name: replace(domain, detail=f"{domain.detail}; {machine}".removeprefix("; "))
        for name, domain in item.domains.items()
    }
    note = f"measured on {machine}: joules and seconds of other machines compare only divided by the candle"
    return replace(item, domains=domains, notes=(*item.notes, note))


def apart(
    benchmarks: Sequence[Benchmark], machines: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[Benchmark, ...], dict[str, str]]:
    """Rows of one run as they may be ranked together, and what is known of its machines.

    Rows of equal machines stay as they are. Of different ones each is labelled; where a group has not one candle beside
    every round of a task, its raw joules would be ranked, and so each machine's rows become a group of their own.

    Args:
        machines: full name to machine; rows that are not in it, as of failed tests, stay as they are.
    """
    # Sorted: what is joined must not depend on which node was the first to end.
    machine, different = joined(sorted(machines.values(), key=lambda found: sorted(found.items())))
    if not different:
        return tuple(benchmarks), machine
    raw = _groups_without_one_candle(benchmarks)
    found = []
    for item in benchmarks:
        name = label(machines.get(item.fullname, {}), different)
        group = f"{item.group} on {name}".strip() if name and item.group in raw else item.group
        found.append(replace(labelled(item, name), group=group) if name else item)
    return tuple(found), machine


def _groups_without_one_candle(benchmarks: Sequence[Benchmark]) -> set[str]:
    candles: dict[tuple[str, str], set[str]] = {}
    for item in benchmarks:
        if item.rounds:
            complete = all(entry.candle for entry in item.rounds)
            candles.setdefault((item.group, item.task), set()).add(item.candle if complete else "")
    return {group for (group, _), found in candles.items() if len(found) > 1 or "" in found}
