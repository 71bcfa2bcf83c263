"""Scheduling on a cluster that is none: tasks are carried out here, and end as the test wants them to."""

import json
import sys
from dataclasses import replace

import pytest

from energyaware.errors import EnergyAwareError
from energyaware.pytest_plugin.engines import ray_cluster, scheduling
from energyaware.pytest_plugin.engines.cluster import Ended, Node
from energyaware.pytest_plugin.engines.node import carry_out, translated
from energyaware.pytest_plugin.engines.scheduling import gpus_of_a_task

SUITE = """
import pytest

@pytest.mark.energy(group="sums")
@pytest.mark.parametrize("size", [10, 20, 30])
def test_sum(energy, size):
    with open("ran.log", "a") as log:
        log.write(f"{size} ")
    energy(sum, range(size))

def test_fails(energy):
    energy(sum, range(10))
    assert 1 == 2

def test_plain():
    pass
"""


class Pretended:
    """Measures in processes of this machine, the last that was submitted first.

    Args:
        lost: name of a test to how often its node is lost.
        broken: the node of this test cannot measure.
    """

    def __init__(self, lost=None, broken=""):
        self.lost = dict(lost or {})
        self.broken = broken
        self.living = (Node("a", 1, 0), Node("b", 1, 0))
        self.tasks = []
        self.closed = False

    def connect(self, root):
        self.root = root

    def nodes(self):
        return self.living

    def submit(self, task, gpus):
        self.tasks.append(task)

    def ended(self, timeout_s):
        if not self.living:
            return []
        task = self.tasks.pop()
        name = task.nodeid.split("::")[1]
        if self.lost.get(name):
            self.lost[name] -= 1
            return [Ended(task.nodeid, lost="the node is dead")]
        if name == self.broken:
            return [Ended(task.nodeid, {"kind": "unusable", "error": "the meter is taken. free it"}, "b")]
        message = json.loads(json.dumps(carry_out(task, self.root)))
        node = "a" if "10" in name else "b"
        if message.get("finished") and node == "b":
            message["finished"]["machine"]["cpu"] = "Another"
        return [Ended(task.nodeid, message, node)]

    def cancel(self):
        self.tasks.clear()

    def close(self):
        self.closed = True


@pytest.fixture
def cluster(monkeypatch):
    """Have runs use a pretended cluster; call it with what goes wrong there."""

    def make(**troubles):
        made = Pretended(**troubles)
        monkeypatch.setattr(ray_cluster, "RayCluster", lambda address: made)
        return made

    return make


def test_rows_of_nodes_are_those_of_one_run(suite, measure, stored, cluster):
    suite.makepyfile(test_suite=SUITE)
    made = cluster(lost={"test_sum[30]": 2})
    result = measure("--energy-engine=ray")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "energy: nodes that measure, one benchmark at a time each: 2 (a, b)",
            "*It ran on the node b:*",
            "*test_sum?30? is measured again, because its node was lost: the node is dead",
        ]
    )
    data = stored()
    own = data["energyaware"]
    # In the order of collection, although they ended in another.
    assert [entry["name"] for entry in data["benchmarks"]] == ["test_sum[10]", "test_sum[20]", "test_sum[30]"]
    assert (suite.path / "ran.log").read_text().split() == ["30", "20", "10"]
    assert [(item["fullname"].split("::")[1], item["node"]) for item in own["nodes"]] == [
        ("test_sum[30]", "b"),
        ("test_sum[20]", "b"),
        ("test_sum[10]", "a"),
    ]
    assert [entry["fullname"] for entry in own["errors"]] == ["test_suite.py::test_fails"]
    assert "assert 1 == 2" in own["errors"][0]["error"]
    # Rows of different machines say so, in the record and for the gate; each has its candle.
    assert "Another" in own["machine"]["cpu"]
    for entry in data["benchmarks"]:
        energy = entry["energy"]
        assert energy["notes"][-1].startswith("measured on cpu ")
        assert "; cpu " in energy["domains"]["cpu"]["detail"]
        assert energy["group"] == "sums"
        assert all(item["candle"] for item in energy["rounds"])
        assert len(energy["rounds"]) == entry["stats"]["rounds"] == 4
    assert set(own["meters"]) == {"cpu"}
    assert own["totals"]["energy_j"] > 0
    assert own["options"]["engine"] == "ray"
    assert not list(suite.path.glob(".benchmarks/journals/*"))
    assert made.closed


def test_a_node_that_cannot_measure_ends_the_run_and_resume_goes_on(suite, measure, stored, cluster):
    suite.makepyfile(test_suite=SUITE.replace("assert 1 == 2", ""))
    cluster(broken="test_sum[10]")
    result = measure("--energy-engine=ray")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*the node b cannot measure: the meter is taken. free it. Repair or stop it*"])
    (journal,) = suite.path.glob(".benchmarks/journals/*")
    lines = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert [(line["benchmark"]["name"], line["node"]) for line in lines] == [
        ("test_fails", "b"),
        ("test_sum[30]", "b"),
        ("test_sum[20]", "b"),
    ]
    assert all(line["spent"]["energy_j"] > 0 for line in lines)
    cluster()
    measure("--energy-engine=ray://elsewhere:10001", "--energy-resume").assert_outcomes(passed=5)
    assert (suite.path / "ran.log").read_text().split() == ["30", "20", "10"]
    assert len(stored()["benchmarks"]) == 4
    assert len(stored()["energyaware"]["nodes"]) == 4


def test_a_benchmark_that_loses_every_node_is_an_error_row(suite, measure, cluster):
    cluster(lost={"test_mine": scheduling.RETRIES + 1})
    result = measure("--energy-engine=ray")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["test_mine: error: its node was lost: the node is dead (4 times)"])


def test_without_any_node_the_run_ends(suite, measure, cluster, monkeypatch):
    monkeypatch.setattr(scheduling, "PATIENCE_S", -1.0)
    made = cluster()
    made.submit = lambda task, gpus: setattr(made, "living", ())
    result = measure("--energy-engine=ray")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*no node with energyaware_meter is left, and 1 of 1 benchmarks are not measured*"])


def test_a_node_without_a_gpu_takes_no_task_that_needs_one(suite, measure, cluster, monkeypatch):
    monkeypatch.setattr(scheduling, "PATIENCE_S", -1.0)
    made = cluster()
    without = Node("a", 1, 0)
    made.living = (without, Node("b", 1, 2))
    made.submit = lambda task, gpus: setattr(made, "living", (without,))
    answers = iter([[]])
    made.ended = lambda timeout_s: next(answers)  # nobody asks again
    result = measure("--energy-engine=ray", "--energy-device=cuda")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "energy: nodes that measure, one benchmark and GPU at a time each: 1 (b)",
            "*no node with energyaware_meter and a GPU is left, and 1 of 1 benchmarks are not measured*",
        ]
    )


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [("cpu", (1, 1), 0), ("auto", (0, 0), 0), ("auto", (1, 8), 1), ("cuda", (0, 1), 1)],
)
def test_a_task_gets_the_gpu_that_its_device_needs(device, gpus, expected):
    assert gpus_of_a_task(device, [Node("n", 1, count) for count in gpus]) == expected


@pytest.mark.parametrize(
    ("device", "nodes", "said"),
    [
        ("cpu", (), "no node of the cluster declares the resource energyaware_meter"),
        ("cpu", (Node("a", 2, 0),), "the node a declares energyaware_meter: 2"),
        ("cuda", (Node("a", 1, 0),), "no node that measures has a GPU"),
        ("auto", (Node("a", 1, 0), Node("b", 1, 1)), "1 of 2 nodes that measure have a GPU"),
    ],
)
def test_nodes_that_cannot_measure_are_refused_with_a_remedy(device, nodes, said):
    with pytest.raises(EnergyAwareError, match=said) as caught:
        gpus_of_a_task(device, nodes)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--energy-engine=ray"], "*has nothing to measure without --energy*"),
        (["--energy", "--energy-engine=dask"], "*--energy-engine=dask is unknown*known: ray, ray://HOST:PORT*"),
        (["--energy", "--energy-engine=ray", "--energy-top=1"], "*--energy-top*leave one of the two out*"),
        (["--energy", "--energy-engine=ray", "--energy-dvfs=cpu:2"], "*--energy-dvfs*leave one of the two out*"),
        (["--energy", "--energy-engine=ray", "--pdb"], "*no debugger*"),
        (["--energy", "--energy-engine=ray", "--energy-device=cuda:1"], "*write --energy-device=cuda"),
    ],
)
def test_what_no_cluster_can_do_is_a_usage_error(suite, arguments, said):
    result = suite.runpytest_inprocess("--energy-meter=steady", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_without_ray_the_error_says_what_to_install(suite, measure, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = measure("--energy-engine=ray")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['ERROR: --energy-engine=ray needs Ray *pip install "energyaware[[]ray]"'])


def test_isolated_processes_are_what_nodes_start_anyway(suite, measure, cluster):
    cluster()
    measure("--energy-engine=ray", "--energy-isolate").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("argument", "translated_"),
    [
        ("/suite", "/here"),
        ("/suite/test_a.py::test_b[/suite/x]", "/here/test_a.py::test_b[/suite/x]"),
        ("--energy-data=/suite/rows.csv", "--energy-data=/here/rows.csv"),
        ("--energy-models=/suite/a,/suite/b", "--energy-models=/here/a,/here/b"),
        ("-c/suite/pytest.ini", "-c/here/pytest.ini"),
        ("--energy-data=/suite-2/rows.csv", "--energy-data=/suite-2/rows.csv"),
        ("--energy-data=/suite.old/rows.csv", "--energy-data=/suite.old/rows.csv"),
        ("/old/suite/test_a.py", "/old/suite/test_a.py"),
        ("suite/test_a.py", "suite/test_a.py"),
    ],
)
def test_only_paths_below_the_root_are_those_of_the_node(argument, translated_):
    assert translated(argument, "/suite", "/here") == translated_


def test_a_node_that_measured_another_benchmark_stands_in_for_none(suite, measure, stored, cluster, monkeypatch):
    suite.makepyfile(test_suite=SUITE)
    made = cluster()
    ended = made.ended

    def renamed(timeout_s):
        (one,) = ended(timeout_s)
        if "20" in one.nodeid:
            name = one.nodeid.replace("20", "10")
            one.message["finished"]["benchmark"]["fullname"] = one.message["finished"]["timing"]["fullname"] = name
        return [one]

    monkeypatch.setattr(made, "ended", renamed)
    result = measure("--energy-engine=ray")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["*it measured *test_sum?10? instead on the node b*"])
    assert [entry["name"] for entry in stored()["benchmarks"]] == ["test_sum[10]", "test_sum[30]"]


def test_a_task_finds_the_suite_where_its_node_unpacked_it(suite, monkeypatch, tmp_path):
    """Arguments that name the folder of the driver name that of the node; another version measures nothing."""
    from energyaware import __version__
    from energyaware.pytest_plugin.engines.node import Task

    there = tmp_path / "over there"
    there.mkdir()
    (there / "py.ini").write_text("[pytest]\nenergy_rounds = 3\n")
    for path in suite.path.glob("*.py"):
        path.rename(there / path.name)
    arguments = ("--energy", "--energy-meter=steady", f"{suite.path}/test_suite.py")
    more = {"PYTEST_ADDOPTS": f"-c '{suite.path}/py.ini' --junit-prefix='two words'", "OMP_NUM_THREADS": None}
    task = Task(__version__, "test_suite.py::test_mine", arguments, str(suite.path), ".", False, more)
    message = carry_out(task, there)
    assert message["outcome"] == "passed"
    assert message["finished"]["benchmark"]["fullname"] == "test_suite.py::test_mine"
    assert len(message["finished"]["benchmark"]["rounds"]) == 3
    assert message["spent"]["energy_j"] > 0
    other = carry_out(replace(task, version="0"), there)
    assert other["kind"] == "unusable"
    assert f"it has energyaware {__version__}, and pytest was started with 0" in other["error"]
