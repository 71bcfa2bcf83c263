import os
import signal
import subprocess
import sys

import pytest

from energyaware.dvfs.catalogue import knob_of
from energyaware.dvfs.cpu_frequency import CpuFrequency
from energyaware.dvfs.state import Prior, load, save, state_file
from energyaware.dvfs.sweep import Sweep, leftover, locked, recover, undisturbed
from energyaware.dvfs.sysfs import Sysfs
from energyaware.errors import KnobError, KnobUnavailableError

PRIOR = {"policy0/scaling_max_freq": 3100}

# Pins the clock of a tree of files, says so, and waits.
SWEEPER = """
import signal, sys, time
from pathlib import Path
# A job in the background inherits to ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from energyaware.dvfs.catalogue import open_knob
from energyaware.dvfs.sweep import Sweep
root = Path(sys.argv[1])
with Sweep(open_knob("cpu", root=root), root / "state", boot="b-1") as sweep, sweep.at(1500.0) as in_force:
    print(in_force, flush=True)
    {end}
"""
WAITS = "time.sleep(1000)"


@pytest.fixture
def sleeps():
    return []


@pytest.fixture
def open_sweep(knob, tmp_path, sleeps):
    def make(**options):
        options = {"opener": lambda prior: knob, "boot": "b-1", "sleep": sleeps.append, **options}
        return Sweep(options.pop("knob", knob), tmp_path, **options)

    return make


# --- the block -------------------------------------------------------------------------------------------------------


def test_each_setting_is_waited_for_and_put_back(knob, open_sweep, sleeps, tmp_path):
    with open_sweep() as sweep:
        for setting in (1200.0, 1800.0):
            with sweep.at(setting) as in_force:
                assert in_force == knob.value == setting
            assert knob.value == 3100
    assert knob.log == ["set 1200", "restore 3100", "set 1800", "restore 3100"]
    assert sleeps == [0.25, 0.25]
    assert load(state_file(tmp_path)) is None


def test_the_state_is_noted_before_the_first_change(knob, open_sweep, tmp_path):
    with open_sweep():
        assert knob.log == []
        assert load(state_file(tmp_path)) == Prior("cpu", PRIOR, "b-1", os.getpid())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_the_block_all_is_put_back(knob, open_sweep, tmp_path, error):
    def run():
        with open_sweep() as sweep, sweep.at(1200.0):
            raise error

    with pytest.raises(error):
        run()
    assert knob.value == 3100
    assert load(state_file(tmp_path)) is None


def test_ctrl_c_while_waiting_for_the_hardware(knob, open_sweep, tmp_path):
    def interrupt(seconds):
        raise KeyboardInterrupt

    def run():
        with open_sweep(sleep=interrupt) as sweep, sweep.at(1200.0):
            pytest.fail("never")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert knob.value == 3100


def test_where_nothing_was_changed_nothing_is_put_back(knob, open_sweep, tmp_path):
    """What forbids to set forbids to reset as well: the benchmark is skipped, not broken."""
    with open_sweep() as sweep:
        knob.refuses = KnobUnavailableError("not permitted", "be root")
        with pytest.raises(KnobUnavailableError), sweep.at(1200.0):
            pytest.fail("never")
    assert knob.log == ["set 1200"]
    assert load(state_file(tmp_path)) is None


def test_half_a_change_is_put_back(knob, open_sweep):
    def half(setting):
        knob.value = setting
        raise KnobError("the driver refused the second CPU", "give up")

    with open_sweep() as sweep:
        knob.set = half
        with pytest.raises(KnobError, match="second CPU"), sweep.at(1200.0):
            pytest.fail("never")
        assert knob.value == 3100


def test_what_cannot_be_put_back_keeps_its_note(knob, open_sweep, tmp_path):
    def run():
        with open_sweep() as sweep, sweep.at(1200.0):
            knob.fault = KnobError("policy0 stands at 1200", "write it yourself")

    with pytest.raises(KnobError, match="policy0 stands at 1200"):
        run()
    assert load(state_file(tmp_path)).values == PRIOR
    knob.fault = None
    assert "cpu is put back" in recover(tmp_path, lambda prior: knob, "b-1")
    assert knob.value == 3100


def test_a_knob_that_is_not_ready_leaves_no_note(knob, open_sweep, tmp_path):
    knob.refuses = KnobError("others use it", "ask them")
    with pytest.raises(KnobError, match="others use it"):
        open_sweep().__enter__()
    assert load(state_file(tmp_path)) is None
    knob.refuses = None
    with open_sweep():  # the lock is free again
        pass


def test_the_handlers_of_before_come_back(open_sweep):
    former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with open_sweep():
        assert signal.getsignal(signal.SIGTERM) != former[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == former


# --- signals ---------------------------------------------------------------------------------------------------------


def test_a_handler_of_ones_own_is_called_after_all_is_put_back(knob, open_sweep):
    seen = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: seen.append((number, knob.value)))

    def run():
        with open_sweep() as sweep, sweep.at(1200.0):
            signal.raise_signal(signal.SIGTERM)
            assert knob.value == 3100

    try:
        with pytest.raises(KnobError, match="a signal ended the setting"):
            run()
    finally:
        signal.signal(signal.SIGTERM, former)
    assert seen == [(signal.SIGTERM, 3100)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_all_is_put_back(number):
    log = []
    former = signal.signal(number, lambda *_: log.append("signal"))
    try:
        with undisturbed():
            signal.raise_signal(number)
            signal.raise_signal(number)
            log.append("done")
    finally:
        signal.signal(number, former)
    assert log == ["done", "signal"]


def test_ctrl_c_in_the_middle_of_putting_back_does_not_stop_it(knob, open_sweep):
    restore = knob.restore

    def slow(state):
        signal.raise_signal(signal.SIGINT)
        restore(state)

    knob.restore = slow
    former = signal.signal(signal.SIGINT, signal.default_int_handler)

    def run():
        with open_sweep() as sweep, sweep.at(1200.0):
            pass

    try:
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        signal.signal(signal.SIGINT, former)
    assert knob.value == 3100


# --- the lock --------------------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_and_told_which_process_sweeps(tmp_path, cpufreq_tree):
    root = cpufreq_tree()
    with locked(root / "state"):
        done = subprocess.run(
            [sys.executable, "-c", SWEEPER.format(end="pass"), str(root)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert f"another run changes clocks or power caps on this machine right now (process {os.getpid()})" in done.stderr
    assert CpuFrequency(Sysfs(root)).state()["policy0/scaling_max_freq"] == 3_100_000


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KnobError, match="ENERGYAWARE_STATE"), locked(tmp_path / "file" / "state"):
        pytest.fail("never")


# --- after kill -9 ---------------------------------------------------------------------------------------------------


def test_a_note_that_was_left_is_put_back_before_the_next_sweep_looks(knob, open_sweep, tmp_path):
    save(Prior("cpu", PRIOR, "b-1", 42), state_file(tmp_path))
    knob.value = 1200
    with open_sweep() as sweep:
        assert "process 42" in sweep.recovered
        assert knob.value == 3100
        assert load(state_file(tmp_path)).values == PRIOR


def test_a_note_from_before_a_restart_is_only_removed(knob, tmp_path):
    save(Prior("cpu", PRIOR, "b-0", 42), state_file(tmp_path))
    assert "restarted since" in recover(tmp_path, lambda prior: knob, "b-1")
    assert knob.log == []
    assert load(state_file(tmp_path)) is None


def test_without_a_note_nothing_happens_and_nothing_is_made(tmp_path):
    assert recover(tmp_path / "none", lambda prior: pytest.fail("never"), "b-1") == ""
    assert leftover(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_a_note_that_cannot_be_followed_stops_the_next_sweep_and_stays(knob, open_sweep, tmp_path):
    save(Prior("cpu", PRIOR, "b-1", 42), state_file(tmp_path))
    knob.fault = KnobUnavailableError("this user may not write it", "be root")
    with pytest.raises(KnobError, match="not put back: this user may not write it") as caught:
        open_sweep().__enter__()
    # A skip would let other benchmarks go on at a wrong clock.
    assert not isinstance(caught.value, KnobUnavailableError)
    assert str(state_file(tmp_path)) in caught.value.remedy
    assert load(state_file(tmp_path)) is not None


def test_a_hostile_note_writes_nothing(cpufreq_tree):
    root = cpufreq_tree()
    before = {path: path.read_text() for path in root.rglob("scaling_*_freq")}
    folder = root / "state"
    hostile = {"policy0/scaling_min_freq": 1_200_000, "policy0/scaling_max_freq": 9_999_999_999}
    save(Prior("cpu", hostile, "b-1", 42), state_file(folder))
    with pytest.raises(KnobError, match="nothing was written"):
        recover(folder, lambda prior: knob_of(prior, root), "b-1")
    assert {path: path.read_text() for path in root.rglob("scaling_*_freq")} == before


# --- a process of its own --------------------------------------------------------------------------------------------


def limits(root):
    return CpuFrequency(Sysfs(root)).state()


@pytest.fixture
def sweeper(cpufreq_tree):
    """A running sweep at 1500 MHz, and its tree."""
    root = cpufreq_tree()
    prior = limits(root)
    process = subprocess.Popen(
        [sys.executable, "-c", SWEEPER.format(end=WAITS), str(root)], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "1500.0\n"
        assert set(limits(root).values()) == {1_500_000}
        yield process, root, prior
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_process_as_ever_and_all_is_put_back(sweeper, number):
    process, root, prior = sweeper
    process.send_signal(number)
    assert process.wait(60) == -number
    assert limits(root) == prior
    assert leftover(root / "state") is None


def test_after_kill_9_the_note_puts_back_what_was_there_before(sweeper):
    process, root, prior = sweeper
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert set(limits(root).values()) == {1_500_000}
    assert leftover(root / "state").pid == process.pid
    said = recover(root / "state", lambda note: knob_of(note, root), "b-1")
    assert f"process {process.pid}" in said
    assert limits(root) == prior
    assert leftover(root / "state") is None
    assert recover(root / "state", lambda note: knob_of(note, root), "b-1") == ""


def test_after_kill_9_the_next_sweep_starts_from_what_was_there_before(sweeper):
    process, root, prior = sweeper
    process.kill()
    process.wait(60)
    with Sweep(
        CpuFrequency(Sysfs(root)), root / "state", lambda note: knob_of(note, root), "b-1", lambda _: None
    ) as next_:
        assert limits(root) == prior
        with next_.at(2000.0):
            assert set(limits(root).values()) == {2_000_000}
    assert limits(root) == prior


def test_while_it_runs_nobody_puts_back(sweeper):
    process, root, _ = sweeper
    with pytest.raises(KnobError, match=f"process {process.pid}"):
        recover(root / "state", lambda note: knob_of(note, root), "b-1")
    assert set(limits(root).values()) == {1_500_000}


FORKS = """
    import os
    child = os.fork()
    if child == 0:
        signal.raise_signal(signal.SIGTERM)
    os.waitpid(child, 0)
    print(open(root / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq").read().strip(), flush=True)
"""


def test_a_forked_child_that_is_ended_puts_nothing_back(cpufreq_tree):
    root = cpufreq_tree()
    done = subprocess.run(
        [sys.executable, "-c", SWEEPER.format(end=FORKS.strip()), str(root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["1500.0", "1500000"], done.stderr
    assert limits(root)["policy0/scaling_max_freq"] == 3_100_000


def test_a_killed_parent_leaves_no_lock_to_its_forked_children(cpufreq_tree):
    root = cpufreq_tree()
    end = "import os; os.fork() or sys.stdin.read(); os.kill(os.getpid(), signal.SIGKILL)"
    command = [sys.executable, "-c", SWEEPER.format(end=end), str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as parent:
        assert parent.wait(60) == -signal.SIGKILL
        # The child lives until this block closes what it reads.
        recover(root / "state", lambda note: knob_of(note, root), "b-1")
        assert limits(root)["policy0/scaling_max_freq"] == 3_100_000
