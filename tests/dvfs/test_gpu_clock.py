import pytest

from energyaware.dvfs.gpu_clock import GpuClock
from energyaware.errors import KnobError, KnobUnavailableError


def test_the_clock_is_locked_and_unlocked(gpu, device, found):
    knob = GpuClock(gpu)
    knob.ready()
    prior = knob.state()
    knob.set(1200.0)
    assert device.locked_mhz == 1200
    assert knob.in_force() is None
    assert knob.running_mhz() == 1185.0
    knob.restore(prior)
    assert device.locked_mhz is None
    assert device.calls == [("lock", 1200, 1200), ("unlock",)]
    assert found[0].gpus[0].calls == []
    assert (knob.domain, knob.unit) == ("gpu1", "MHz")


def test_the_clocks_of_the_fastest_memory_clock_are_offered(gpu):
    offer = GpuClock(gpu).offer()
    assert (offer.lowest, offer.highest, len(offer.choices)) == (210.0, 1980.0, 119)


def test_clocks_limited_by_a_setting_are_refused_since_it_could_not_be_put_back(gpu, device):
    device.reasons = 2
    with pytest.raises(KnobError, match="nvidia-smi -rgc"):
        GpuClock(gpu).ready()


def test_an_idle_or_hot_gpu_is_not_limited_by_a_setting(gpu, device):
    device.reasons = 1 | 4 | 64
    GpuClock(gpu).ready()


def test_others_who_come_later_are_not_slowed_down(gpu, device):
    knob = GpuClock(gpu)
    knob.ready()
    device.compute = [777]
    with pytest.raises(KnobError, match="777"):
        knob.set(1200.0)
    assert device.calls == []
    knob.restore(knob.state())  # but what was changed is put back whoever is there
    assert device.calls == [("unlock",)]


def test_without_permission_it_says_what_to_do(gpu, device, no_permission, not_supported):
    device.fault = no_permission
    with pytest.raises(KnobUnavailableError, match="zeusd"):
        GpuClock(gpu).set(1200.0)
    device.fault = not_supported
    with pytest.raises(KnobUnavailableError, match="does not support"):
        GpuClock(gpu).set(1200.0)
    device.fault = RuntimeError("GPU is lost")
    with pytest.raises(KnobError, match="GPU is lost"):
        GpuClock(gpu).set(1200.0)


def test_a_lock_that_stays_is_an_error_with_the_command(gpu, device):
    device.fault = RuntimeError("GPU is lost")
    with pytest.raises(KnobError, match="nvidia-smi -i GPU-1 -rgc"):
        GpuClock(gpu).restore({"GPU-1": 0})


@pytest.mark.parametrize("state", [{}, {"GPU-0": 0}, {"GPU-1": 1200}, {"GPU-1": 0, "GPU-0": 0}])
def test_a_hostile_state_sets_nothing(gpu, device, state):
    with pytest.raises(KnobError, match="nothing was set"):
        GpuClock(gpu).restore(state)
    assert device.calls == []
