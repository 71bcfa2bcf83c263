import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from energyaware.branches.janitor import Janitor, clean_up

# A group leader that has started a child, and says so.
GROUP = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print(child.pid, flush=True)
child.wait()
"""

# A coordinator that tells its janitor what there is, and waits for its end.
COORDINATOR = """
import signal, sys, time
from pathlib import Path
# A job in the background inherits to ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from energyaware.branches.janitor import Janitor
with Janitor() as janitor:
    janitor.kill_at_end(int(sys.argv[1]))
    janitor.remove_at_end(Path(sys.argv[2]))
    print("ready", flush=True)
    time.sleep(1000)
"""


def until(condition, seconds=60.0):
    """Wait for another process; False where it does not happen."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def group():
    """A process of its own group and the id of its child."""
    process = subprocess.Popen([sys.executable, "-c", GROUP], stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        child = int(process.stdout.readline())
        yield process, child
        for pid in (child, process.pid):
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "place with a space"
    (path / "inside").mkdir(parents=True)
    return path


def test_leaving_the_block_kills_and_removes(folder, group):
    leader, child = group
    with Janitor() as janitor:
        janitor.kill_at_end(leader.pid)
        janitor.remove_at_end(folder)
        janitor.remove_at_end(folder / "is gone by then")
    assert leader.wait(60) == -signal.SIGKILL
    assert until(lambda: gone(child))
    assert not folder.exists()


def test_what_has_ended_is_left_alone(group):
    leader, child = group
    with Janitor() as janitor:
        janitor.kill_at_end(leader.pid)
        janitor.ended(leader.pid)
    assert leader.poll() is None
    assert not gone(child)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_the_coordinators_death_is_enough(folder, group, number):
    leader, child = group
    command = [sys.executable, "-c", COORDINATOR, str(leader.pid), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as coordinator:
        assert coordinator.stdout.readline() == "ready\n"
        (janitor,) = psutil.Process(coordinator.pid).children()
        coordinator.send_signal(number)
        coordinator.wait(60)
    assert leader.wait(60) == -signal.SIGKILL
    assert until(lambda: gone(child) and gone(janitor.pid))
    assert not folder.exists()


def test_a_line_that_was_cut_off_ends_the_list(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    clean_up([json.dumps({"folder": str(first)}) + "\n", '{"folder": "' + str(second)])
    assert not first.exists()
    assert second.exists()
