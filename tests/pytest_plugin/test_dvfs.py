"""`--energy-dvfs`: what it refuses before anything runs."""

import pytest

USAGE_ERROR = 4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--energy-dvfs=cppu"], "*unknown knob 'cppu'*did you mean cpu?*cpu, package, gpu-clock, gpu-power*"),
        (["--energy-dvfs="], "*unknown knob ''*Known: cpu*"),
        (["--energy-dvfs=cpu:50W"], "*'50W' is no setting of cpu*GHz, MHz, kHz*"),
        (["--energy-dvfs=package:80"], "*asks for 80 settings*package:80W*"),
        (["--energy-dvfs=cpu", "--energy-meter=cpu-time"], "*cpu-time estimates*would call the highest setting best*"),
        (["--energy-dvfs=cpu", "--energy-meter=codecarbon"], "*codecarbon estimates*"),
    ],
)
def test_wrong_words_are_usage_errors_that_name_the_valid_ones(measure, arguments, expected):
    result = measure(*arguments)
    result.stderr.fnmatch_lines([f"ERROR: {expected}"])
    assert result.ret == USAGE_ERROR


def test_without_energy_there_is_nothing_to_measure(suite):
    result = suite.runpytest_inprocess("--energy-dvfs=cpu")
    result.stderr.fnmatch_lines(["ERROR: *--energy-dvfs has nothing to measure without --energy*"])
    assert result.ret == USAGE_ERROR


def test_a_file_that_asks_for_it_leaves_plain_tests_alone(suite):
    suite.makeini("[pytest]\nenergy_dvfs = cpu:5\n")
    assert suite.runpytest_inprocess().ret == 0


def test_the_option_reaches_benchmarks(suite, measure):
    suite.makepyfile(
        test_suite="""
        def test_mine(energy, energy_config):
            assert energy_config.dvfs == "cpu:1.2GHz,2GHz"
            energy(sum, range(10))
        """
    )
    assert measure("--energy-dvfs=cpu:1.2GHz,2GHz").ret == 0
