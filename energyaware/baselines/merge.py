"""Joining run files of one suite that was measured in parts, so that the result is what one run would have stored.

Nothing is computed from measurements here: rounds are copied, totals are added. What was not measured alike is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from energyaware.baselines.codec import from_json, to_json
from energyaware.baselines.machines import joined, label, labelled
from energyaware.baselines.shards import ShardRecord
from energyaware.baselines.store import read_run_file, run_of
from energyaware.errors import StoredRunError
from energyaware.records import Benchmark, RowSource, Run, Totals

_ONE_RUN = "merge only runs of one commit, with one set of options, on equal machines"
ACROSS = "--across-machines"
PARTIAL = "--partial"


@dataclass(frozen=True)
class Part:
    """One run file, read strictly.

    Attributes:
        data: its JSON.
        shard: None where it was not measured as a part.
    """

    path: Path
    data: dict[str, Any]
    run: Run
    shard: ShardRecord | None

    @property
    def own(self) -> dict[str, Any]:
        """Our object in it."""
        found: dict[str, Any] = self.data["energyaware"]
        return found


def read_part(path: Path) -> Part:
    """Read a run file.

    Raises:
        StoredRunError: it is missing, damaged, or of another schema.
    """
    data = read_run_file(path)
    run = run_of(data, path)
    shard = data["energyaware"].get("shard")
    where = f"{path}: energyaware.shard"
    return Part(path, data, run, None if shard is None else from_json(shard, ShardRecord, where))


def merge(parts: Sequence[Part], *, partial: bool = False, across_machines: bool = False) -> dict[str, Any]:
    """One run file of several, as JSON.

    Args:
        partial: join even where parts are absent or were interrupted; the result is marked as interrupted.
        across_machines: join what different machines measured. Each benchmark then says on which it ran, and only
            energies divided by the same candle are compared.

    Raises:
        StoredRunError: they are not parts of one whole, with field and both values; or a benchmark is in two of them.
    """
    _require_one_run(parts, partial)
    missing = _require_one_plan(parts, partial)
    _require_no_duplicates(parts)
    machine, different = _machine(parts, across_machines)
    labels = [label(part.run.machine, different) for part in parts]
    if different:
        _require_candles([item for part in parts for item in part.run.benchmarks])
    order = {name: place for place, name in enumerate(parts[0].shard.ids if parts[0].shard else ())}
    entries = [
        _labelled(entry, name) if name else entry
        for part, name in zip(parts, labels, strict=True)
        for entry in part.data["benchmarks"]
    ]
    entries.sort(key=lambda entry: order.get(str(entry.get("fullname")), len(order)))
    first = parts[0]
    own = {name: value for name, value in first.own.items() if name not in ("shard", "resumed")}
    own |= {
        "machine": machine,
        "options": {name: value for name, value in first.run.options.items() if name != "shard"},
        "totals": to_json(_totals([part.run.totals for part in parts], bool(different))),
        "interrupted": bool(missing) or any(part.run.interrupted for part in parts),
        "errors": [entry for part in parts for entry in _list(part, "errors")],
        "resumed": [entry for part in parts for entry in _list(part, "resumed")],
        "limits": {name: texts for part in parts if part.shard for name, texts in part.shard.limits.items()},
        "default_limits": first.shard.default_limits if first.shard else (),
        "merged": [
            {
                "file": part.path.name,
                "shard": f"{part.shard.index}/{part.shard.of}" if part.shard else "",
                "datetime": part.run.datetime,
                "machine": name,
            }
            for part, name in zip(parts, labels, strict=True)
        ],
    }
    nodes = [entry for part in parts for entry in _list(part, "nodes")]
    own |= {"nodes": nodes} if nodes else {}
    newest = max(part.run.datetime for part in parts)
    return {**first.data, "benchmarks": entries, "datetime": newest, "energyaware": own}


def _list(part: Part, name: str) -> list[Any]:
    found = part.own.get(name, [])
    if not isinstance(found, list):
        raise StoredRunError(f"{part.path}: energyaware.{name} is damaged (no list)", "measure this part again")
    return found


def _require_same(parts: Sequence[Part], name: str, value: Callable[[Part], str], remedy: str = _ONE_RUN) -> None:
    first = parts[0]
    for part in parts[1:]:
        if value(part) != value(first):
            raise StoredRunError(
                f"{name}: {value(first) or 'unset'} in {first.path}, {value(part) or 'unset'} in {part.path}", remedy
            )


def _require_one_run(parts: Sequence[Part], partial: bool) -> None:
    _require_same(parts, "commit", lambda part: part.run.commit)
    _require_same(parts, "uncommitted changes", lambda part: "yes" if part.run.dirty else "no")
    _require_same(parts, "energyaware", lambda part: part.run.version)
    _require_same(parts, "pytest-benchmark", lambda part: str(part.data.get("version", "")))
    names = sorted({name for part in parts for name in part.run.options} - {"shard"})
    for name in names:

        def option(part: Part, name: str = name) -> str:
            return json.dumps(part.run.options.get(name), sort_keys=True)

        _require_same(parts, f"option {name}", option)
    _require_same(parts, "meters", lambda part: json.dumps(part.own.get("meters"), sort_keys=True))
    cut = next((part for part in parts if part.run.interrupted), None)
    if cut is not None and not partial:
        raise StoredRunError(
            f"{cut.path} is of an interrupted run",
            f"go on with it (--energy-resume) and merge again, or join what is there with {PARTIAL}",
        )


def _require_one_plan(parts: Sequence[Part], partial: bool) -> list[int]:
    """Which parts are absent; none where the runs were not measured as parts."""
    _require_same(parts, "measured with --energy-shard", lambda part: "yes" if part.shard else "no")
    shards = [part.shard for part in parts if part.shard]
    if not shards:
        return []
    same_plan = "measure all parts from one storage, with the same tests selected: the split depends on both"
    _require_same(parts, "number of parts", lambda part: str(part.shard and part.shard.of))
    _require_same(parts, "plan of the parts", lambda part: str(part.shard and part.shard.plan), same_plan)
    _require_same(parts, "limits", lambda part: ", ".join(part.shard.default_limits if part.shard else ()))
    by_index: dict[int, Part] = {}
    for part, shard in zip(parts, shards, strict=True):
        other = by_index.setdefault(shard.index, part)
        if other is not part:
            raise StoredRunError(
                f"part {shard.index}/{shard.of} is in {other.path} and in {part.path}", "name each part once"
            )
    missing = [index for index in range(1, shards[0].of + 1) if index not in by_index]
    if missing and not partial:
        shown = ", ".join(f"{index}/{shards[0].of}" for index in missing[:5]) + (", …" if len(missing) > 5 else "")
        raise StoredRunError(f"of the parts, {shown} is not here", f"add it, or join what is there with {PARTIAL}")
    return missing


def _require_no_duplicates(parts: Sequence[Part]) -> None:
    seen: dict[str, Part] = {}
    for part in parts:
        for entry in part.data["benchmarks"]:
            name = str(entry.get("fullname"))
            if name in seen:
                raise StoredRunError(
                    f"the benchmark {name} is in {seen[name].path} and in {part.path}",
                    "merge parts of one run; runs of the same benchmarks are compared, not merged",
                )
            seen[name] = part


def _machine(parts: Sequence[Part], across: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is known of the machine, all parts together, and in which fields they differ."""
    machine, different = joined(part.run.machine for part in parts)
    if different and not across:
        name = different[0]
        first, *others = [part for part in parts if name in part.run.machine]
        other = next(part for part in others if part.run.machine[name] != first.run.machine[name])
        raise StoredRunError(
            f"machine {name}: {first.run.machine[name]} in {first.path}, {other.run.machine[name]} in {other.path}",
            f"measure all parts on equal machines; {ACROSS} joins them all the same, where candles allow it",
        )
    return machine, different


def _require_candles(benchmarks: Sequence[Benchmark]) -> None:
    """What is ranked together must have the same candle in every round, since raw joules of two machines differ."""
    candles: dict[tuple[str, str], Benchmark] = {}
    for item in benchmarks:
        other = candles.setdefault((item.group, item.task), item)
        if not item.candle or not all(entry.candle for entry in item.rounds):
            raise StoredRunError(
                f"{item.fullname} has rounds without a candle, so its joules cannot be compared between machines",
                "measure all parts on equal machines",
            )
        if item.candle != other.candle:
            raise StoredRunError(
                f"candle: {other.candle} of {other.fullname}, {item.candle} of {item.fullname}, which are ranked "
                "together, so their joules cannot be compared between machines",
                "measure all parts on equal machines, or give the tests of a group one candle",
            )


def _labelled(entry: dict[str, Any], machine: str) -> dict[str, Any]:
    """The entry with its machine in it."""
    if "energy" not in entry:
        return entry
    return {**entry, "energy": to_json(labelled(from_json(entry["energy"], Benchmark, "a part"), machine))}


def _totals(totals: Sequence[Totals], different: bool) -> Totals:
    """What all parts cost together. Seconds are those of machines, not of a clock on the wall."""
    energy_j = _sum([item.energy_j for item in totals])
    harness = _sum(
        [
            None if item.harness_share is None or item.energy_j is None else item.harness_share * item.energy_j
            for item in totals
        ]
    )
    sources: set[RowSource] = {item.source for item in totals if item.source is not None}
    source: RowSource | None = sources.pop() if len(sources) == 1 else "mixed" if sources else None
    same_intensity = len({item.intensity_g_per_kwh for item in totals}) == 1
    domains = set.intersection(*(set(item.idle_w) for item in totals))
    return replace(
        totals[0],
        energy_j=energy_j,
        source=source,
        duration_s=_sum([item.duration_s for item in totals]),
        carbon_g=_sum([item.carbon_g for item in totals]),
        intensity_g_per_kwh=totals[0].intensity_g_per_kwh if same_intensity else None,
        intensity_source=totals[0].intensity_source if same_intensity else "",
        harness_share=harness / energy_j if harness is not None and energy_j else None,
        # Equal machines idle alike; of different ones a mean says nothing.
        idle_w={}
        if different
        else {name: math.fsum(item.idle_w[name] for item in totals) / len(totals) for name in sorted(domains)},
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
