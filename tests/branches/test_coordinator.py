"""Real workers in a tiny repository, driven by the launcher."""

import contextlib
import os
import random
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from energyaware.branches.chance import seeded
from energyaware.branches.channel import PROTOCOL
from energyaware.branches.checkout import Checkout
from energyaware.branches.coordinator import SIDES, Collected, Launcher, question_of, require_own_code
from energyaware.branches.janitor import Janitor
from energyaware.branches.worker import Worker
from energyaware.errors import RevisionError, WorkerError

STAMPED = """
import os, time

JOULES = {joules}

def work():
    with open(os.environ["STAMPS"], "a") as file:
        file.write(f"{{os.getpid()}} begin {{time.monotonic_ns()}}\\n")
        time.sleep(0.002)
        file.write(f"{{os.getpid()}} end {{time.monotonic_ns()}}\\n")
"""


def copies(repository, place):
    """Two copies of the repository; the head reads 1.5 times the joules of the base."""
    found = {}
    for side, joules in (("base", 1.0), ("head", 1.5)):
        root = place / side
        repository.git("worktree", "add", "-q", "--detach", str(root))
        (root / "mypkg" / "__init__.py").write_text(STAMPED.format(joules=joules))
        found[side] = Checkout(side, root.resolve(), side)
    return found


@contextlib.contextmanager
def starting(sides, environment, place):
    """A function (side, seed=0) → its running worker."""
    variables = environment | {"STAMPS": str(place / "stamps")}
    with Janitor() as janitor:

        def worker(side, seed=0):
            item = sides[side]
            own = seeded(variables | {"PYTHONPATH": str(item.root)}, seed)
            output = place / f"{side}.log"
            return Worker(item, Path(sys.executable), own, ["benchmarks"], item.root, output, janitor)

        yield worker


def launcher_of(sides, start):
    return Launcher(sides, start, rounds=4, rng=random.Random(1), watch=lambda name, number: None)


@pytest.fixture
def sides(repository, tmp_path):
    return copies(repository, tmp_path)


@pytest.fixture
def start(sides, environment, tmp_path):
    with starting(sides, environment, tmp_path) as worker:
        yield worker


@pytest.fixture
def launcher(sides, start):
    return launcher_of(sides, start)


def test_rounds_are_paired_and_never_overlap(launcher, sides, tmp_path):
    launch, imported = launcher.launch(lambda found: found["head"].ids)
    (pair,) = launch.pairs.values()
    assert len(pair.base.rounds) == len(pair.head.rounds) == 4
    ratios = [
        head.reading.total_j / base.reading.total_j
        for base, head in zip(pair.base.rounds, pair.head.rounds, strict=True)
    ]
    assert ratios == pytest.approx([1.5] * 4, rel=1e-3)
    stamps = [line.split() for line in (tmp_path / "stamps").read_text().splitlines()]
    stamps.sort(key=lambda stamp: int(stamp[2]))
    assert [stamp[1] for stamp in stamps] == ["begin", "end"] * (len(stamps) // 2)
    order = [stamp[0] for stamp in stamps[::2]]
    assert len(set(order)) == 2
    # They do take turns: each runs between rounds of the other.
    assert sum(before != after for before, after in pairwise(order)) > 4
    for side in SIDES:
        assert imported[side]["mypkg"] == str(sides[side].root / "mypkg" / "__init__.py")


CHANCE = """
import os
import mypkg

seen = []
set_affinity = os.sched_setaffinity

def noted(pid, cores):
    # A busy system may move the process on at once, so that only the order is certain.
    seen.append(min(cores))
    set_affinity(pid, cores)

def test_a(energy, monkeypatch):
    block = bytearray(100_000)
    facts = [hash("salt"), id(block), id(mypkg.work)]
    monkeypatch.setattr(os, "sched_setaffinity", noted)
    energy.pedantic(mypkg.work, setup=lambda: None)
    line = " ".join(map(str, [*facts, "/", *seen[-8::2]]))
    with open(os.environ["STAMPS"] + ".chance", "a") as file:
        print(line, file=file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's personality and /proc")
def test_both_sides_of_a_launch_share_what_chance_gives_a_process(launcher, sides, tmp_path):
    for side in SIDES:
        (sides[side].root / "benchmarks" / "test_suite.py").write_text(CHANCE)
    for _ in range(2):
        launcher.launch(lambda found: found["head"].ids)
    lines = (tmp_path / "stamps.chance").read_text().splitlines()
    facts = [line.split("/")[0].split() for line in lines]
    cores = [line.split("/")[1].split() for line in lines]
    salts = [fact[0] for fact in facts]
    assert salts[0] == salts[1] != salts[2] == salts[3]
    assert cores[0] == cores[1]
    assert cores[2] == cores[3]
    if os.sched_getaffinity(0) != {0}:
        assert len({core for line in cores for core in line}) > 1


def run_time_ns(pid: int) -> int:
    """CPU time of all threads of a process."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def wait_until_asleep(pid: int) -> None:
    """Until all threads of a process sleep, and have run for no longer at a second look."""
    deadline, before_ns = time.monotonic() + 60, -1
    while time.monotonic() < deadline:
        now_ns = run_time_ns(pid)
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        if {stat.rpartition(")")[2].split()[0] for stat in stats} != {"S"}:
            now_ns = -1
        elif now_ns == before_ns:
            return
        before_ns = now_ns
        time.sleep(0.05)
    raise AssertionError("it never sleeps")


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel keeps no scheduler statistics")
def test_an_idle_worker_burns_no_cpu(start):
    with start("base") as idle, start("head") as busy:
        for worker in (idle, busy):
            ids = worker.hear("collected")["ids"]
            calls = worker.ask("run", "arrived", ids=ids)["calls"]
            worker.ask("calls", "ready", calls=calls)
        idle.ask("round", "round", core=0.0)
        idle_pid, busy_pid = idle._process.pid, busy._process.pid
        wait_until_asleep(idle_pid)
        before = run_time_ns(idle_pid), run_time_ns(busy_pid)
        for _ in range(5):
            busy.ask("round", "round", core=0.0)
        after = run_time_ns(idle_pid), run_time_ns(busy_pid)
        assert after[0] == before[0]
        assert after[1] > before[1]
        for worker in (idle, busy):
            worker.ask("stop", "finished")
            worker.ask("next", "done")


WRONG = {
    "pass": "it metered nothing: energy(...) was not called",
    "energy(int); energy(int)": "energy(...) is called twice in one test",
    "import pytest; pytest.skip('no GPU')": "Skipped: no GPU",
    "energy.pedantic(lambda: 1 / 0)": "ZeroDivisionError: division by zero",
    "energy(int); energy.record(nonsense=1)": "energy.record does not know 'nonsense'",
}

# Beside those that go wrong in the head: one that fails in the base, and one that either side is faster at.
MIXED = """
import mypkg, pytest
from energyaware.measure import rounds

def test_base_fails(energy):
    assert mypkg.JOULES > 1
    energy.pedantic(mypkg.work)

@pytest.mark.parametrize("faster", ["base", "head"])
def test_calls(energy, monkeypatch, faster):
    found = 7 if faster == {side!r} else 3
    monkeypatch.setattr(rounds, "calls_per_window", lambda call, window_s: (found, window_s / found))
    energy(int)
"""


@pytest.fixture(scope="module")
def mixed(shared_repository, tmp_path_factory):
    """The pairs of one launch of benchmarks of all kinds, by the tests' names."""
    place = tmp_path_factory.mktemp("mixed")
    found = copies(shared_repository, place)
    for side in SIDES:
        bodies = [body if side == "head" else "energy(int)" for body in WRONG]
        wrong = "\n".join(f"def test_{index}(energy):\n    {body}" for index, body in enumerate(bodies))
        suite = wrong + MIXED.format(side=side)
        (found[side].root / "benchmarks" / "test_suite.py").write_text(suite)
    with starting(found, shared_repository.environment, place) as start:
        launch, _ = launcher_of(found, start).launch(lambda collected: collected["head"].ids)
    return {name.rpartition("::")[2]: pair for name, pair in launch.pairs.items()}


def test_what_goes_wrong_in_a_test_is_told_and_the_next_one_runs(mixed):
    *wrong, _, _, last = mixed.values()
    assert [pair.head_error for pair in wrong] == list(WRONG.values())
    assert {(pair.base_error, pair.base, pair.head) for pair in wrong} == {("", None, None)}
    assert last.base is not None
    assert last.head is not None


def test_a_test_that_fails_on_one_side_is_not_run_on_the_other(mixed):
    pair = mixed["test_base_fails"]
    assert (pair.base, pair.head, pair.head_error) == (None, None, "")
    assert pair.base_error.startswith("AssertionError")


@pytest.mark.parametrize("faster", SIDES)
def test_calls_of_both_sides_are_the_larger_number(mixed, faster):
    """A side that is faster does not get shorter windows."""
    pair = mixed[f"test_calls[{faster}]"]
    assert {entry.calls for entry in (*pair.base.rounds, *pair.head.rounds)} == {7}


def test_a_session_that_stops_early_shows_what_it_printed(launcher, sides):
    suite = "import pytest\ndef test_a(energy):\n    pytest.exit('enough of this')\n"
    (sides["head"].root / "benchmarks" / "test_suite.py").write_text(suite)
    with pytest.raises(WorkerError, match=r"pytest on head ended with exit status 2 at .*(?s:.)*enough of this"):
        launcher.launch(lambda found: found["head"].ids)


def test_a_conftest_that_cannot_be_imported_shows_why(launcher, sides):
    (sides["base"].root / "conftest.py").write_text("import nowhere_to_be_found")
    with pytest.raises(WorkerError) as caught:
        launcher.launch(lambda found: found["head"].ids)
    assert caught.value.cause == "pytest on base ended with exit status 4 at its start"
    assert "No module named 'nowhere_to_be_found'" in caught.value.remedy


def test_a_meter_that_cannot_be_opened_says_what_to_do(launcher, sides):
    (sides["base"].root / "pytest.ini").write_text("[pytest]\nenergy_meter = pakage\n")
    with pytest.raises(
        WorkerError, match=r"base cannot be measured\. no meter is called 'pakage'\. did you mean package"
    ):
        launcher.launch(lambda found: found["head"].ids)


def told(*ids, broken=None, protocol=PROTOCOL):
    message = {
        "protocol": protocol, "ids": ids, "limits": dict.fromkeys(ids), "defaults": ["energy:5%"], "machine": {},
        "broken": broken or {},
    }  # fmt: skip
    return Collected.told(Checkout("main", Path("/x"), ""), message)


CHECKOUTS = {"base": Checkout("main", Path("/base"), "b"), "head": Checkout("feature", Path("/head"), "h")}


def test_another_version_of_energyaware_is_refused():
    with pytest.raises(WorkerError, match="main runs an energyaware of another version"):
        told(protocol=0)


def test_what_only_one_side_has_is_missing_and_why():
    base = told("t.py::a", "t.py::gone", broken={"benchmarks/test_new.py": "ImportError: no"})
    head = told("t.py::a", "benchmarks/test_new.py::b")
    question = question_of(CHECKOUTS, ("--x",), {"base": base, "head": head})
    assert (question.base, question.head, question.ids) == ("b", "h", ("t.py::a",))
    assert question.missing == {
        "benchmarks/test_new.py::b": "the base has no such benchmark (ImportError: no)",
        "t.py::gone": "the head has no such benchmark",
    }
    assert question.limits["t.py::gone"] == ("energy:5%",)


@pytest.mark.parametrize(
    ("base", "head", "reason"),
    [
        (told(), told(), "neither side has an energy benchmark"),
        (
            told(broken={"t.py": "ImportError: x"}),
            told("t.py::a"),
            r"main has none .* of feature \(t.py: ImportError: x",
        ),
        (told("t.py::a"), told(), "feature has none of the energy benchmarks of main"),
    ],
)
def test_nothing_in_common_is_explained(base, head, reason):
    with pytest.raises(RevisionError, match=reason):
        question_of(CHECKOUTS, (), {"base": base, "head": head})


TRACKED = ("src/mypkg/__init__.py", "src/mypkg/core.py", "tool.py", "setup.py", "sub/setup.py", "sub/python/other/a.py")


@pytest.mark.parametrize(
    ("base", "head", "refused"),
    [
        ({"mypkg": "/base/src/mypkg/__init__.py"}, {"mypkg": "/head/src/mypkg/__init__.py"}, ""),
        ({"mypkg": "/head/src/mypkg/__init__.py"}, {"mypkg": "/head/src/mypkg/__init__.py"}, "belongs to feature"),
        (
            {"mypkg.core": "/v/site-packages/mypkg/core.py"},
            {"mypkg.core": "/v/site-packages/mypkg/core.py"},
            "both sides",
        ),
        ({"mypkg": "/b/site-packages/mypkg/__init__.py"}, {"mypkg": "/h/site-packages/mypkg/__init__.py"}, ""),
        ({"mypkg": "/elsewhere/mypkg/__init__.py"}, {"mypkg": "/elsewhere/mypkg/__init__.py"}, "both sides"),
        ({"other.a": "/v/site-packages/other/a.py"}, {"other.a": "/v/site-packages/other/a.py"}, "both sides"),
        ({"tool": "/v/site-packages/tool.py"}, {"tool": "/v/site-packages/tool.py"}, ""),
        ({"numpy": "/v/site-packages/numpy/__init__.py"}, {"numpy": "/v/site-packages/numpy/__init__.py"}, ""),
        ({"x": "/head/.venv/lib/site-packages/x.py"}, {"x": "/head/.venv/lib/site-packages/x.py"}, ""),
    ],
)
def test_each_side_must_run_its_own_code(base, head, refused):
    if not refused:
        require_own_code(CHECKOUTS, {"base": base, "head": head}, TRACKED)
        return
    with pytest.raises(RevisionError, match=refused) as caught:
        require_own_code(CHECKOUTS, {"base": base, "head": head}, TRACKED)
    assert "--prepare" in caught.value.remedy
