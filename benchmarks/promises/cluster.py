"""How a suite spreads over a Ray cluster: `python -m benchmarks.promises.cluster --nodes 1,2,4,8`.

Starts that many Ray nodes on this machine and measures the same suite on each count of them: a stub that sleeps, since
a machine with few processors could not do the work of eight. What is left of it is the start of one Python process per
benchmark, which real nodes pay themselves and these pay from one machine's processors: efficiency is too low here.
Every call notes when it began and ended and on which node, so that two at once on one node would be seen. Then a run
loses nodes on the way, and what the driver does per result is measured by itself, with results of usual size that
nobody measured (`--flood`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.promises.scale import benchmark
from energyaware import __version__
from energyaware.baselines.codec import to_json
from energyaware.baselines.journal import Finished, RunJournal, Spent, Timing
from energyaware.measure.machine import describe
from energyaware.pytest_plugin.engines.cluster import METER
from energyaware.pytest_plugin.engines.node import Task
from energyaware.pytest_plugin.engines.ray_cluster import RayCluster
from energyaware.pytest_plugin.isolation import read

CONFTEST = """
import pytest
from energyaware.meters.replay import ReplayMeter

def pytest_energy_meters(config):
    return {"steady": lambda: ReplayMeter([{"cpu": 1.0}])}
"""

SUITE = """
import os
import time

import numpy as np
import pytest

def stamp(name, what):
    with open(os.path.join(os.environ["STAMPS"], name), "a") as log:
        log.write(f"{what} {os.environ['RAY_RAYLET_PID']} {time.time()}\\n")

@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARKS"])))
def test_stub(energy, number):
    stamp(str(number), "start")
    matrix = np.ones((8, 8))
    energy(matrix.dot, matrix)
    time.sleep(float(os.environ["SECONDS"]))
    stamp(str(number), "end")
"""

# What one result holds in the flood.
ROUNDS = 40


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        seconds: wall time of the whole command.
        at_once: how often a benchmark began on a node before the one before it had ended.
        again: benchmarks that were measured again.
        lost: benchmarks that are not in the run file.
        driver_cpu_s: CPU time of the pytest that was started.
    """

    nodes: int
    killed: int
    seconds: float
    at_once: int
    again: int
    lost: int
    driver_cpu_s: float


def free_ports() -> dict[str, int]:
    """Ports for a node's agents. Without them a node waits for its agents, and gives up where the machine is slow."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _ in names]
        for one in sockets:
            one.bind(("", 0))
        return {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}


class Machines:
    """Nodes on this machine."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True, **free_ports()}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [
            self._cluster.add_node(num_cpus=0, resources={METER: 1}, wait=False, **free_ports()) for _ in range(count)
        ]
        self._cluster.wait_for_nodes(timeout=120)
        self.address = str(self._cluster.address)

    def kill_one_of(self, raylets: Collection[int]) -> bool:
        """End a node as a machine dies, without a word; False where none of these lives."""
        node = next((item for item in self._nodes if item.all_processes["raylet"][0].process.pid in raylets), None)
        if node is None:
            return False
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)
        return True

    def close(self) -> None:
        """Stop all."""
        self._cluster.shutdown()


def stamps(folder: Path) -> list[tuple[float, str, int, str]]:
    """(time, start or end, raylet, benchmark) of all calls so far, in order."""
    found = []
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            what, raylet, moment = line.split()
            found.append((float(moment), what, int(raylet), path.name))
    return sorted(found)


def occupied(lines: list[tuple[float, str, int, str]]) -> tuple[dict[int, str], int]:
    """Raylets with the benchmark that they measure now, and how often one began where another had not ended."""
    busy: dict[int, str] = {}
    at_once = 0
    for _, what, raylet, name in lines:
        if what == "start":
            at_once += raylet in busy
            busy[raylet] = name
        elif busy.get(raylet) == name:
            del busy[raylet]
    return busy, at_once


def run(nodes: int, benchmarks: int, seconds: float, kill: int = 0) -> Outcome:
    """Measure the suite on so many nodes, of which `kill` die while they measure."""
    with tempfile.TemporaryDirectory() as name:
        root, notes = Path(name) / "suite", Path(name) / "stamps"
        root.mkdir()
        notes.mkdir()
        (root / "conftest.py").write_text(CONFTEST)
        (root / "test_stub.py").write_text(SUITE)
        # Nodes have the environment in which they were started.
        os.environ |= {"STAMPS": str(notes), "BENCHMARKS": str(benchmarks), "SECONDS": str(seconds)}
        machines = Machines(nodes)
        try:
            with (Path(name) / "output").open("w+") as output:
                started_s = time.perf_counter()
                process = _start(root, machines.address, output)
                for count in range(1, kill + 1):
                    while sum(line[1] == "end" for line in stamps(notes)) < 2 * count:
                        time.sleep(0.05)
                    while not machines.kill_one_of(occupied(stamps(notes))[0]):
                        time.sleep(0.05)
                _, _, usage = os.wait4(process.pid, 0)
                elapsed_s = time.perf_counter() - started_s
                output.seek(0)
                text = output.read()
        finally:
            machines.close()
        stored = list(root.glob(".benchmarks/*/*.json"))
        if not stored:
            raise SystemExit(text)
        present = {entry["name"] for entry in json.loads(stored[0].read_text())["benchmarks"] if "energy" in entry}
        return Outcome(
            nodes=nodes,
            killed=kill,
            seconds=elapsed_s,
            at_once=occupied(stamps(notes))[1],
            again=text.count("is measured again"),
            lost=benchmarks - len(present),
            driver_cpu_s=usage.ru_utime + usage.ru_stime,
        )


def _start(root: Path, address: str, output: Any) -> subprocess.Popen[bytes]:
    options = ("--energy", "--energy-meter=steady", "--energy-rounds=2", "--energy-engine=ray")
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=root,
        env={**os.environ, "RAY_ADDRESS": address},
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def flood(nodes: int, results: int) -> list[tuple[str, str]]:
    """What the driver does per result, apart from measuring: through Ray, decoded, and on disk."""
    item = benchmark(0, 0, ROUNDS)
    timing = Timing(item.name, item.fullname, None, None, {}, {}, {}, 1, (0.1,) * ROUNDS)
    finished = Finished(item, timing, "2026-01-01T00:00:00+00:00", Spent(), describe(), "a node")
    said = {"kind": "finished", "outcome": "passed", "finished": to_json(finished)}
    answer = json.dumps({"node": "a node", "said": said})
    machines = Machines(nodes)
    os.environ["RAY_ADDRESS"] = machines.address
    try:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            (root / "suite").mkdir()
            cluster = RayCluster("", lambda task: answer)  # noqa: ARG005 - whatever is asked
            cluster.connect(root / "suite")
            journal = RunJournal(root / "journals", {})
            kept, journal_s = [], 0.0
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            started_s, cpu_s = time.perf_counter(), time.process_time()
            for number in range(results):
                cluster.submit(Task(__version__, str(number), (), "", "", False, {}), 0)
            left = results
            while left:
                for ended in cluster.ended(10.0):
                    found = read(ended.message or {}, ended.nodeid).finished
                    if found is None:
                        raise SystemExit(f"no result: {ended}")
                    kept.append(found)
                    before_s = time.perf_counter()
                    journal.add(found)
                    journal_s += time.perf_counter() - before_s
                    left -= 1
            elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            size = journal.path.stat().st_size if journal.path else 0
            journal.finish()
            cluster.close()
    finally:
        machines.close()
    return [
        ("results per second, all of it", f"{results / elapsed_s:.0f}"),
        ("CPU of the driver per result, ms", f"{1e3 * cpu_s / results:.1f}"),
        ("journal per result, written and synchronised, ms", f"{1e3 * journal_s / results:.1f}"),
        ("message per result, kB", f"{len(answer) / 1e3:.0f}"),
        ("journal per result, kB", f"{size / results / 1e3:.0f}"),
        ("memory of the driver per result, kB", f"{memory * 1.024 / results:.0f}"),  # KiB on Linux
    ]


def table(outcomes: list[Outcome]) -> str:
    """Efficiency is against the first run, whatever its number of nodes."""
    first = outcomes[0]
    rows = []
    for item in outcomes:
        efficiency = first.seconds * first.nodes / (item.seconds * item.nodes)
        rows.append(
            (
                item.nodes, item.killed, f"{item.seconds:.0f}", "" if item.killed else f"{efficiency:.0%}",
                item.at_once, item.again, item.lost, f"{item.driver_cpu_s:.1f}",
            )
        )  # fmt: skip
    headers = (
        "nodes", "killed", "seconds", "efficiency", "two at once on a node", "measured again", "results lost",
        "driver's CPU, s",
    )  # fmt: skip
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="1,2,4,8", help="counts of nodes, comma-separated")
    parser.add_argument("--benchmarks", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=15.0, help="that each benchmark sleeps")
    parser.add_argument("--kill", type=int, default=2, help="nodes of four that die in a run of their own")
    parser.add_argument("--flood", type=int, default=2000, help="results without a measurement, for the driver alone")
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would call its makers
    counts = [int(count) for count in arguments.nodes.split(",") if count]
    planned = [(count, 0) for count in counts] + ([(4, arguments.kill)] if arguments.kill else [])
    outcomes: list[Outcome] = []
    for count, kill in planned:
        outcomes.append(run(count, arguments.benchmarks, arguments.seconds, kill))
        print(outcomes[-1], file=sys.stderr, flush=True)
    if outcomes:
        print(f"`python -m benchmarks.promises.cluster {' '.join(sys.argv[1:])}`".replace(" `", "`"))
        print(f"{arguments.benchmarks} benchmarks that sleep {arguments.seconds:g} s; all nodes share "
              f"{os.cpu_count()} cores of {platform.machine()}\n")  # fmt: skip
        print(table(outcomes))
    if arguments.flood:
        print(f"\n{arguments.flood} results of {ROUNDS} rounds from two nodes that measure nothing\n")
        print(
            tabulate(
                flood(2, arguments.flood), headers=("the driver alone", ""), tablefmt="github", disable_numparse=True
            )
        )


if __name__ == "__main__":
    main()
