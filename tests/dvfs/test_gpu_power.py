import pytest

from energyaware.dvfs.gpu_power import GpuPower
from energyaware.errors import KnobError, KnobUnavailableError


def test_the_limit_is_set_and_comes_back_to_what_it_was_not_to_the_maximum(gpu, device):
    knob = GpuPower(gpu)
    prior = knob.state()
    knob.set(200.0)
    assert (device.limit_mw, knob.in_force()) == (200_000, 200.0)
    knob.restore(prior)
    assert device.limit_mw == 350_000
    assert (knob.domain, knob.unit) == ("gpu1", "W")


def test_limits_are_only_lowered(gpu):
    offer = GpuPower(gpu).offer()
    assert (offer.lowest, offer.highest) == (100.0, 350.0)


def test_a_gpu_that_takes_something_else_is_an_error(gpu, found, monkeypatch):
    monkeypatch.setattr(found[0], "set_power_management_limit", lambda index, limit_mw: None)
    with pytest.raises(KnobError, match="stands at 350 W where 200 W was set"):
        GpuPower(gpu).set(200.0)


def test_without_permission_it_is_unavailable_and_putting_back_what_stands_is_not_refused(gpu, device, no_permission):
    device.fault = no_permission
    knob = GpuPower(gpu)
    with pytest.raises(KnobUnavailableError, match="zeusd"):
        knob.set(200.0)
    knob.restore(knob.state())


def test_a_shared_gpu_is_not_touched(gpu, device):
    device.graphics = [777]
    for act in (GpuPower(gpu).ready, lambda: GpuPower(gpu).set(200.0)):
        with pytest.raises(KnobError, match="777"):
            act()
    assert device.calls == []


@pytest.mark.parametrize(
    "state", [{}, {"GPU-0": 200_000}, {"GPU-1": 500_000}, {"GPU-1": 1}, {"GPU-1": 300_000, "x": 1}]
)
def test_a_hostile_state_sets_nothing(gpu, device, state):
    with pytest.raises(KnobError, match="nothing was set"):
        GpuPower(gpu).restore(state)
    assert device.calls == []


def test_a_limit_that_stays_is_an_error_with_the_command(gpu, device):
    device.limit_mw, device.fault = 200_000, RuntimeError("GPU is lost")
    with pytest.raises(KnobError, match="nvidia-smi -i GPU-1 -pl 350"):
        GpuPower(gpu).restore({"GPU-1": 350_000})
