"""`codecarbon`: CodeCarbon's own tracker, one task per window.

It counts CPU time in kernel ticks of 10 ms and needs 3-5 ms to start and stop, so windows are long. Its tracker under-
reads when it samples faster than every 0.5 s, hence `_SAMPLE_S`. Everything is offline and nothing is written, whatever
`~/.codecarbon.config` or `CODECARBON_…` variables say: what concerns hardware (`force_cpu_power`, `gpu_ids`) is
still read from there, as its users expect.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from energyaware.errors import MeterError
from energyaware.records import Domain
from energyaware.units import joules

RESOLUTION_S = 0.01
# It reads NVML's counter, which moves every 20-100 ms.
GPU_RESOLUTION_S = 0.1
_SAMPLE_S = 1.0

_OPTIONS: Mapping[str, Any] = {
    "country_iso_code": "USA",  # grams are computed from joules elsewhere; the tracker insists on a country
    "force_carbon_intensity_g_co2e_kwh": 1.0,  # so that no table and no service is asked for one
    "electricitymaps_api_token": None,
    "emissions_endpoint": None,
    "cloud_provider": None,
    "cloud_region": None,
    "output_methods": [],
    "output_dir": ".",  # nothing is written there, but a configured one that is missing stops the tracker
    "log_level": "critical",
    "measure_power_secs": _SAMPLE_S,
    "pue": 1.0,  # it would multiply the joules
    # A lock file left by a killed run must not silence this one; nor are its signal handlers wanted.
    "allow_multiple_runs": True,
    "tracking_mode": "process",
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Import and ask CodeCarbon without its log and the AMD library's print: its faults reach users as our errors."""
    previous = logging.root.manager.disable
    # Its import sets its logger's level anew and already warns, so everything below critical waits.
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(previous)
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)


class CodeCarbonMeter:
    """Estimates `cpu` and `dram`, and `gpu` where CodeCarbon sees one, with CodeCarbon's `OfflineEmissionsTracker`.

    Raises:
        MeterError: CodeCarbon cannot track this machine.
    """

    name = "codecarbon"
    nests = False

    def __init__(self) -> None:
        with quiet():
            from codecarbon import OfflineEmissionsTracker

            self._tracker = OfflineEmissionsTracker(**_OPTIONS)
            self._has_gpu = False
            try:
                # The first task detects the hardware, which takes seconds that belong to no round.
                self.stop(self.start())
                # Not from the energy of that task: it was shorter than a step of a GPU's counter.
                self._has_gpu = bool(self._tracker.get_detected_hardware()["gpu_count"])
                ways = ", ".join(self._tracker._conf["hardware"])
            except MeterError:
                raise
            except Exception as error:  # its constructor swallows its own faults, and the first use then stumbles
                raise MeterError(
                    f"CodeCarbon cannot track this machine ({type(error).__name__}: {error})",
                    "see ~/.codecarbon.config and CODECARBON_ variables, or use --energy-meter=cpu-time",
                ) from error
        detail = f"OfflineEmissionsTracker, process mode: {ways}"
        self.domains = {name: Domain(self.name, "estimated", RESOLUTION_S, detail) for name in ("cpu", "dram")}
        if self._has_gpu:
            self.domains["gpu"] = Domain(self.name, "estimated", GPU_RESOLUTION_S, detail)

    def start(self) -> str:
        """Begin a task.

        Raises:
            MeterError: a task is under way (CodeCarbon's tasks do not nest), or none begins.
        """
        if self._tracker._active_task:  # start_task would only log this and measure nothing
            raise MeterError(
                "CodeCarbon measures one window at a time",
                "leave out energy.window, or use --energy-meter=cpu-time",
            )
        self._tracker.start_task()
        task = self._tracker._active_task
        if not task:  # this, too, it would only log
            raise MeterError("CodeCarbon begins no task", "use --energy-meter=cpu-time")
        return str(task)

    def stop(self, mark: str) -> dict[str, float]:
        """End the task; joules per domain.

        Raises:
            MeterError: CodeCarbon gave no data.
        """
        data: Any = self._tracker.stop_task(mark)
        if data is None:
            raise MeterError("CodeCarbon lost its task", "use --energy-meter=cpu-time")
        energy_j = {"cpu": joules(data.cpu_energy), "dram": joules(data.ram_energy)}
        if self._has_gpu:
            energy_j["gpu"] = joules(data.gpu_energy)
        return energy_j

    def close(self) -> None:
        """Stop CodeCarbon's threads."""
        self._tracker.stop()
