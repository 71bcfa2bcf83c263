"""One benchmark's rounds: calibrate, meter workload and candle side by side, keep what is valid, count the rest."""

from __future__ import annotations

import contextlib
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from energyaware.errors import MeterError
from energyaware.measure.candle import Candle
from energyaware.measure.contention import Observer
from energyaware.meters.base import Meter, start_on_tick
from energyaware.records import Domain, Reading, Round, RoundState, is_valid_energy

RESOLUTIONS_PER_WINDOW = 50
# Shorter windows are ruled by timer interrupts and cache state, however fine the meter.
MIN_WINDOW_S = 0.02
MAX_CALLS = 10_000_000
# Rounds when nobody says how many: as many as fit the time, within these bounds.
MIN_ROUNDS, MAX_ROUNDS, BUDGET_S = 5, 20, 5.0


def min_window_s(meter: Meter) -> float:
    """Shortest window that this meter reads to about 2 %."""
    return max([MIN_WINDOW_S, *(RESOLUTIONS_PER_WINDOW * domain.resolution_s for domain in meter.domains.values())])


def calls_per_window(call: Callable[[], object], window_s: float) -> tuple[int, float]:
    """How many calls fill `window_s`, and the seconds that one takes (unmetered; this is the warm-up too)."""
    call()  # the first call may load, compile or fill a cache: it would make every later window too short
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        duration_s = time.perf_counter() - start
        if duration_s >= window_s or calls >= MAX_CALLS:
            return calls, duration_s / calls
        # Aim a little high, but grow at most tenfold: the first calls are slower than the rest.
        wanted = math.ceil(1.2 * window_s / max(duration_s / calls, 1e-9))
        calls = min(max(wanted, calls + 1), calls * 10, MAX_CALLS)


def rounds_that_fit(round_s: float) -> int:
    """Rounds within `BUDGET_S`, between `MIN_ROUNDS` and `MAX_ROUNDS`."""
    return max(MIN_ROUNDS, min(MAX_ROUNDS, int(BUDGET_S / max(round_s, 1e-9))))


def invalid(energy_j: Mapping[str, float], domains: Mapping[str, object]) -> str | None:
    """Why a reading may not be stored (`cpu: zero`), or None where it may."""
    for name in domains:
        value = energy_j.get(name)
        if value is None:
            return f"{name}: absent"
        if not math.isfinite(value):
            return f"{name}: not finite"
        if not is_valid_energy(value):
            return f"{name}: zero" if value == 0 else f"{name}: negative"
    return None


_GPU = re.compile(r"gpu[0-9]+")


def domains_used(domains: Mapping[str, Domain], gpus: Sequence[int] | None) -> dict[str, Domain]:
    """The domains whose joules belong to a workload on some GPUs: theirs, and everything that is no single GPU's.

    Args:
        domains: what the meter reads.
        gpus: as torch numbers them; None where nobody says: all domains.

    Raises:
        MeterError: the meter reads GPUs, but not all of these: their joules would be missing from the sum.
    """
    if gpus is None:
        return dict(domains)
    used = [f"gpu{index}" for index in gpus]
    read = [name for name in domains if _GPU.fullmatch(name)]
    unread = [name for name in used if name not in read]
    if read and unread:
        raise MeterError(
            f"the workload runs on {', '.join(used)}, and the energy of {', '.join(unread)} is not read",
            "see `energyaware doctor` for the reason, and name GPUs that are read with --energy-device",
        )
    return {name: domain for name, domain in domains.items() if name not in read or name in used}


@dataclass(slots=True)
class _Open:
    """A round under way."""

    span: object = None
    mark: object = None
    started_s: float = 0.0
    duration_s: float = 0.0
    candle: tuple[Mapping[str, float], float] | None = None
    candle_first: bool = False


class RoundRecorder:
    """Meters the rounds of one benchmark. `before`, `timed` and `after` are called in turn, once per round.

    Args:
        calls: calls of the workload per window.
        candle_calls: units of the candle per window.
        before_round: lays weights out anew; unmetered, followed by one unmetered `warm` call.
        rng: draws the order of candle and workload.
        idle_w: watts that are taken off each domain when joules are read; a round that is not above them is discarded.
        observer: looks at the machine beside each round.
        domains: those of the meter's domains whose joules are the workload's; None: all.

    Raises:
        MeterError: from any of the three, when the device stops answering.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        candle: Candle | None,
        calls: int,
        candle_calls: int,
        rng: random.Random,
        before_round: Callable[[], object] | None = None,
        warm: Callable[[], object] | None = None,
        idle_w: Mapping[str, float] | None = None,
        observer: Observer | None = None,
        domains: Mapping[str, Domain] | None = None,
    ) -> None:
        self.meter = meter
        self.domains = dict(meter.domains if domains is None else domains)
        self.candle = candle
        self.calls = calls
        self.candle_calls = candle_calls
        self.rounds: list[Round] = []
        self.discarded: Counter[str] = Counter()
        self.harness_j = 0.0
        self._rng = rng
        self._before_round = before_round
        self._warm = warm
        self.idle_w = {name: watts for name, watts in (idle_w or {}).items() if name in self.domains}
        self._observer = observer
        self._open: _Open | None = None
        self._in_window = False
        self._windows: dict[str, dict[str, float]] = {}
        self._window_s: dict[str, float] = {}

    def before(self) -> None:
        """Lay out, warm up, meter the candle if it goes first, and open the window."""
        current = self._open = _Open(candle_first=self._rng.random() < 0.5)
        self._windows.clear()
        self._window_s.clear()
        if self.meter.nests:
            current.span = self.meter.start()
        if self._observer is not None:
            self._observer.start()
        if self._before_round is not None:
            self._before_round()
            if self._warm is not None:
                self._warm()
        if self.candle is not None and current.candle_first:
            current.candle = self._read_candle(self.candle)
        current.mark = start_on_tick(self.meter)
        current.started_s = time.perf_counter()
        self._in_window = True

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Time the calls alone: closing the meter is not the workload's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if self._open is not None:
                self._open.duration_s = time.perf_counter() - start

    def after(self) -> None:
        """Close the window, meter the candle if it goes last, and keep the round if every reading is valid."""
        current = self._open
        if current is None:
            return
        # Before the stop, which may wait for a step of the counter and takes that waiting off.
        wall_s = time.perf_counter() - current.started_s
        raw = self.meter.stop(current.mark)
        self._in_window = False
        if self.candle is not None and not current.candle_first:
            current.candle = self._read_candle(self.candle)
        state = self._observer.stop() if self._observer is not None else None
        self._keep(current, raw, wall_s, state)
        if self.meter.nests:
            whole = self.meter.stop(current.span)
            if invalid(raw, self.meter.domains) is None and invalid(whole, self.meter.domains) is None:
                self.harness_j += sum(whole.values()) - sum(raw.values())
        self._open = None

    def abort(self) -> None:
        """Give up the round under way, after the workload failed: the meter must be free for the next benchmark."""
        current, self._open = self._open, None
        if current is not None and self._in_window:
            self._in_window = False
            with contextlib.suppress(MeterError):  # the workload's own error matters more
                self.meter.stop(current.mark)

    @contextlib.contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Meter a part of the round under its own name; several windows of one name add up. They may nest.

        Outside a metered window (warm-up, calibration) it does nothing.

        Raises:
            MeterError: the meter reads one window at a time.
        """
        if not self._in_window:
            yield
            return
        start, mark = time.perf_counter(), self.meter.start()
        try:
            yield
        finally:
            total = self._windows.setdefault(name, {})
            read = self.meter.stop(mark)
            for domain in self.domains:
                # One absent or negative part spoils the sum, which would otherwise look valid; a zero part is short.
                part = read.get(domain, math.nan)
                total[domain] = total.get(domain, 0.0) + (part if part >= 0 else math.nan)
            self._window_s[name] = self._window_s.get(name, 0.0) + time.perf_counter() - start

    def _read_candle(self, candle: Candle) -> tuple[Mapping[str, float], float]:
        mark = start_on_tick(self.meter)
        start = time.perf_counter()
        try:
            for _ in range(self.candle_calls):
                candle.run()
        except BaseException:
            with contextlib.suppress(MeterError):  # as in `abort`
                self.meter.stop(mark)
            raise
        wall_s = time.perf_counter() - start
        return self.meter.stop(mark), wall_s

    def _keep(self, current: _Open, raw: Mapping[str, float], wall_s: float, state: RoundState | None) -> None:
        reason = invalid(raw, self.domains)
        if reason is None and current.candle is not None:
            reason = invalid(current.candle[0], self.domains)
            reason = reason and f"candle {reason}"
        if reason is not None:
            self.discarded[reason] += 1
            return
        windows: dict[str, Reading] = {}
        for name, window_j in self._windows.items():
            problem = invalid(window_j, self.domains)
            if problem is None:
                windows[name] = Reading(dict(window_j), self._window_s[name])
            else:
                self.discarded[f"window {name}, {problem}"] += 1
        candle = None
        if current.candle is not None:
            energy_j, seconds = current.candle
            per_unit = {name: energy_j[name] / self.candle_calls for name in self.domains}
            candle = Reading(per_unit, seconds / self.candle_calls)
        # Only what the meter declared was checked.
        reading = Reading({name: raw[name] for name in self.domains}, wall_s)
        if any(item is not None and item.above_idle_j(self.idle_w) <= 0 for item in (reading, candle)):
            self.discarded["not above idle power"] += 1
            return
        self.rounds.append(Round(self.calls, current.duration_s, reading, candle, current.candle_first, windows, state))
