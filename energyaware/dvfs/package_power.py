"""`package`: the power cap of every CPU package, through Linux' powercap tree (RAPL).

The long-term limit is what is set. It caps an average over seconds (28 s on many machines), so a short benchmark would
run uncapped on the credit of the idle time before it; the short-term limit, which caps an average over milliseconds, is
therefore lowered with it where there is one. Caps are only ever lowered: never above what was set before.

Source: Linux, Documentation/power/powercap/powercap.rst; Intel SDM, volume 3B, section 16.10.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from energyaware.dvfs.knob import Offer, State
from energyaware.dvfs.sysfs import Sysfs, require_writable, write_checked
from energyaware.errors import KnobError, KnobUnavailableError

GRID_W = 1.0
GRID_LOWEST_SHARE = 0.4
"""Evenly spaced caps begin at this share of the highest: below it, some packages hardly work."""
SETTLE_S = 1.0
# The register holds 15 bits of an eighth of a watt, and firmware writes all ones for "no limit".
MAX_UW = 4_096_000_000
_UW = 1e6
# Limits are kept in units of an eighth of a watt, or a little coarser.
_TAKEN_UW = 300_000

_PLACE = "sys/class/powercap"
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")
_KEY = re.compile(r"intel-rapl:[0-9]{1,4}/(enabled|constraint_[0-9]_power_limit_uw)")
_ALLOW = f"sudo chmod a+w /{_PLACE}/intel-rapl:*/{{enabled,constraint_*_power_limit_uw}}"
_LOCKED = "run as root; where root is refused too, the firmware has locked the limit (see its setup, `power limit`)"


@dataclass(frozen=True, slots=True)
class _Zone:
    """One package. Files are None where it has none of that kind."""

    folder: Path
    long: Path
    short: Path | None
    most_uw: int | None
    least_uw: int | None
    enabled: Path | None

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.enabled, self.long, self.short) if path is not None]


class PackagePower:
    """Caps the power of all CPU packages alike; a setting is watts of each.

    Raises:
        KnobUnavailableError: the kernel shows no power cap.
    """

    name = "package"
    unit = "W"
    domain = "cpu"
    settle_s = SETTLE_S

    def __init__(self, files: Sysfs | None = None) -> None:
        self._files = files or Sysfs()
        zones = [self._zone(folder) for folder in self._files.folders(_PLACE, "intel-rapl:[0-9]*")]
        self._zones = {zone.folder.name: zone for zone in zones if zone is not None}
        if not self._zones:
            raise KnobUnavailableError(
                f"the kernel shows no power cap of a CPU package under /{_PLACE}: a virtual machine, or an AMD CPU",
                "run on a bare machine with an Intel CPU (kernel module intel_rapl_msr), or sweep --energy-dvfs=cpu",
            )

    def _zone(self, folder: Path) -> _Zone | None:
        # The zone around all packages, and parts of one, are called otherwise.
        name = self._files.text(folder / "name")
        if not re.fullmatch(r"intel-rapl:\d+", folder.name) or name is None or not _PACKAGE.fullmatch(name):
            return None
        limits: dict[str, tuple[Path, str]] = {}
        for index in range(10):
            kind = self._files.text(folder / f"constraint_{index}_name")
            path = folder / f"constraint_{index}_power_limit_uw"
            if kind is not None and self._files.number(path) is not None:
                limits.setdefault(kind, (path, f"constraint_{index}"))
        if "long_term" not in limits:
            return None
        long, prefix = limits["long_term"]
        enabled = folder / "enabled"
        return _Zone(
            folder,
            long,
            limits["short_term"][0] if "short_term" in limits else None,
            self._files.number(folder / f"{prefix}_max_power_uw") or None,
            self._files.number(folder / f"{prefix}_min_power_uw") or None,
            enabled if self._files.number(enabled) is not None else None,
        )

    def ready(self) -> None:
        """Check that every file may be written.

        Raises:
            KnobUnavailableError: not permitted.
        """
        require_writable(self._files, [path for zone in self._zones.values() for path in zone.files], _ALLOW)

    def offer(self) -> Offer:
        """Up to the limit now set, or the package's rated power where that is lower.

        Raises:
            KnobError: a file is gone.
        """
        tops = []
        for zone in self._zones.values():
            now_uw = self._read(zone.long)
            tops.append(min(now_uw, zone.most_uw) if zone.most_uw else now_uw)
        high = min(tops) / _UW
        low = max(((zone.least_uw or 0) / _UW for zone in self._zones.values()), default=0.0) or GRID_W
        return Offer(low, high, max(low, GRID_LOWEST_SHARE * high), GRID_W)

    def state(self) -> State:
        """Limits of each package in µW, and whether they are enforced.

        Raises:
            KnobError: a file is gone.
        """
        return {
            f"{zone.folder.name}/{path.name}": self._read(path) for zone in self._zones.values() for path in zone.files
        }

    def _read(self, path: Path) -> int:
        value = self._files.number(path)
        if value is None:
            raise KnobError(f"{path} cannot be read any more", "see whether the kernel module intel_rapl_msr is loaded")
        return value

    def set(self, setting: float) -> None:
        """Cap each package at `setting` watts.

        Raises:
            KnobUnavailableError: not permitted, or locked by the firmware.
            KnobError: the driver refused it or took something else.
        """
        wanted = round(setting * _UW)
        for zone in self._zones.values():
            if zone.short is not None and self._read(zone.short) > wanted:
                self._set_limit(zone.short, wanted)
            self._set_limit(zone.long, wanted)
            if zone.enabled is not None and self._read(zone.enabled) != 1:
                write_checked(self._files, zone.enabled, 1, _LOCKED)

    def _set_limit(self, path: Path, wanted_uw: int) -> None:
        write_checked(self._files, path, wanted_uw, _LOCKED)
        got = self._read(path)
        if abs(got - wanted_uw) > _TAKEN_UW:
            raise KnobError(
                f"{path} stands at {got / _UW:g} W where {wanted_uw / _UW:g} W was set",
                "the firmware limits it: sweep within its limits",
            )

    def in_force(self) -> float | None:
        """The highest long-term limit of any package, in watts.

        Raises:
            KnobError: a file is gone.
        """
        return max(self._read(zone.long) for zone in self._zones.values()) / _UW

    def running_mhz(self) -> float | None:
        """Nothing: a cap leaves the clock to the hardware."""
        return None

    def restore(self, state: State) -> None:
        """Set the limits as they were.

        Raises:
            KnobError: a key or value that cannot be of this machine (nothing is written), or a part that could not be
                put back.
        """
        known = {f"{zone.folder.name}/{path.name}": path for zone in self._zones.values() for path in zone.files}
        for key, value in state.items():
            match = _KEY.fullmatch(key)
            if match is None or not (value in (0, 1) if match[1] == "enabled" else 0 <= value < MAX_UW):
                raise KnobError(f"{key!r} = {value!r} is no power cap of a CPU package", "nothing was written")
        problems = []
        # Whether limits are enforced comes last, as it was set last.
        for key in sorted(state, key=lambda key: key.endswith("/enabled")):
            path = known.get(key)
            if path is None:
                problems.append(f"{key} is not there any more")
                continue
            try:
                if self._read(path) != state[key]:
                    write_checked(self._files, path, state[key], _LOCKED)
                got = self._read(path)
            except KnobError as error:
                problems.append(error.cause)
                continue
            if got != state[key]:
                problems.append(f"{key} stands at {got} instead of {state[key]}")
        if problems:
            raise KnobError(
                "the power cap could not be put back: " + "; ".join(problems),
                f"as root, write the numbers into the files under /{_PLACE}, or restart the machine",
            )
