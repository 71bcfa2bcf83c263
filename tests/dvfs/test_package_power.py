import pytest

from energyaware.dvfs.package_power import PackagePower
from energyaware.errors import KnobError, KnobUnavailableError

LONG, SHORT = "constraint_0_power_limit_uw", "constraint_1_power_limit_uw"


def test_both_limits_are_lowered_and_come_back(powercap_tree, driver, read):
    powercap_tree(packages=2)
    files = driver()
    knob = PackagePower(files)
    prior = knob.state()
    knob.set(80.0)
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        assert (read(zone, LONG), read(zone, SHORT)) == (80_000_000, 80_000_000)
    assert knob.in_force() == 80.0
    assert knob.running_mhz() is None
    knob.restore(prior)
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        assert (read(zone, LONG), read(zone, SHORT)) == (125_000_000, 150_000_000)
    assert {zone for zone, *_ in files.writes} == {"intel-rapl:0", "intel-rapl:1"}


def test_a_short_term_limit_below_is_left_alone(powercap_tree, driver, read):
    powercap_tree(short_uw=60_000_000)
    PackagePower(driver()).set(80.0)
    assert (read("intel-rapl:0", LONG), read("intel-rapl:0", SHORT)) == (80_000_000, 60_000_000)


def test_a_limit_that_was_not_enforced_is_and_is_not_again(powercap_tree, driver, read):
    powercap_tree(enabled=0)
    files = driver()
    knob = PackagePower(files)
    prior = knob.state()
    knob.set(80.0)
    assert read("intel-rapl:0", "enabled") == 1
    knob.restore(prior)
    assert read("intel-rapl:0", "enabled") == 0
    assert files.writes[-1] == ("intel-rapl:0", "enabled", 0)


@pytest.mark.parametrize(
    ("long_uw", "most_uw", "highest"),
    [(125_000_000, 125_000_000, 125.0), (95_000_000, 125_000_000, 95.0), (4_095_875_000, 165_000_000, 165.0)],
)
def test_caps_are_only_lowered(powercap_tree, driver, long_uw, most_uw, highest):
    powercap_tree(long_uw=long_uw, most_uw=most_uw)
    offer = PackagePower(driver()).offer()
    assert (offer.lowest, offer.highest) == (1.0, highest)
    assert offer.grid_lowest == pytest.approx(0.4 * highest)


def test_a_rated_power_of_0_is_unknown(powercap_tree, driver):
    powercap_tree(most_uw=0)
    assert PackagePower(driver()).offer().highest == 125.0


def test_rounding_to_the_register_is_no_fault(powercap_tree, driver):
    powercap_tree()
    knob = PackagePower(driver(unit_uw=125_000))
    knob.set(50.3)
    assert knob.in_force() == 50.25


def test_a_driver_that_takes_something_else_is_an_error(powercap_tree, driver):
    powercap_tree()
    with pytest.raises(KnobError, match="where 50 W was set"):
        PackagePower(driver(unit_uw=40_000_000)).set(50.0)


@pytest.mark.parametrize("name", ["long_term", "name"])
def test_without_a_cap_it_is_unavailable(powercap_tree, driver, tmp_path, name):
    """AMD shows zones without limits; a platform alone is no package."""
    powercap_tree()
    for path in (tmp_path / "sys/class/powercap").rglob("constraint_0_name" if name == "long_term" else "name"):
        path.write_text("peak_power\n" if name == "long_term" else "psys\n")
    with pytest.raises(KnobUnavailableError, match="no power cap"):
        PackagePower(driver())


def test_an_empty_machine_has_none(driver):
    with pytest.raises(KnobUnavailableError, match="no power cap"):
        PackagePower(driver())


def test_limits_locked_by_firmware_say_so(powercap_tree, driver):
    powercap_tree()
    with pytest.raises(KnobUnavailableError, match="firmware has locked"):
        PackagePower(driver(locked=(SHORT,))).set(80.0)


def test_without_permission_it_says_what_to_do(powercap_tree, driver):
    powercap_tree()
    with pytest.raises(KnobUnavailableError, match="sudo chmod"):
        PackagePower(driver(forbidden=(LONG,))).ready()


@pytest.mark.parametrize(
    "state",
    [
        {"intel-rapl:0/energy_uj": 5},
        {"intel-rapl:0/../intel-rapl:0/enabled": 1},
        {"intel-rapl-mmio:0/enabled": 1},
        {"intel-rapl:0:0/enabled": 0},
        {"intel-rapl:0/enabled": 2},
        {f"intel-rapl:0/{LONG}": 4_096_000_000},
        {f"intel-rapl:0/{LONG}": -1},
    ],
)
def test_a_hostile_state_writes_nothing(powercap_tree, driver, state):
    powercap_tree()
    files = driver()
    with pytest.raises(KnobError, match="nothing was written"):
        PackagePower(files).restore({f"intel-rapl:0/{SHORT}": 90_000_000, **state})
    assert files.writes == []


def test_what_can_be_put_back_is(powercap_tree, driver, read):
    powercap_tree()
    knob = PackagePower(driver())
    prior = knob.state()
    knob.set(80.0)
    with pytest.raises(KnobError, match="intel-rapl:7/enabled is not there"):
        knob.restore({"intel-rapl:7/enabled": 1, **prior})
    assert (read("intel-rapl:0", LONG), read("intel-rapl:0", SHORT)) == (125_000_000, 150_000_000)
