import math
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.meters.process_tree import Process, ProcessTree, ThisKernel, descendants

INIT = 1


class Model:
    """A kernel with processes that run, fork, end and are waited for. What others waited for comes in coarse ticks."""

    def __init__(self, tick_s=0.01):
        self.root, self.tick_s, self.starts = os.getpid(), tick_s, 0
        self.cpu, self.waited, self.parent, self.started = {self.root: 0.0}, {self.root: 0.0}, {self.root: INIT}, {}
        self.truth_s = 0.0
        self.asked = 0

    # What processes do.

    def fork(self, parent, pid):
        self.starts += 1
        self.cpu[pid], self.waited[pid], self.parent[pid], self.started[pid] = 0.0, 0.0, parent, self.starts

    def run(self, pid, seconds):
        self.cpu[pid] += seconds
        self.truth_s += seconds

    def end(self, pid, waited=True):
        parent = self.parent.pop(pid)
        cpu_s = self.cpu.pop(pid) + self.waited.pop(pid)
        if waited and parent != INIT:
            self.waited[parent] += cpu_s
        for other, its in self.parent.items():
            if its == pid:
                self.parent[other] = INIT

    def below(self):
        return sorted(self.cpu.keys() - {self.root})

    # What the kernel tells.

    def own_s(self):
        return self.cpu[self.root]

    def waited_s(self):
        return self.waited[self.root]

    def has_children(self):
        return self.root in self.parent.values()

    def children(self, pid):
        self.asked += 1
        return [child for child, parent in self.parent.items() if parent == pid]

    def process(self, pid):
        if pid not in self.cpu:
            return None
        ticks_s = math.floor(self.waited[pid] / self.tick_s) * self.tick_s
        return Process(self.started[pid], self.cpu[pid], ticks_s)


def test_seconds_of_every_generation_are_counted_once():
    kernel = Model()
    tree = ProcessTree(kernel)
    kernel.run(kernel.root, 1.0)
    assert tree.cpu_s() == 1.0
    kernel.fork(kernel.root, 100)
    kernel.fork(100, 101)
    kernel.run(100, 2.0)
    kernel.run(101, 4.0)
    assert tree.cpu_s() == 7.0
    kernel.end(101)
    assert tree.cpu_s() == 7.0
    kernel.run(100, 8.0)
    kernel.end(100)
    assert tree.cpu_s() == 15.0


def test_two_children_of_one_parent_that_end_together_are_both_kept():
    kernel = Model(tick_s=1e9)  # so that its own account of them stays at 0
    tree = ProcessTree(kernel)
    kernel.fork(kernel.root, 100)
    kernel.fork(100, 101)
    kernel.fork(100, 102)
    kernel.run(101, 1.0)
    kernel.run(102, 2.0)
    assert tree.cpu_s() == 3.0
    kernel.end(101)
    kernel.end(102)
    assert tree.cpu_s() == 3.0
    kernel.end(100)
    assert tree.cpu_s() == 3.0


def test_a_child_that_is_handed_to_init_is_still_seen():
    kernel = Model()
    tree = ProcessTree(kernel)
    kernel.fork(kernel.root, 100)
    kernel.fork(100, 101)
    tree.cpu_s()
    kernel.end(100)
    kernel.run(101, 3.0)
    assert tree.cpu_s() == 3.0
    kernel.end(101)
    assert tree.cpu_s() == 3.0


def test_a_child_that_nobody_waits_for_keeps_its_seconds():
    kernel = Model()
    tree = ProcessTree(kernel)
    kernel.fork(kernel.root, 100)
    kernel.run(100, 3.0)
    tree.cpu_s()
    kernel.end(100, waited=False)
    kernel.run(kernel.root, 1.0)
    assert tree.cpu_s() == 4.0


def test_a_new_process_under_an_old_number_is_another():
    kernel = Model()
    tree = ProcessTree(kernel)
    kernel.fork(kernel.root, 100)
    kernel.run(100, 3.0)
    tree.cpu_s()
    kernel.end(100)
    kernel.fork(kernel.root, 100)
    kernel.run(100, 5.0)
    assert tree.cpu_s() == 8.0


def test_a_list_that_misses_a_child_costs_nothing():
    kernel = Model()
    tree = ProcessTree(kernel)
    kernel.fork(kernel.root, 100)
    kernel.run(100, 3.0)
    assert tree.cpu_s() == 3.0
    real, kernel.children = kernel.children, lambda pid: []
    kernel.run(100, 1.0)
    assert tree.cpu_s() == 4.0
    kernel.children = real
    assert tree.cpu_s() == 4.0


def test_a_child_that_ends_while_it_is_looked_at_is_counted_once():
    kernel = Model()
    tree = ProcessTree(kernel)
    kernel.fork(kernel.root, 100)
    kernel.run(100, 3.0)
    tree.cpu_s()
    real = kernel.children

    def end_meanwhile(pid):
        found = real(pid)
        if 100 in kernel.cpu:
            kernel.end(100)
        return found

    kernel.children = end_meanwhile
    assert tree.cpu_s() == 3.0
    assert tree.cpu_s() == 3.0


def test_without_children_nobody_is_looked_for():
    kernel = Model()
    tree = ProcessTree(kernel)
    for _ in range(10):
        tree.cpu_s()
    assert kernel.asked == 0


deeds = st.lists(
    st.tuples(st.sampled_from(["fork", "run", "run", "end", "abandon", "look"]), st.integers(0, 99), st.floats(0, 2)),
    max_size=60,
)


@given(deeds)
def test_the_sum_never_runs_backwards_and_never_exceeds_the_truth(taken):
    kernel = Model()
    tree = ProcessTree(kernel)
    before_s, pid = 0.0, 100
    for deed, which, seconds in taken:
        processes = [kernel.root, *kernel.below()]
        chosen = processes[which % len(processes)]
        if deed == "fork":
            pid += 1
            kernel.fork(chosen, pid)
        elif deed == "run":
            kernel.run(chosen, seconds)
        elif deed in ("end", "abandon") and chosen != kernel.root:
            kernel.end(chosen, waited=deed == "end")
        now_s = tree.cpu_s() if deed == "look" else before_s
        assert before_s - 1e-9 <= now_s <= kernel.truth_s + 1e-9
        before_s = now_s


@given(deeds)
def test_where_parents_wait_nothing_is_lost(taken):
    kernel = Model()
    tree = ProcessTree(kernel)
    pid = 100
    for deed, which, seconds in taken:
        processes = [kernel.root, *kernel.below()]
        chosen = processes[which % len(processes)]
        if deed == "fork":
            pid += 1
            kernel.fork(chosen, pid)
        elif deed == "run":
            kernel.run(chosen, seconds)
        elif deed == "end" and chosen != kernel.root and not kernel.children(chosen):
            kernel.end(chosen)
        elif deed == "look":
            tree.cpu_s()
    while kernel.below():
        kernel.end(next(child for child in kernel.below() if not kernel.children(child)))
    assert tree.cpu_s() == pytest.approx(kernel.truth_s, abs=1e-9)


# --- the kernel underneath -------------------------------------------------------------------------------------------

WORKER = "import time\nwhile time.process_time() < 0.15: pass\nprint(flush=True)\ninput()"


def own_children_only():
    """Seconds of the tree beside those of this process."""
    tree = ProcessTree()
    return lambda: tree.cpu_s() - time.process_time()


@pytest.mark.skipif(sys.platform != "linux", reason="children that live are seen on Linux only")
def test_a_child_that_lives_is_counted_and_not_again_when_it_ends():
    below_s, waited_s = own_children_only(), ThisKernel().waited_s
    before_s, waited_before_s = below_s(), waited_s()
    child = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    alive_s = below_s() - before_s
    child.communicate("\n")
    ended_s, spent_s = below_s() - before_s, waited_s() - waited_before_s
    # Two clocks are not read at once; counting it twice, or not at all, would be wrong by 150 milliseconds.
    assert 0.14 <= alive_s <= spent_s + 0.05
    assert ended_s == pytest.approx(spent_s, abs=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="children that live are seen on Linux only")
def test_a_grandchild_is_a_descendant():
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(flush=True); input()'])"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    found = descendants(os.getpid())
    assert child.pid in found
    assert len(descendants(child.pid)) == 1
    assert descendants(child.pid) < found
    child.communicate("\n")
    assert child.pid not in descendants(os.getpid())


def test_a_process_that_is_gone_is_none():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    kernel = ThisKernel()
    assert kernel.process(child.pid) is None
    assert kernel.children(child.pid) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_process_as_the_kernel_shows_others():
    kernel = ThisKernel()
    before_s, waited_s = kernel.own_s(), kernel.waited_s()
    seen = kernel.process(os.getpid())
    assert before_s <= seen.cpu_s <= kernel.own_s()
    assert seen.waited_s == pytest.approx(waited_s, abs=0.05)  # ticks
    assert seen.started > 0


def test_without_accounts_of_children_the_process_alone_counts(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert ThisKernel().waited_s() == 0.0
    assert ProcessTree().cpu_s() > 0


def test_elsewhere_than_on_linux_nobody_is_looked_for(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    kernel = ThisKernel()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not kernel.has_children()
    child.communicate(b"\n")
