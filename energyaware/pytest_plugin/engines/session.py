"""The run of a cluster: its nodes have the meters, and each benchmark says where it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from energyaware.baselines.journal import Finished, Spent
from energyaware.baselines.machines import apart
from energyaware.config import EnergyConfig
from energyaware.measure.machine import describe
from energyaware.meters.base import Meter
from energyaware.pytest_plugin.session import EnergySession
from energyaware.records import Benchmark, Domain


class Elsewhere:
    """The meter of a process that measures nothing."""

    name = "elsewhere"
    nests = False
    domains: Mapping[str, Domain] = {}

    def start(self) -> None:
        """Nothing is read."""

    def stop(self, mark: None) -> dict[str, float]:  # noqa: ARG002 - as a meter's
        """Nothing is read."""
        return {}

    def close(self) -> None:
        """Nothing is open."""


class ClusterSession(EnergySession):
    """State of a run whose benchmarks nodes measure; registered as a plugin, so its methods are hooks."""

    def __init__(self, config: pytest.Config, settings: EnergyConfig) -> None:
        super().__init__(config, settings)
        self._taken: dict[str, Finished] = {}
        self._node = ""
        self._all = Spent()
        self._unkept = Spent()
        self._kept_s = 0.0

    def open_meter(self) -> tuple[Meter, dict[str, float]]:
        """None: that of this machine would read this machine."""
        return Elsewhere(), {}

    def readers(self) -> str:
        """Which meter it is stands in each row."""
        return "read by the nodes of the cluster, each with its own meter"

    def add_spent(self, spent: Spent | None, node: str) -> None:
        """Take what a node spent on the benchmark that comes next, whether or not its test passed.

        Args:
            spent: None where its process died before it could say.
            node: its name.
        """
        self._all += spent or Spent()
        self._unkept += spent or Spent()
        self._node = node

    def take(self, finished: Finished, harness_j: float) -> None:  # noqa: ARG002 - it is in what the node spent
        """Take a benchmark that a node has measured. Its machine may be another than the last one's."""
        self._keeper.take(finished.timing)
        name = finished.benchmark.fullname
        self._taken[name] = replace(finished, node=self._node)
        self._benchmarks[name] = finished.benchmark

    def keep(self, benchmark: Benchmark) -> None:
        """Put a benchmark on disk, with its machine and what the nodes spent since the one before."""
        taken = self._taken[benchmark.fullname]
        now_s = self.seconds()
        spent = replace(self._unkept, duration_s=now_s - self._kept_s)  # on the wall, as of a run on one machine
        self._keeper.keep(benchmark, spent, taken.machine, taken.node)
        self._unkept, self._kept_s = Spent(), now_s

    def spent(self) -> Spent:
        """What the nodes spent in this run and in the interrupted one; the seconds are those of a clock on the wall."""
        return self._keeper.spent + Spent(self._all.energy_j, self.seconds(), self._all.harness_j)

    def domains(self) -> Mapping[str, Domain]:
        """Who reads what, on all nodes together."""
        return {name: domain for item in self._benchmarks.values() for name, domain in item.domains.items()}

    def rows(self) -> tuple[tuple[Benchmark, ...], dict[str, str]]:
        """What is stored and ranked; rows of different machines are marked, and ranked apart without one candle."""
        machines = {name: item.machine for name, item in self._measured_by().items()}
        benchmarks, machine = apart(self.measured(), machines)
        return benchmarks, machine or describe()

    def put_in_order(self, nodeids: Sequence[str]) -> None:
        """Have benchmarks in the order in which one machine would have measured them, not in which nodes ended."""
        place = {name: index for index, name in enumerate(nodeids)}
        self._benchmarks = dict(sorted(self._benchmarks.items(), key=lambda entry: place.get(entry[0], len(place))))
        entries: list[Any] = self.config._benchmarksession.benchmarks  # type: ignore[attr-defined]
        entries.sort(key=lambda entry: place.get(entry.fullname, len(place)))

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add where each benchmark was measured."""
        super().pytest_benchmark_update_json(output_json)
        output_json["energyaware"]["nodes"] = [
            {"fullname": name, "node": item.node, "machine": dict(item.machine)}
            for name, item in self._measured_by().items()
        ]

    def _measured_by(self) -> dict[str, Finished]:
        return {**self._keeper.finished, **self._taken}
