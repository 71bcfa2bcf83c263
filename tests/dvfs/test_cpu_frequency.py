import pytest

from energyaware.dvfs.cpu_frequency import CpuFrequency
from energyaware.dvfs.sysfs import Sysfs
from energyaware.errors import KnobError, KnobUnavailableError

ACPI = {"low": 1_000_000, "high": 2_600_000, "now": (1_000_000, 2_600_000), "driver": "acpi-cpufreq"}
ACPI["table"] = (1_000_000, 1_333_000, 2_000_000, 2_600_000)


def limits(read, policy="policy0"):
    return read(policy, "scaling_min_freq"), read(policy, "scaling_max_freq")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("setting", [800.0, 1200.0, 2500.0, 3700.0])
def test_both_ends_are_pinned_and_the_prior_ones_come_back(cpufreq_tree, driver, read, strict, setting):
    """Also on old kernels, which refuse a lower end above the upper one in between."""
    cpufreq_tree()
    knob = CpuFrequency(driver(strict=strict))
    prior = knob.state()
    knob.set(setting)
    assert limits(read) == limits(read, "policy1") == (setting * 1000, setting * 1000)
    assert knob.in_force() == setting
    assert knob.running_mhz() == setting - 1
    knob.restore(prior)
    assert limits(read) == limits(read, "policy1") == (1_200_000, 3_100_000)


def test_from_one_setting_to_the_next_up_and_down(cpufreq_tree, driver, read):
    cpufreq_tree()
    knob = CpuFrequency(driver(strict=True))
    for setting in (800.0, 3700.0, 1500.0, 1600.0, 1400.0):
        knob.set(setting)
        assert limits(read) == (setting * 1000, setting * 1000)


def test_only_the_two_ends_are_ever_written(cpufreq_tree, driver):
    cpufreq_tree()
    files = driver()
    knob = CpuFrequency(files)
    prior = knob.state()
    knob.set(1500.0)
    knob.restore(prior)
    assert {name for _, name, _ in files.writes} == {"scaling_min_freq", "scaling_max_freq"}


def test_opening_and_looking_writes_nothing(cpufreq_tree, driver):
    cpufreq_tree()
    files = driver()
    knob = CpuFrequency(files)
    knob.ready()
    knob.offer()
    knob.restore(knob.state())
    assert files.writes == []
    assert knob.driver == "intel_pstate powersave"


def test_what_the_driver_rounds_to_is_in_force(cpufreq_tree, driver):
    cpufreq_tree()
    knob = CpuFrequency(driver(step_khz=100_000))
    knob.set(1250.0)
    assert knob.in_force() == 1200.0


def test_a_table_is_offered_as_it_is_and_a_range_as_a_grid(cpufreq_tree, driver, tmp_path):
    cpufreq_tree()
    assert CpuFrequency(driver()).offer().choices == ()
    cpufreq_tree(**ACPI)
    offer = CpuFrequency(driver()).offer()
    assert offer.choices == (1000.0, 1333.0, 2000.0, 2600.0)
    assert (offer.lowest, offer.highest) == (1000.0, 2600.0)


def test_slower_cores_run_at_their_top(cpufreq_tree, driver, read, tmp_path):
    cpufreq_tree()
    folder = tmp_path / "sys/devices/system/cpu/cpufreq/policy1"
    for name, value in (
        ("cpuinfo_max_freq", 2_400_000),
        ("cpuinfo_min_freq", 600_000),
        ("scaling_max_freq", 2_400_000),
    ):
        (folder / name).write_text(f"{value}\n")
    knob = CpuFrequency(driver())
    offer = knob.offer()
    assert (offer.lowest, offer.highest) == (800.0, 3700.0)
    knob.set(3000.0)
    assert limits(read) == (3_000_000, 3_000_000)
    assert limits(read, "policy1") == (2_400_000, 2_400_000)


def test_firmware_that_overrules_is_an_error_not_a_row(cpufreq_tree, driver):
    cpufreq_tree()
    knob = CpuFrequency(driver(ceiling_khz=2_000_000))
    with pytest.raises(KnobError, match="stands at 2000 MHz where 3000 MHz was set"):
        knob.set(3000.0)


@pytest.mark.parametrize("policies", [0, 1])
def test_without_scaling_it_is_unavailable(cpufreq_tree, driver, tmp_path, policies):
    """A virtual machine shows an empty folder; a policy whose CPUs are off reads as nothing."""
    (tmp_path / "sys/devices/system/cpu/cpufreq").mkdir(parents=True)
    if policies:
        cpufreq_tree(policies=1)
        (tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq").write_text("<unknown>\n")
    with pytest.raises(KnobUnavailableError, match="no CPU frequency scaling"):
        CpuFrequency(driver())


def test_without_permission_it_says_what_to_do(cpufreq_tree, driver):
    cpufreq_tree()
    files = driver(forbidden=("scaling_max_freq",))
    with pytest.raises(KnobUnavailableError) as caught:
        CpuFrequency(files).ready()
    assert "policy0/scaling_max_freq and 1 more" in caught.value.cause
    assert "sudo chmod a+w /sys/devices/system/cpu/cpufreq/policy*/{scaling_min_freq,scaling_max_freq}" in str(
        caught.value
    )


def test_a_container_is_told_from_missing_permission(cpufreq_tree, driver):
    cpufreq_tree()
    files = driver()
    files.mounted_read_only = True
    with pytest.raises(KnobUnavailableError, match="mounted read-only"):
        CpuFrequency(files).ready()


def test_a_write_that_is_refused_after_all_is_unavailable_too(cpufreq_tree, driver):
    cpufreq_tree()
    with pytest.raises(KnobUnavailableError, match="may not be written"):
        CpuFrequency(driver(locked=("scaling_max_freq",))).set(1500.0)


@pytest.mark.parametrize(
    "change",
    [
        {"policy0/scaling_governor": 1},
        {"../../../../etc/passwd": 1},
        {"policy0/../policy0/scaling_max_freq": 2_000_000},
        {"policy0/scaling_max_freq\n": 2_000_000},
        {"policy0/scaling_max_freq": 9_000_000},
        {"policy0/scaling_min_freq": 1},
        {"policy0/scaling_min_freq": 0},
        {"policy0/scaling_min_freq": 3_500_000},
        {"policy1/scaling_max_freq": -5},
        {"policy٣/scaling_max_freq": 2_000_000},
    ],
)
def test_a_hostile_state_writes_nothing(cpufreq_tree, driver, change):
    cpufreq_tree()
    files = driver()
    knob = CpuFrequency(files)
    with pytest.raises(KnobError, match="nothing was written"):
        knob.restore({**knob.state(), **change})
    assert files.writes == []


def test_half_a_state_writes_nothing(cpufreq_tree, driver):
    cpufreq_tree()
    files = driver()
    with pytest.raises(KnobError, match="nothing was written"):
        CpuFrequency(files).restore({"policy0/scaling_max_freq": 2_000_000})
    assert files.writes == []


def test_what_can_be_put_back_is_where_a_cpu_went_away(cpufreq_tree, driver, read):
    cpufreq_tree()
    knob = CpuFrequency(driver())
    prior = knob.state()
    knob.set(1500.0)
    gone = {"policy9/scaling_min_freq": 1_200_000, "policy9/scaling_max_freq": 3_100_000}
    with pytest.raises(KnobError, match="policy9 is not there any more"):
        knob.restore({**gone, **prior})
    assert limits(read) == limits(read, "policy1") == (1_200_000, 3_100_000)


def test_the_real_files_are_written_without_being_made(cpufreq_tree, read, tmp_path):
    knob = CpuFrequency(Sysfs(cpufreq_tree()))
    knob.set(800.0)
    assert limits(read) == (800_000, 800_000)
    with pytest.raises(FileNotFoundError):
        Sysfs(tmp_path).write(tmp_path / "new", 1)
    assert not (tmp_path / "new").exists()


def test_policies_are_in_the_order_of_their_numbers(cpufreq_tree):
    names = [
        path.name for path in Sysfs(cpufreq_tree(policies=12)).folders("sys/devices/system/cpu/cpufreq", "policy*")
    ]
    assert names == [f"policy{index}" for index in range(12)]
