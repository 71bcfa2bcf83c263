"""`rapl`: measured joules of CPU packages and their DRAM, read from Linux' powercap tree.

Zeus reads the same files, but takes the platform zone `psys` for one more package, notices a wrap-around up to a second
late (windows that end in that second lose or gain a whole counter range), and starts one process per file. Here:

* only `package-N` zones and their `dram` are read. `core` and `uncore` lie within the package, `psys` around it;
* dies of one package (`package-0-die-0`, …) add up; zones of one name, and `intel-rapl-mmio`, are the same counter;
* a counter is unwrapped at every look, and a thread looks often enough that it cannot wrap twice in between. Where that
  failed (a machine that slept, a range that nobody may read), the window has no value: nothing is invented.

The kernel gives the range one unit (15-61 µJ) short of the true modulus: a wrap-around costs at most that.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from energyaware.errors import MeterError
from energyaware.meters.ranks import reads_machine
from energyaware.records import Domain

# Running averages are updated about every millisecond (Intel SDM, vol. 3B, 16.10).
RESOLUTION_S = 0.001
# More than any socket, or the memory of one, can draw: what exceeds it is a counter that was reset.
MAX_POWER_W = 1000.0
# An update that was late, or a clock read after the counter, must not look like a reset.
_SLACK_S = 0.1
# 2³² units of 2⁻¹⁶ J: the smallest range that is known, for where the kernel does not tell it.
SMALLEST_RANGE_UJ = 65_536_000_000

_ZONE = re.compile(r"intel-rapl:\d+")
_SUBZONE = re.compile(r"intel-rapl:\d+:\d+")
_PACKAGE = re.compile(r"package-(\d+)(-die-\d+)?")

_ESTIMATE = "use --energy-meter=cpu-time for an estimate"
READABLE = (
    "let users read it, as root: chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj until the next boot, for good "
    'with the udev rule SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"; or let one '
    "interpreter read it: setcap cap_dac_read_search+ep on a copy of Python (whoever reads it can watch the work of "
    f"others: CVE-2020-8694). Otherwise {_ESTIMATE}"
)


class _State(NamedTuple):
    """What a counter has added up, and how often its thread was lost."""

    total_uj: int
    breaks: int


def read_uj(path: Path) -> int:
    """The number in a file. Plain system calls: a window reads every counter twice, and `Path` takes thrice as long.

    Raises:
        OSError: the file is gone or forbidden.
        ValueError: it holds no number.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        return int(os.read(file, 64))
    finally:
        os.close(file)


@dataclass
class Counter:
    """One `energy_uj` file as a number that only grows.

    Attributes:
        read: gives the number in the file.
        range_uj: where it starts again from 0; None where the kernel does not tell.
        clock: seconds.
    """

    read: Callable[[], int]
    range_uj: int | None
    clock: Callable[[], float] = time.monotonic
    _raw_uj: int = field(init=False)
    _looked_s: float = field(init=False)
    _total_uj: int = field(init=False, default=0)
    _breaks: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._looked_s = self.clock()
        self._raw_uj = self.read()

    @property
    def stands_at_zero(self) -> bool:
        """Whether it never counted: some virtual machines and client CPUs show counters that do nothing."""
        return self._total_uj == 0 and self._raw_uj == 0

    @property
    def shortest_wrap_s(self) -> float:
        """Seconds in which it cannot wrap around."""
        return (self.range_uj or SMALLEST_RANGE_UJ) / 1e6 / MAX_POWER_W

    def look(self) -> _State:
        """Read the file and add what was spent since the last look.

        Raises:
            OSError: the file is gone or forbidden.
            ValueError: it holds no number.
        """
        with self._lock:
            raw_uj = self.read()
            # After the file, so that a thread held up in between cannot make the time too short for its joules.
            now_s = self.clock()
            elapsed_s, self._looked_s = now_s - self._looked_s, now_s
            spent_uj, self._raw_uj = raw_uj - self._raw_uj, raw_uj
            if spent_uj < 0 and self.range_uj is not None:
                spent_uj += self.range_uj
            plausible_uj = (elapsed_s + _SLACK_S) * MAX_POWER_W * 1e6
            if elapsed_s >= self.shortest_wrap_s or not 0 <= spent_uj <= plausible_uj:
                self._breaks += 1
            else:
                self._total_uj += spent_uj
            return _State(self._total_uj, self._breaks)


class _Watch(threading.Thread):
    """Looks at the counters every `interval_s` seconds, so that none wraps around unseen."""

    def __init__(self, look: Callable[[], object], interval_s: float) -> None:
        super().__init__(name="energyaware-rapl", daemon=True)
        self._look, self._interval_s, self._ended = look, interval_s, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._interval_s):
            # Whoever closes the next window meets the same fault and says it.
            with contextlib.suppress(OSError, ValueError):
                self._look()

    def end(self) -> None:
        self._ended.set()
        self.join()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _zones(root: Path) -> dict[str, dict[int, list[Path]]]:
    """Folders of the counters that are read: `cpu` and `dram`, then the package's number; its dies are listed."""
    packages: dict[int, dict[str, Path]] = {}
    memories: dict[int, dict[str, Path]] = {}
    powercap = root / "sys/class/powercap"
    for zone in sorted(powercap.iterdir()) if powercap.is_dir() else []:
        name = _text(zone / "name") if _ZONE.fullmatch(zone.name) else None
        package = _PACKAGE.fullmatch(name or "")
        if name is None or package is None:
            continue
        # Of several zones with one name the first counts.
        packages.setdefault(int(package[1]), {}).setdefault(name, zone)
        for subzone in sorted(zone.iterdir()):
            if _SUBZONE.fullmatch(subzone.name) and _text(subzone / "name") == "dram":
                memories.setdefault(int(package[1]), {}).setdefault(name, subzone)
    return {
        kind: {
            # A zone of the whole package holds those of its dies.
            number: [parts[f"package-{number}"]] if f"package-{number}" in parts else [*parts.values()]
            for number, parts in found.items()
        }
        for kind, found in (("cpu", packages), ("dram", memories))
    }


def in_sight(root: Path = Path("/")) -> bool:
    """Whether the kernel shows a package counter, readable or not."""
    return bool(_zones(root)["cpu"])


def _open(folder: Path, clock: Callable[[], float]) -> Counter | None:
    """The counter of a zone, or None where there is none.

    Raises:
        MeterError: it is there, but this user may not read it.
    """
    limit = _text(folder / "max_energy_range_uj")
    range_uj = int(limit) if limit is not None and limit.isdigit() and int(limit) > 0 else None
    try:
        counter = Counter(partial(read_uj, folder / "energy_uj"), range_uj, clock)
    except PermissionError as error:
        raise MeterError(f"only root may read {folder / 'energy_uj'}", READABLE) from error
    except (OSError, ValueError):
        return None
    return None if counter.stands_at_zero else counter


class RaplMeter:
    """Measures `cpu` and `dram`; several packages are numbered (`cpu0`, `cpu1`).

    Args:
        root: stands before `/sys`; tests put a tree of files there.
        clock: seconds.
        environ: tells the rank; only the first rank of a machine may read what all share.

    Raises:
        MeterError: no package counter, or only root may read it.
    """

    name = "rapl"
    nests = True

    def __init__(
        self,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        if not reads_machine(environ):
            raise MeterError(
                "the counters of CPU and DRAM are shared, and the first rank of this machine reads them",
                "nothing is lost: add up the readings of all ranks",
            )
        zones = _zones(root)
        self._counters: dict[str, tuple[Counter, ...]] = {}
        for kind, packages in zones.items():
            counters = {number: [_open(folder, clock) for folder in folders] for number, folders in packages.items()}
            # One die, or one package, would pass for the whole machine.
            if counters.keys() == zones["cpu"].keys() and all(all(found) for found in counters.values()):
                for number, found in counters.items():
                    domain = kind if len(counters) == 1 else f"{kind}{number}"
                    self._counters[domain] = tuple(counter for counter in found if counter is not None)
        if not any(domain.startswith("cpu") for domain in self._counters):
            raise MeterError(
                f"RAPL shows no counter for every CPU package under {root / 'sys/class/powercap'} (or one stands at 0)",
                _ESTIMATE,
            )
        self.domains = {
            domain: Domain(self.name, "measured", RESOLUTION_S, "powercap counter") for domain in self._counters
        }
        shortest_s = min(counter.shortest_wrap_s for counter in self._all())
        # Four looks per shortest wrap: one may come late by a factor of four before a window is given up.
        self._watch = _Watch(self.look, shortest_s / 4)
        self._watch.start()

    def _all(self) -> list[Counter]:
        return [counter for counters in self._counters.values() for counter in counters]

    def look(self) -> None:
        """Look at every counter once; the thread does so between windows.

        Raises:
            OSError: a file is gone or forbidden.
            ValueError: a file holds no number.
        """
        for counter in self._all():
            counter.look()

    def start(self) -> dict[str, tuple[_State, ...]]:
        """Read every counter.

        Raises:
            MeterError: a counter cannot be read any more.
        """
        try:
            return {
                domain: tuple(counter.look() for counter in counters) for domain, counters in self._counters.items()
            }
        except (OSError, ValueError) as error:
            raise MeterError(f"a RAPL counter stopped answering ({error})", _ESTIMATE) from error

    def stop(self, mark: dict[str, tuple[_State, ...]]) -> dict[str, float]:
        """Joules since `mark`; a domain whose counter was lost sight of meanwhile is left out.

        Raises:
            MeterError: a counter cannot be read any more.
        """
        energy_j: dict[str, float] = {}
        for domain, states in self.start().items():
            pairs = tuple(zip(mark[domain], states, strict=True))
            if all(before.breaks == now.breaks for before, now in pairs):
                energy_j[domain] = sum(now.total_uj - before.total_uj for before, now in pairs) / 1e6
        return energy_j

    def close(self) -> None:
        """End the thread."""
        self._watch.end()
