"""`codecarbon`: CodeCarbon's own tracker, one task per window.

It counts CPU time in kernel ticks of 10 ms and needs 3-5 ms to start and stop, so windows are long. Its tracker under-
reads when it samples faster than every 0.5 s, hence `_SAMPLE_S`. Everything is offline and nothing is written.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import Any

from energyaware.errors import MeterError
from energyaware.records import Domain

RESOLUTION_S = 0.01
_SAMPLE_S = 1.0


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
    """Estimates `cpu` and `dram`, and `gpu` where CodeCarbon sees one, with CodeCarbon's `OfflineEmissionsTracker`."""

    name = "codecarbon"
    nests = False

    def __init__(self) -> None:
        with quiet():
            from codecarbon import OfflineEmissionsTracker
        # allow_multiple_runs: a lock file left by a killed run must not silence this one.
        self._tracker = OfflineEmissionsTracker(
            country_iso_code="USA",  # grams are computed from joules elsewhere; the tracker insists on a country
            measure_power_secs=_SAMPLE_S,
            output_methods=[],
            log_level="critical",
            allow_multiple_runs=True,
            tracking_mode="process",
        )
        # The first task detects the hardware, which takes seconds that belong to no round.
        with quiet():
            first = self.stop(self.start())
        self.domains = {
            domain: Domain(self.name, "estimated", RESOLUTION_S, "OfflineEmissionsTracker, process mode")
            for domain in ("cpu", "dram", *(["gpu"] if first.get("gpu") else []))
        }

    def start(self) -> str:
        """Begin a task.

        Raises:
            MeterError: a task is under way (CodeCarbon's tasks do not nest).
        """
        if self._tracker._active_task:  # start_task would only log this and measure nothing
            raise MeterError(
                "CodeCarbon measures one window at a time",
                "leave out energy.window, or use --energy-meter=cpu-time",
            )
        self._tracker.start_task()
        return str(self._tracker._active_task)

    def stop(self, mark: str) -> dict[str, float]:
        """End the task; joules per domain.

        Raises:
            MeterError: CodeCarbon gave no data.
        """
        data: Any = self._tracker.stop_task(mark)
        if data is None:
            raise MeterError("CodeCarbon lost its task", "use --energy-meter=cpu-time")
        per_kwh = 3.6e6
        energy_j = {"cpu": data.cpu_energy * per_kwh, "dram": data.ram_energy * per_kwh}
        if data.gpu_energy:
            energy_j["gpu"] = data.gpu_energy * per_kwh
        return energy_j

    def close(self) -> None:
        """Stop CodeCarbon's threads."""
        self._tracker.stop()
