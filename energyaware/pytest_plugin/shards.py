"""`--energy-shard=i/n`: one part of the suite, chosen the same way in every job of a matrix."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from energyaware.baselines.codec import to_json
from energyaware.baselines.index import shard_of
from energyaware.baselines.shards import Shard, ShardRecord, parse_shard, plan_of, split
from energyaware.baselines.store import load_run, stored_files
from energyaware.config import EnergyConfig
from energyaware.errors import EnergyAwareError, StoredRunError
from energyaware.pytest_plugin.journal import KEEPER, Keeper
from energyaware.pytest_plugin.session import marked
from energyaware.records import Benchmark
from energyaware.reports.columns import plain

# How many of the newest stored runs are looked at for durations.
_LOOKED_AT = 20


class Sharding:
    """Keeps the energy benchmarks of one part; registered as a plugin, so its methods are hooks.

    Tests without the fixture `energy` run in the first part alone.
    """

    def __init__(self, config: pytest.Config, settings: EnergyConfig) -> None:
        self._config = config
        self._settings = settings
        self._shard: Shard = parse_shard(settings.shard or "")
        self._record: ShardRecord | None = None

    # After -k and -m have left out what they do: the parts are of what remains.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what other parts measure."""
        benchmarks = [item for item in items if "energy" in getattr(item, "fixturenames", ())]
        ids = [item.nodeid for item in benchmarks]
        durations_s, name = stored_durations(self._storage())
        try:
            parts = split(ids, self._shard.count, durations_s)
            limits = {
                item.nodeid: tuple(limit.text for limit in own)
                for item in benchmarks
                if parts[item.nodeid] == self._shard.index and (own := marked(item).limits) is not None
            }
        except EnergyAwareError as error:
            raise pytest.UsageError(str(error)) from None
        self._require_same_split(parts)
        self._record = ShardRecord(
            index=self._shard.index,
            of=self._shard.count,
            plan=plan_of(parts),
            ids=tuple(ids),
            durations_of=name,
            limits=limits,
            default_limits=tuple(limit.text for limit in self._settings.limits),
        )
        kept = [item for item in items if parts.get(item.nodeid, 1) == self._shard.index]
        dropped = [item for item in items if parts.get(item.nodeid, 1) != self._shard.index]
        if dropped:
            self._config.hook.pytest_deselected(items=dropped)
        items[:] = kept

    def _require_same_split(self, parts: Mapping[str, int]) -> None:
        """See that what the interrupted run measured, if there is one to go on with, is still in this part.

        Raises:
            UsageError: another part would measure it again.
        """
        keeper: Keeper | None = self._config.pluginmanager.getplugin(KEEPER)
        moved = [name for name in keeper.finished if parts.get(name) != self._shard.index] if keeper else []
        if keeper and moved:
            now = parts.get(moved[0])
            where = f"is in part {now}/{self._shard.count} now" if now else "is in no part now"
            keeper.refuse(
                f"the interrupted run measured {moved[0]}, which {where}: the split depends on the stored runs and on "
                "the selected tests. Make both what they were"
            )

    def pytest_report_collectionfinish(self) -> list[str]:
        """Which part this is, and what must be the same in the others."""
        record = self._record
        if record is None:
            return []
        balanced = f"balanced by {record.durations_of}" if record.durations_of else "no stored durations"
        line = (
            f"energy: part {self._shard} of {len(record.ids)} benchmarks ({balanced}; plan {record.plan}, which must "
            "be the same in all parts); `energyaware merge` joins their run files"
        )
        return [plain(line)]

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Mark the run file as a part."""
        if self._record is not None:
            output_json["energyaware"]["shard"] = to_json(self._record)
            output_json["energyaware"]["options"]["shard"] = str(self._shard)

    def _storage(self) -> Path | None:
        storage = self._config._benchmarksession.storage  # type: ignore[attr-defined]
        path = getattr(storage, "path", None)
        return None if path is None else Path(path)


def stored_durations(storage: Path | None) -> tuple[dict[str, float], str]:
    """Seconds of each benchmark in the newest whole run, and the name of its file; nothing where there is none."""
    for path in stored_files(storage)[:_LOOKED_AT] if storage is not None else ():
        with contextlib.suppress(StoredRunError):
            run = load_run(path)
            if run.benchmarks and not run.interrupted and not shard_of(run.options):
                return {item.fullname: _metered_s(item) for item in run.benchmarks if item.rounds}, path.name
    return {}, ""


def _metered_s(item: Benchmark) -> float:
    """The time in its rounds; loading its model is in no run file."""
    return sum(entry.reading.duration_s for entry in item.rounds)
