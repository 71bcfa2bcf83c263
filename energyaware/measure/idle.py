"""What a machine draws while nothing runs: shown beside the joules, and taken off them with `--energy-net`."""

from __future__ import annotations

import time
from collections.abc import Callable

from energyaware.meters.base import Meter
from energyaware.records import is_valid_energy

IDLE_S = 2.0
"""How long to watch: 20 ticks of an NVML counter."""


def idle_power_w(
    meter: Meter, seconds: float = IDLE_S, sleep: Callable[[float], object] = time.sleep
) -> dict[str, float]:
    """Watts of each measured domain over `seconds` in which this process sleeps.

    Only counters are asked: an estimate of an idle machine would be the model's constant. Other processes are not
    stopped, so this is the idle power of the machine as it is.

    Raises:
        MeterError: the device stopped answering.
    """
    measured = [name for name, domain in meter.domains.items() if domain.source == "measured"]
    if not measured:
        return {}
    started_s, mark = time.perf_counter(), meter.start()
    sleep(seconds)
    energy_j = meter.stop(mark)
    elapsed_s = time.perf_counter() - started_s
    return {name: energy_j[name] / elapsed_s for name in measured if is_valid_energy(energy_j.get(name, 0.0))}
