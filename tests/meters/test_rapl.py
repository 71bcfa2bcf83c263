import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.errors import MeterError
from energyaware.meters import rapl
from energyaware.meters.base import Meter
from energyaware.meters.rapl import MAX_POWER_W, SMALLEST_RANGE_UJ, Counter, RaplMeter, in_sight

RANGE_UJ = 262_143_328_850


class Tree:
    """A powercap tree on disk, as Linux shows it: every zone is a folder, and each is linked from the class."""

    def __init__(self, root: Path):
        self.root = root
        self.devices = root / "sys/devices/virtual/powercap"
        self.listed = root / "sys/class/powercap"
        self.listed.mkdir(parents=True)

    def folder(self, zone):
        control, *numbers = zone.split(":")
        parts = [":".join([control, *numbers[: depth + 1]]) for depth in range(len(numbers))]
        return self.devices.joinpath(control, *parts)

    def add(self, zone, name, energy_uj=1_000_000, range_uj=RANGE_UJ):
        folder = self.folder(zone)
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        self.set(zone, energy_uj)
        if range_uj is not None:
            (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (self.listed / zone).symlink_to(folder)
        return self

    def set(self, zone, energy_uj):
        (self.folder(zone) / "energy_uj").write_text(f"{energy_uj}\n")

    def spend(self, zone, energy_uj):
        folder = self.folder(zone)
        range_uj = int((folder / "max_energy_range_uj").read_text())
        self.set(zone, (int((folder / "energy_uj").read_text()) + energy_uj) % range_uj)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.fixture
def read(tree, clock):
    """Open a meter on the tree; its thread ends with the test."""
    opened = []

    def open_(environ=None):
        opened.append(RaplMeter(tree.root, clock, environ or {}))
        return opened[-1]

    yield open_
    for meter in opened:
        meter.close()


def test_package_and_dram_are_measured(tree, read, clock):
    tree.add("intel-rapl:0", "package-0").add("intel-rapl:0:0", "dram")
    meter = read()
    assert isinstance(meter, Meter)
    assert {name: domain.source for name, domain in meter.domains.items()} == {"cpu": "measured", "dram": "measured"}
    mark = meter.start()
    tree.spend("intel-rapl:0", 2_500_000)
    tree.spend("intel-rapl:0:0", 400_000)
    clock.now_s += 1
    assert meter.stop(mark) == {"cpu": 2.5, "dram": 0.4}


def test_windows_nest(tree, read, clock):
    tree.add("intel-rapl:0", "package-0")
    meter = read()
    outer = meter.start()
    tree.spend("intel-rapl:0", 1_000_000)
    inner = meter.start()
    tree.spend("intel-rapl:0", 2_000_000)
    assert meter.stop(inner) == {"cpu": 2.0}
    assert meter.stop(outer) == {"cpu": 3.0}


def test_platform_cores_graphics_and_the_second_interface_are_never_added(tree, read):
    tree.add("intel-rapl:0", "package-0").add("intel-rapl:0:0", "core").add("intel-rapl:0:1", "uncore")
    tree.add("intel-rapl:1", "psys").add("intel-rapl-mmio:0", "package-0")
    meter = read()
    mark = meter.start()
    for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:1", "intel-rapl-mmio:0"):
        tree.spend(zone, 1_000_000)
    assert meter.stop(mark) == {"cpu": 1.0}


def test_several_sockets_are_numbered_by_the_kernel(tree, read):
    # The order of folders is not that of packages.
    tree.add("intel-rapl:0", "package-1").add("intel-rapl:0:0", "dram")
    tree.add("intel-rapl:1", "package-0").add("intel-rapl:1:0", "dram")
    meter = read()
    mark = meter.start()
    for zone, energy_uj in (("intel-rapl:0", 1), ("intel-rapl:0:0", 2), ("intel-rapl:1", 3), ("intel-rapl:1:0", 4)):
        tree.spend(zone, energy_uj * 1_000_000)
    assert meter.stop(mark) == {"cpu1": 1.0, "dram1": 2.0, "cpu0": 3.0, "dram0": 4.0}


def test_the_dies_of_a_package_add_up(tree, read):
    tree.add("intel-rapl:0", "package-0-die-0").add("intel-rapl:0:0", "dram")
    tree.add("intel-rapl:1", "package-0-die-1").add("intel-rapl:1:0", "dram")
    meter = read()
    mark = meter.start()
    for zone, energy_uj in (("intel-rapl:0", 1), ("intel-rapl:0:0", 2), ("intel-rapl:1", 3), ("intel-rapl:1:0", 4)):
        tree.spend(zone, energy_uj * 1_000_000)
    assert meter.stop(mark) == {"cpu": 4.0, "dram": 6.0}


def test_a_package_that_is_shown_twice_or_beside_its_dies_counts_once(tree, read):
    tree.add("intel-rapl:0", "package-0").add("intel-rapl:1", "package-0")
    tree.add("intel-rapl:2", "package-0-die-0").add("intel-rapl:3", "package-0-die-1")
    meter = read()
    mark = meter.start()
    for number in range(4):
        tree.spend(f"intel-rapl:{number}", 1_000_000)
    assert meter.stop(mark) == {"cpu": 1.0}


def test_no_counter_is_an_error_and_not_zero(tree, read):
    assert not in_sight(tree.root)
    with pytest.raises(MeterError, match="no counter for every CPU package") as caught:
        read()
    assert "cpu-time" in caught.value.remedy
    tree.add("intel-rapl:0", "psys")
    assert not in_sight(tree.root)
    with pytest.raises(MeterError, match="no counter"):
        read()


def test_a_machine_without_powercap_has_no_counter(tmp_path, clock):
    assert not in_sight(tmp_path)
    with pytest.raises(MeterError, match="no counter"):
        RaplMeter(tmp_path, clock, {})


def test_a_counter_that_stands_at_zero_is_absent(tree, read):
    tree.add("intel-rapl:0", "package-0").add("intel-rapl:0:0", "dram", energy_uj=0)
    assert set(read().domains) == {"cpu"}


def test_half_a_machine_does_not_pass_for_the_whole(tree, read):
    tree.add("intel-rapl:0", "package-0").add("intel-rapl:0:0", "dram").add("intel-rapl:1", "package-1")
    assert set(read().domains) == {"cpu0", "cpu1"}
    tree.set("intel-rapl:1", 0)
    with pytest.raises(MeterError, match="no counter for every CPU package"):
        read()


def test_files_that_only_root_may_read_come_with_a_way_to_read_them(tree, read, monkeypatch):
    tree.add("intel-rapl:0", "package-0")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(rapl, "read_uj", refuse)
    assert in_sight(tree.root)
    with pytest.raises(MeterError, match=r"only root may read .*intel-rapl:0/energy_uj") as caught:
        read()
    for part in ("chmod a+r", "udev", "setcap cap_dac_read_search", "cpu-time"):
        assert part in caught.value.remedy


def test_only_the_first_rank_reads_what_all_share(tree, read):
    tree.add("intel-rapl:0", "package-0")
    assert set(read({"WORLD_SIZE": "2", "LOCAL_RANK": "0"}).domains) == {"cpu"}
    with pytest.raises(MeterError, match="first rank"):
        read({"WORLD_SIZE": "2", "LOCAL_RANK": "1"})


def test_a_counter_that_disappears_is_our_error(tree, read):
    tree.add("intel-rapl:0", "package-0")
    meter = read()
    mark = meter.start()
    (tree.folder("intel-rapl:0") / "energy_uj").write_text("garbage")
    with pytest.raises(MeterError, match="stopped answering"):
        meter.stop(mark)
    (tree.folder("intel-rapl:0") / "energy_uj").unlink()
    with pytest.raises(MeterError, match="stopped answering"):
        meter.start()


def test_a_window_over_a_wrap_around_is_whole(tree, read, clock):
    tree.add("intel-rapl:0", "package-0", energy_uj=RANGE_UJ - 1_000_000)
    meter = read()
    mark = meter.start()
    tree.spend("intel-rapl:0", 3_000_000)
    clock.now_s += 1
    assert meter.stop(mark) == {"cpu": 3.0}


def test_a_window_longer_than_several_wrap_arounds_is_whole_as_long_as_the_thread_looks(tree, read, clock):
    tree.add("intel-rapl:0", "package-0")
    meter = read()
    mark = meter.start()
    for _ in range(40):
        tree.spend("intel-rapl:0", 50_000_000_000)  # 2 MJ in all, 7.6 ranges
        clock.now_s += 200
        meter.look()
    assert meter.stop(mark) == {"cpu": pytest.approx(2_000_000.0)}


def test_a_window_in_which_nobody_looked_has_no_value(tree, read, clock):
    tree.add("intel-rapl:0", "package-0").add("intel-rapl:0:0", "dram", range_uj=10 * RANGE_UJ)
    meter = read()
    mark = meter.start()
    clock.now_s += 300  # 1000 W would have wrapped the package's counter by now
    tree.spend("intel-rapl:0", 1_000_000)
    tree.spend("intel-rapl:0:0", 2_000_000)
    assert meter.stop(mark) == {"dram": 2.0}
    mark = meter.start()
    tree.spend("intel-rapl:0", 1_000_000)
    assert meter.stop(mark)["cpu"] == 1.0


def test_a_counter_that_was_reset_does_not_look_like_a_wrap_around(tree, read, clock):
    tree.add("intel-rapl:0", "package-0", energy_uj=90_000_000_000)
    meter = read()
    mark = meter.start()
    clock.now_s += 1
    tree.set("intel-rapl:0", 5)
    assert meter.stop(mark) == {}


@pytest.mark.parametrize("limit", [None, "", "0", "-1", "soon"])
def test_an_unreadable_range_costs_the_window_that_wrapped_and_no_other(tree, read, clock, limit):
    tree.add("intel-rapl:0", "package-0", energy_uj=SMALLEST_RANGE_UJ - 1, range_uj=limit)
    meter = read()
    mark = meter.start()
    clock.now_s += 1
    tree.set("intel-rapl:0", 2_000_000)
    assert meter.stop(mark) == {}
    mark = meter.start()
    tree.set("intel-rapl:0", 3_000_000)
    assert meter.stop(mark) == {"cpu": 1.0}


def test_the_thread_looks_again_and_again_and_survives_faults(tree, read):
    looks = []
    enough = threading.Event()

    def look():
        looks.append(1)
        if len(looks) > 2:
            enough.set()
        raise OSError("gone")

    watch = rapl._Watch(look, 1e-3)
    watch.start()
    assert enough.wait(60)
    watch.end()
    assert not watch.is_alive()
    assert watch.daemon


def test_the_thread_looks_four_times_per_shortest_wrap_and_ends_with_the_meter(tree, read):
    tree.add("intel-rapl:0", "package-0").add("intel-rapl:0:0", "dram", range_uj=SMALLEST_RANGE_UJ)
    meter = read()
    assert meter._watch._interval_s == pytest.approx(65.536 / 4)
    assert meter._watch.is_alive()
    meter.close()
    assert not meter._watch.is_alive()


# --- a counter that wraps, against the truth -------------------------------------------------------------------------


@dataclass
class File:
    """An `energy_uj` whose hardware has a modulus."""

    true_uj: int
    modulus_uj: int

    def read(self):
        return self.true_uj % self.modulus_uj


def steps(longest):
    """Pairs: time as a share of the shortest wrap-around, power as a share of the greatest."""
    return st.lists(st.tuples(st.floats(0, longest), st.floats(0, 0.99)), min_size=1, max_size=30)


@given(st.integers(1_000_000, RANGE_UJ), st.integers(0, RANGE_UJ), steps(0.99))
def test_a_wrap_around_never_loses_or_invents_a_joule(range_uj, begin_uj, taken):
    file, now_s = File(begin_uj, range_uj), [0.0]
    counter = Counter(file.read, range_uj, lambda: now_s[0])
    for share, power in taken:
        elapsed_s = share * counter.shortest_wrap_s
        now_s[0] += elapsed_s
        file.true_uj += int(elapsed_s * power * MAX_POWER_W * 1e6)
        state = counter.look()
        assert state == (file.true_uj - begin_uj, 0)


@given(
    st.one_of(st.none(), st.integers(1_000_000, RANGE_UJ)),
    st.integers(0, RANGE_UJ),
    steps(5),
    st.integers(1, 4),
)
def test_whatever_happens_a_window_is_exact_or_has_no_value(range_uj, begin_uj, taken, stretch):
    # Where the range is unknown, the true one may be any from the smallest on.
    modulus_uj = SMALLEST_RANGE_UJ * stretch if range_uj is None else range_uj
    file, now_s = File(begin_uj, modulus_uj), [0.0]
    counter = Counter(file.read, range_uj, lambda: now_s[0])
    for share, power in taken:
        before, true_uj = counter.look(), file.true_uj
        elapsed_s = share * counter.shortest_wrap_s
        now_s[0] += elapsed_s
        file.true_uj += int(elapsed_s * power * MAX_POWER_W * 1e6)
        after = counter.look()
        assert after.breaks > before.breaks or after.total_uj - before.total_uj == file.true_uj - true_uj
