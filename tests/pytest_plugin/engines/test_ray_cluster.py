"""A Ray cluster of several nodes on this machine. Ray starts slowly, so all tests share one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

try:
    import ray  # noqa: F401
except (ImportError, KeyError) as error:  # the latter where amdsmi is installed without AMD's library
    pytest.skip(f'Ray cannot be loaded ({error}): pip install "energyaware[ray]"', allow_module_level=True)

from benchmarks.promises.cluster import free_ports
from energyaware.pytest_plugin.engines.cluster import METER

# Each call leaves a line with the raylet of its node, and one when it ends.
SUITE = """
import os
import time

import numpy as np
import pytest

def stamp(name, what):
    with open(os.path.join(os.environ["STAMPS"], name), "a") as log:
        log.write(f"{what} {os.environ['RAY_RAYLET_PID']} {time.time()}\\n")

@pytest.mark.parametrize("size", range(6))
def test_product(energy, size):
    stamp(str(size), "start")
    matrix = np.ones((8 + size, 8))
    energy(matrix.dot, matrix.T)
    time.sleep(1)
    stamp(str(size), "end")

def test_fails(energy):
    assert 1 == 2
"""
NAMES = [f"test_product[{size}]" for size in range(6)]


class Machines:
    """The cluster, and what is run on it."""

    def __init__(self, stamps: Path):
        from ray.cluster_utils import Cluster

        self.stamps = stamps
        self.workers = []
        head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True, **free_ports()}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)

    def add(self, count):
        for _ in range(count):
            self.workers.append(self.cluster.add_node(num_cpus=0, resources={METER: 1}, wait=False, **free_ports()))
        self.cluster.wait_for_nodes()

    def kill(self, raylet):
        """As a machine dies: without a word."""
        node = next(node for node in self.workers if node.all_processes["raylet"][0].process.pid == raylet)
        self.workers.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def start(self, suite, *arguments):
        command = [sys.executable, "-m", "pytest", "--energy", "--energy-meter=steady", "--energy-rounds=2"]
        environment = os.environ | {"RAY_ADDRESS": self.cluster.address}
        return subprocess.Popen(
            [*command, "--energy-engine=ray", *arguments], cwd=suite.path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def lines(self):
        """(benchmark, start or end, raylet, time) of all calls so far."""
        found = []
        for path in self.stamps.iterdir():
            for line in path.read_text().splitlines():
                what, raylet, moment = line.split()
                found.append((path.name, what, int(raylet), float(moment)))
        return sorted(found, key=lambda entry: entry[3])

    def wait_for(self, condition, seconds=180):
        end = time.monotonic() + seconds
        while not condition(self.lines()):
            assert time.monotonic() < end, self.lines()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        stamps = tmp_path_factory.mktemp("stamps")
        for name, value in {
            "STAMPS": str(stamps),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "2000",
            "RAY_health_check_failure_threshold": "2",
            "RAY_health_check_initial_delay_ms": "0",
        }.items():
            patch.setenv(name, value)
        try:
            found = Machines(stamps)
        except Exception as error:  # noqa: BLE001 - Ray raises nothing narrower; it waits 30 s for each of its parts
            pytest.skip(f"Ray does not start here: {error}")
        yield found
        found.cluster.shutdown()


@pytest.fixture
def matrix(suite, machines):
    for path in machines.stamps.iterdir():
        path.unlink()
    suite.makepyfile(test_suite=SUITE)
    return suite


def test_without_a_node_that_may_measure_nothing_starts(matrix, machines):
    process = machines.start(matrix)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no node of the cluster declares the resource energyaware_meter" in output
    assert "ray start --address=HEAD:6379 --resources=" in output
    assert "Traceback" not in output


def test_a_node_dies_and_nothing_is_lost_or_measured_side_by_side(matrix, machines, stored):
    machines.add(2)
    process = machines.start(matrix, "-v")
    # In the middle of a benchmark.
    machines.wait_for(lambda lines: len({raylet for _, _, raylet, _ in lines}) == 2)
    name, _, victim, _ = machines.lines()[-1]
    machines.kill(victim)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, output
    data = stored()
    # What a run on one machine stores, in its order; the failed test is a failed test, and was not tried again.
    assert [entry["name"] for entry in data["benchmarks"]] == NAMES
    (error,) = data["energyaware"]["errors"]
    assert error["fullname"].endswith("::test_fails")
    assert "assert 1 == 2" in error["error"]
    assert "6 passed" in output
    assert "1 failed" in output
    assert f"test_product[{name}] is measured again, because its node was lost" in output
    assert {item["fullname"] for item in data["energyaware"]["nodes"]} == {f"test_suite.py::{name}" for name in NAMES}
    assert all(item["machine"]["cpu"] for item in data["energyaware"]["nodes"])
    # On each node one benchmark ended before the next began.
    lines = machines.lines()
    assert len({raylet for _, _, raylet, _ in lines}) == 2
    for node in {raylet for _, _, raylet, _ in lines}:
        calls = [(what, name) for name, what, raylet, _ in lines if raylet == node]
        if node == victim and calls[-1][0] == "start":
            calls.pop()
        assert [what for what, _ in calls] == ["start", "end"] * (len(calls) // 2)
        assert all(first[1] == second[1] for first, second in zip(calls[::2], calls[1::2], strict=True))


def test_ctrl_c_ends_the_tasks_and_resume_goes_on(matrix, machines, stored):
    if not machines.workers:  # run by itself
        machines.add(1)
    process = machines.start(matrix, "-k", "product")
    machines.wait_for(lambda lines: sum(what == "end" for _, what, _, _ in lines) >= 1)
    machines.wait_for(lambda _: any(matrix.path.glob(".benchmarks/journals/*.jsonl")))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    (journal,) = matrix.path.glob(".benchmarks/journals/*.jsonl")
    kept = {json.loads(line)["benchmark"]["name"] for line in journal.read_text().splitlines()[1:]}
    assert 1 <= len(kept) < 6
    began = machines.lines()
    time.sleep(2)
    assert machines.lines() == began  # nothing runs on
    again = machines.start(matrix, "-k", "product", "--energy-resume")
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    assert [entry["name"] for entry in stored()["benchmarks"]] == NAMES
    measured = [f"test_product[{name}]" for name, what, _, _ in machines.lines() if what == "end"]
    assert all(measured.count(name) == 1 for name in kept)
