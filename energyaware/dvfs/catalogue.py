"""Opens knobs by name: those of a sweep, and the one that a state file names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from energyaware.dvfs.cpu_frequency import CpuFrequency
from energyaware.dvfs.gpu import Gpu, gpu_of, open_gpu
from energyaware.dvfs.gpu_clock import GpuClock
from energyaware.dvfs.gpu_power import GpuPower
from energyaware.dvfs.knob import Knob
from energyaware.dvfs.package_power import PackagePower
from energyaware.dvfs.state import Prior
from energyaware.dvfs.sysfs import Sysfs
from energyaware.errors import KnobError

_CPU: dict[str, Callable[[Sysfs], Knob]] = {"cpu": CpuFrequency, "package": PackagePower}
_GPU: dict[str, Callable[[Gpu], Knob]] = {"gpu-clock": GpuClock, "gpu-power": GpuPower}


def open_knob(name: str, gpu: int | None = None, root: Path = Path("/")) -> Knob:
    """A knob by its name in `--energy-dvfs`; nothing is changed.

    Args:
        gpu: index among the visible GPUs; None where the run uses none.
        root: stands before `/sys`; tests put a tree of files there.

    Raises:
        KnobUnavailableError: this machine does not have it.
        KnobError: a knob of a GPU for a run that uses none.
    """
    if name in _CPU:
        return _CPU[name](Sysfs(root))
    if gpu is None:
        raise KnobError(
            f"--energy-dvfs={name} sets a GPU, but the models of this run are on the CPU", "add --energy-device=cuda"
        )
    return _GPU[name](open_gpu(gpu))


def knob_of(prior: Prior, root: Path = Path("/")) -> Knob:
    """The knob that a state file names, on the very GPU that it names.

    Raises:
        KnobUnavailableError: this machine, or this process, does not see it.
    """
    if prior.knob in _CPU:
        return _CPU[prior.knob](Sysfs(root))
    return _GPU[prior.knob](gpu_of(next(iter(prior.values))))
