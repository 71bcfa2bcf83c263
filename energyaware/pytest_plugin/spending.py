"""What a run spends between two lines of its journal."""

from __future__ import annotations

import contextlib
import time

from energyaware.baselines.journal import Spent
from energyaware.errors import MeterError
from energyaware.measure.rounds import invalid
from energyaware.meters.base import Meter


class Part:
    """A window from now on; the run's total has one of its own around all parts.

    Args:
        harness_j: what measuring has cost the run so far.
    """

    def __init__(self, meter: Meter, harness_j: float = 0.0) -> None:
        self._meter = meter
        self._harness_j = harness_j
        self._started_s = time.perf_counter()
        self._mark: object = None
        self._reads = meter.nests
        if self._reads:
            try:
                self._mark = meter.start()
            except MeterError:  # it died: the next benchmark says so
                self._reads = False

    def end(self, harness_j: float) -> Spent:
        """What it spent; without joules where the meter gave none.

        Args:
            harness_j: what measuring has cost the run so far.
        """
        duration_s = time.perf_counter() - self._started_s
        energy_j = None
        if self._reads:
            with contextlib.suppress(MeterError):
                raw = self._meter.stop(self._mark)
                energy_j = sum(raw.values()) if invalid(raw, self._meter.domains) is None else None
        return Spent(energy_j, duration_s, harness_j - self._harness_j)
