import os
import threading

import pytest

from energyaware.measure.cores import move_to_core

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system moves no threads")


@pytest.fixture
def asked(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 9})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: calls.append(set(cores)))
    return calls


@pytest.mark.parametrize(("share", "core"), [(0.0, 2), (0.33, 2), (0.34, 5), (0.67, 9), (0.999, 9)])
def test_the_share_chooses_among_the_cores_that_are_allowed(asked, share, core):
    move_to_core(share)
    assert asked[0] == {core}


def test_afterwards_all_cores_are_allowed_as_before(asked):
    move_to_core(0.5)
    assert asked[-1] == {2, 5, 9}


def test_threads_started_later_may_use_every_core():
    before = os.sched_getaffinity(0)
    move_to_core(0.0)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
    thread.start()
    thread.join()
    assert seen == [before]
    assert os.sched_getaffinity(0) == before


def test_where_the_system_cannot_nothing_happens(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    move_to_core(0.5)
