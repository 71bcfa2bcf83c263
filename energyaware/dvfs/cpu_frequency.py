"""`cpu`: the clock of every CPU, pinned through cpufreq by setting its lowest and highest frequency to one value.

That holds under every driver (`intel_pstate`, `amd-pstate`, `acpi-cpufreq`, …) and governor, so the governor is left
alone: changing it would also change the energy preference that some drivers keep beside it. Frequencies come from
`scaling_available_frequencies` where the driver has a table (`acpi-cpufreq`), else from `cpuinfo_min_freq` to
`cpuinfo_max_freq`. CPUs with a lower top than the setting (efficiency cores) run at their top.

Source: Linux, Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst and amd-pstate.rst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from energyaware.dvfs.knob import Offer, State
from energyaware.dvfs.sysfs import Sysfs, require_writable, write_checked
from energyaware.errors import KnobError, KnobUnavailableError

# Evenly spaced settings are whole multiples of the usual bus clock.
GRID_MHZ = 100.0
SETTLE_S = 0.1
# Drivers round to their own steps (100 MHz of at least 800); what is further off was overruled.
_TAKEN = 0.07

_PLACE = "sys/devices/system/cpu/cpufreq"
_LOW, _HIGH = "scaling_min_freq", "scaling_max_freq"
_KEY = re.compile(rf"(policy[0-9]{{1,5}})/({_LOW}|{_HIGH})")
_ALLOW = f"sudo chmod a+w /{_PLACE}/policy*/{{{_LOW},{_HIGH}}}"
_LOCKED = "run as root on the machine itself; in a container or virtual machine the clock belongs to the host"


@dataclass(frozen=True, slots=True)
class _Policy:
    """CPUs that share a clock. Frequencies in kHz; `table` is empty where the driver has none."""

    folder: Path
    lowest_khz: int
    highest_khz: int
    table_khz: tuple[int, ...]

    def target_khz(self, wanted_khz: int) -> int:
        """The frequency of this policy that comes nearest from below."""
        if self.table_khz:
            return max((entry for entry in self.table_khz if entry <= wanted_khz), default=self.table_khz[0])
        return min(max(wanted_khz, self.lowest_khz), self.highest_khz)


class CpuFrequency:
    """Pins the clock of all CPUs.

    Raises:
        KnobUnavailableError: the kernel shows no frequency scaling.
    """

    name = "cpu"
    unit = "MHz"
    domain = "cpu"
    settle_s = SETTLE_S

    def __init__(self, files: Sysfs | None = None) -> None:
        self._files = files or Sysfs()
        policies = (self._policy(folder) for folder in self._files.folders(_PLACE, "policy[0-9]*"))
        self._policies = {policy.folder.name: policy for policy in policies if policy is not None}
        if not self._policies:
            raise KnobUnavailableError(
                f"the kernel shows no CPU frequency scaling under /{_PLACE}, as in most virtual machines",
                "run on the bare machine",
            )

    def _policy(self, folder: Path) -> _Policy | None:
        """None for a policy whose CPUs are all switched off."""
        low, high = (self._files.number(folder / f"cpuinfo_{end}_freq") for end in ("min", "max"))
        limits = (self._files.number(folder / name) for name in (_LOW, _HIGH))
        if not low or not high or low > high or not all(limits):
            return None
        words = (self._files.text(folder / "scaling_available_frequencies") or "").split()
        table = sorted({int(word) for word in words if word.isdigit() and low <= int(word) <= high})
        return _Policy(folder, low, high, tuple(table))

    @property
    def driver(self) -> str:
        """Driver and governor of each policy, for the record: `intel_pstate powersave`."""
        names = ("scaling_driver", "scaling_governor")
        found = {
            " ".join(filter(None, (self._files.text(policy.folder / name) for name in names)))
            for policy in self._policies.values()
        }
        return ", ".join(sorted(filter(None, found)))

    def ready(self) -> None:
        """Check that every file may be written.

        Raises:
            KnobUnavailableError: not permitted.
        """
        paths = [policy.folder / name for policy in self._policies.values() for name in (_LOW, _HIGH)]
        require_writable(self._files, paths, _ALLOW)

    def offer(self) -> Offer:
        """From the highest of the lowest frequencies, which all CPUs reach, to the highest of any."""
        policies = self._policies.values()
        low, high = max(item.lowest_khz for item in policies), max(item.highest_khz for item in policies)
        tables = {entry for item in policies for entry in item.table_khz}
        # One CPU without a table takes anything.
        choices = sorted(tables) if all(item.table_khz for item in policies) else []
        kept = tuple(entry / 1000 for entry in choices if low <= entry <= high)
        return Offer(low / 1000, high / 1000, low / 1000, GRID_MHZ, kept)

    def state(self) -> State:
        """Lowest and highest frequency of each policy, in kHz.

        Raises:
            KnobError: a file is gone.
        """
        found = {}
        for policy in self._policies.values():
            for name in (_LOW, _HIGH):
                found[f"{policy.folder.name}/{name}"] = self._limit_khz(policy, name)
        return found

    def _limit_khz(self, policy: _Policy, name: str) -> int:
        value = self._files.number(policy.folder / name)
        if value is None:
            raise KnobError(f"{policy.folder / name} cannot be read any more", "see whether CPUs were switched off")
        return value

    def _range_khz(self, policy: _Policy) -> tuple[int, int]:
        return self._limit_khz(policy, _LOW), self._limit_khz(policy, _HIGH)

    def set(self, setting: float) -> None:
        """Pin all CPUs to `setting` MHz.

        Raises:
            KnobUnavailableError: not permitted.
            KnobError: the driver refused it, or took something else (firmware, thermal limits or a power daemon).
        """
        for policy in self._policies.values():
            target = policy.target_khz(round(setting * 1000))
            self._set_range(policy, target, target)
            for name in (_LOW, _HIGH):
                got = self._limit_khz(policy, name)
                if abs(got - target) > _TAKEN * target:
                    raise KnobError(
                        f"{policy.folder / name} stands at {got / 1000:g} MHz where {target / 1000:g} MHz was set",
                        "firmware, heat or a power daemon (power-profiles-daemon, tuned, thermald) limits the clock: "
                        "stop it, or sweep within its limits",
                    )

    def _set_range(self, policy: _Policy, low_khz: int, high_khz: int) -> None:
        """Write both ends in the order that never has the lower one above the upper one: some kernels refuse that."""
        writes = [(_HIGH, high_khz), (_LOW, low_khz)]
        if high_khz < self._limit_khz(policy, _LOW):
            writes.reverse()
        for name, value in writes:
            write_checked(self._files, policy.folder / name, value, _LOCKED)

    def in_force(self) -> float | None:
        """The highest limit of any CPU, in MHz.

        Raises:
            KnobError: a file is gone.
        """
        return max(self._limit_khz(policy, _HIGH) for policy in self._policies.values()) / 1000

    def running_mhz(self) -> float | None:
        """The fastest clock of any CPU, averaged by the hardware where it does so. Idle CPUs are slower than busy ones,
        so this is that of a busy one.
        """
        found = []
        for policy in self._policies.values():
            for name in ("cpuinfo_avg_freq", "scaling_cur_freq"):
                value = self._files.number(policy.folder / name)
                if value:
                    found.append(value)
                    break
        return max(found) / 1000 if found else None

    def restore(self, state: State) -> None:
        """Set both limits of each policy as they were.

        Raises:
            KnobError: a key or value that cannot be of this machine (nothing is written), or a part that could not be
                put back.
        """
        ranges: dict[str, tuple[int, int]] = {}
        for key in state:
            match = _KEY.fullmatch(key)
            low, high = (state.get(f"{match[1]}/{name}") if match else None for name in (_LOW, _HIGH))
            if match is None or low is None or high is None or not 0 < low <= high:
                raise KnobError(f"{key!r} = {state[key]!r} is no frequency of a CPU", "nothing was written")
            policy = self._policies.get(match[1])
            if policy is not None and not policy.lowest_khz <= low <= high <= policy.highest_khz:
                raise KnobError(
                    f"{match[1]}: {low} to {high} kHz lies outside of what this CPU has, {policy.lowest_khz} to "
                    f"{policy.highest_khz}",
                    "nothing was written",
                )
            ranges[match[1]] = (low, high)
        problems = []
        for name, (low, high) in ranges.items():
            policy = self._policies.get(name)
            if policy is None:
                problems.append(f"{name} is not there any more")
                continue
            try:
                if self._range_khz(policy) != (low, high):
                    self._set_range(policy, low, high)
                got = self._range_khz(policy)
            except KnobError as error:
                problems.append(error.cause)
                continue
            if got != (low, high):
                problems.append(f"{name} stands at {got[0]} to {got[1]} kHz instead of {low} to {high}")
        if problems:
            raise KnobError(
                "the CPU clock could not be put back: " + "; ".join(problems),
                f"as root, write the numbers into /{_PLACE}/policy*/{_LOW} and {_HIGH}, or restart the machine",
            )
