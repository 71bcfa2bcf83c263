"""`replay:FILE`: recorded readings instead of a device, for tests of what reads them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from energyaware.errors import MeterError
from energyaware.records import Domain


class ReplayMeter:
    """Gives one recorded reading per window, over and over.

    Args:
        readings: joules per domain of each window, in the order in which windows close.

    Raises:
        MeterError: no reading at all.
    """

    name = "replay"
    nests = True

    def __init__(self, readings: Iterable[Mapping[str, float]], resolution_s: float = 1e-6) -> None:
        recorded = [dict(reading) for reading in readings]
        names = sorted({domain for reading in recorded for domain in reading})
        if not names:
            raise MeterError("the recording holds no reading", 'record at least one, as [{"cpu": 1.5}]')
        self.domains = {name: Domain(self.name, "estimated", resolution_s, "recorded") for name in names}
        self._readings = itertools.cycle(recorded)

    def start(self) -> None:
        """Nothing starts."""

    def stop(self, mark: None) -> dict[str, float]:  # noqa: ARG002 - the protocol's
        """The next recorded reading."""
        return next(self._readings)

    def close(self) -> None:
        """Nothing to release."""


def load(path: Path) -> ReplayMeter:
    """A recording: a JSON list of objects, domain to joules.

    Raises:
        MeterError: the file is missing or is no such list.
    """
    remedy = 'give a JSON list of readings, as [{"cpu": 1.5, "dram": 0.4}]'
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return ReplayMeter([{str(key): float(value) for key, value in item.items()} for item in data])
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise MeterError(f"the recording {path} cannot be read ({error})", remedy) from error
