import pytest

from energyaware.dvfs import catalogue
from energyaware.dvfs.catalogue import knob_of, open_knob
from energyaware.dvfs.gpu import gpu_of, open_gpu
from energyaware.dvfs.spec import UNITS
from energyaware.dvfs.state import Prior
from energyaware.errors import KnobError, KnobUnavailableError


@pytest.fixture
def machine(cpufreq_tree, powercap_tree, found, monkeypatch, tmp_path):
    """A machine with every knob."""
    cpufreq_tree()
    powercap_tree()
    monkeypatch.setattr(catalogue, "open_gpu", lambda index: open_gpu(index, lambda: found))
    monkeypatch.setattr(catalogue, "gpu_of", lambda uuid: gpu_of(uuid, lambda: found))
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_every_knob_of_a_spec_opens_and_is_found_again_by_its_state(machine, name):
    knob = open_knob(name, 1, machine)
    assert (knob.name, knob.unit) == (name, UNITS[name])
    again = knob_of(Prior(name, knob.state(), "", 1), machine)
    assert again.state() == knob.state()
    assert again.domain == knob.domain == ("gpu1" if name.startswith("gpu") else "cpu")


@pytest.mark.parametrize("name", ["gpu-clock", "gpu-power"])
def test_a_run_on_the_cpu_sweeps_no_gpu(machine, name):
    with pytest.raises(KnobError, match="--energy-device=cuda"):
        open_knob(name, None, machine)


def test_a_state_of_a_gpu_that_is_not_visible_is_said(machine):
    with pytest.raises(KnobUnavailableError, match="GPU-7 is not visible"):
        knob_of(Prior("gpu-power", {"GPU-7": 1}, "", 1), machine)
