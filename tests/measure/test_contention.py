import os
import types

import pytest

from energyaware.measure import contention
from energyaware.measure.contention import Observer
from energyaware.records import RoundState


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A kernel's account of CPU time that a test writes, and a process whose own time it sets."""
    stat = tmp_path / "stat"
    own = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(contention.time, "process_time", lambda: own.seconds)
    quiet = types.SimpleNamespace(children_user=0.0, children_system=0.0)
    fake = types.SimpleNamespace(
        times=lambda: quiet, sysconf=lambda _: 100, pread=os.pread, open=os.open, O_RDONLY=os.O_RDONLY
    )
    monkeypatch.setattr(contention, "os", fake)

    def account(user=0, idle=0, steal=0, own_s=0.0):
        stat.write_text(f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 1 2 3\n")
        own.seconds = own_s

    account.stat = stat
    account()
    return account


def observed(machine, gpu=None, **after):
    observer = Observer(gpu, machine.stat)
    observer.start()
    machine(**after)
    return observer.stop()


def test_time_of_others_is_what_is_busy_without_us(machine):
    # 100 ticks in all: 60 busy, of which 0.4 s (40 ticks) are ours; 10 stolen.
    state = observed(machine, user=60, idle=30, steal=10, own_s=0.4)
    assert state.others_share == pytest.approx(0.2)
    assert state.steal_share == pytest.approx(0.1)
    assert state.contended


def test_a_machine_of_our_own_is_not_contended(machine):
    state = observed(machine, user=95, idle=5, own_s=0.96)
    assert state == RoundState(0.0, 0.0)
    assert not state.contended


def test_a_round_of_a_few_ticks_cannot_tell(machine):
    assert observed(machine, user=19) == RoundState(None, None)


def test_without_an_account_nothing_is_said(machine):
    machine.stat.unlink()
    observer = Observer(None, machine.stat)
    observer.start()
    assert observer.stop() == RoundState()


def test_foreign_processes_on_the_gpu_are_named(machine):
    look = types.SimpleNamespace(temperature_c=61.0, sm_clock_mhz=1410.0, foreign_processes=(4711,))
    state = observed(machine, gpu=lambda: look, user=100, own_s=1.0)
    assert (state.gpu_temperature_c, state.gpu_clock_mhz, state.foreign_gpu_processes) == (61.0, 1410.0, (4711,))
    assert state.contended
