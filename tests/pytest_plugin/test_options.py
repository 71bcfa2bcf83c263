"""What people type, and what a wrong word gets."""

import re

import pytest

USAGE_ERROR = 4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--energy-meter=steddy"], "*no meter is called 'steddy'*did you mean steady?*"),
        (["--energy-suite=slow"], "*--energy-suite=slow is unknown*quick, full*"),
        (["--energy-weight=2"], "*--energy-weight=2 is no number from 0 to 1*"),
        (["--energy-weight=nan"], "*--energy-weight=nan is no number from 0 to 1*"),
        (["--energy-rounds=1"], "*--energy-rounds=1 is no number from 2*"),
        (["--energy-sort=joules"], "*--energy-sort=joules is unknown*latency*"),
        (["--energy-columns=rank,jules"], "*unknown column 'jules'*energy*"),
        (["--energy-device=tpu"], "*--energy-device=tpu is unknown*cuda:N*"),
        (["--energy-device=cuda:²"], "*--energy-device=cuda:² is unknown*cuda:N*"),
        (["--energy-device=cuda:0,"], "*--energy-device=cuda:0, is unknown*cuda:N,M*"),
        (["--energy-device=cuda:1,1"], "*--energy-device=cuda:1,1 names a GPU twice*"),
        (["--energy-compare=" + "x" * 5000], "*no such file*number, name or branch*"),
        (["--energy-country=XX"], "*no country 'XX'*--energy-country=DEU*"),
        (["--energy-compare=nobody"], "*no such file*number, name or branch*"),
        (["--energy-compare", "--energy-fail=speed:5%"], "*unknown metric 'speed'*energy, latency*"),
        (["--energy-compare", "--energy-fail=energy:5kg"], "*unit 'kg'*%, J, mJ*"),
        (["--energy-compare", "--energy-fail=energy:0%"], "*is 0, but energy is noisy*"),
        (["--energy-fail=energy:5%"], "*no baseline to judge against*--energy-compare*"),
        (["--energy-core-watts=-3"], "*--energy-core-watts=-3 is no number*"),
        (["-n", "2"], "*one process*-n 0*"),
        (["--benchmark-disable"], "*--benchmark-disable*"),
        (["-p", "no:benchmark"], "*needs pytest-benchmark*"),
    ],
)
def test_wrong_words_are_usage_errors_that_name_the_valid_ones(measure, monkeypatch, arguments, expected):
    monkeypatch.delenv("PYTEST_ADDOPTS")  # which leaves xdist out
    result = measure(*arguments)
    result.stderr.fnmatch_lines([f"ERROR: {expected}"])
    assert result.ret == USAGE_ERROR
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_compare_does_not_swallow_a_path(suite):
    result = suite.runpytest_subprocess("--energy", "--energy-compare", ".")
    result.stderr.fnmatch_lines(["ERROR: *took the path '.'*--energy-compare -- .*"])
    assert result.ret == USAGE_ERROR


def test_compare_needs_energy(suite):
    result = suite.runpytest_subprocess("--energy-compare")
    result.stderr.fnmatch_lines(["ERROR: *without --energy*"])
    assert result.ret == USAGE_ERROR


def test_every_option_has_an_ini_twin(suite, stored):
    suite.makeini(
        """
        [pytest]
        energy = true
        energy_meter = steady
        energy_rounds = 3
        energy_weight = 0.25
        energy_country = FRA
        energy_columns = rank,variant,energy
        energy_report = out
        """
    )
    result = suite.runpytest_subprocess()
    assert result.ret == 0
    run = stored()
    assert run["energyaware"]["options"]["weight"] == 0.25
    assert re.fullmatch(r"CodeCarbon [\d.]+, FRA, \d{4}", run["energyaware"]["totals"]["intensity_source"])
    assert len(run["benchmarks"][0]["energy"]["rounds"]) == 3
    assert (suite.path / "out" / "energy.csv").is_file()
    assert "latency" not in result.stdout.str().split("energy ranking")[1].split("Ranked by")[0]


def test_every_option_is_read_from_the_ini_file_too(pytestconfig):
    from energyaware.pytest_plugin.options import add_options

    options, inis = [], []

    class Group:
        def addoption(self, name, **_):
            options.append(name)

    class Parser:
        def getgroup(self, *_):
            return Group()

        def addini(self, name, *_, **__):
            inis.append(name)

    add_options(Parser())
    # A descriptor that a process hands to those it starts belongs in no file.
    own = [name for name in options if name not in ("--energy-turns", "--energy-isolated")]
    assert [name.removeprefix("--").replace("-", "_") for name in own] == inis


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ('fial="energy:3%"', "*has no key 'fial'*did you mean fail?*"),
        ("rounds=1", "*rounds=1*"),
        ('candle="wax"', "*no candle is called 'wax'*interpreter*"),
        ('fail="joules:3%"', "*unknown metric 'joules'*"),
        ("group=3", "*group=3*"),
    ],
)
def test_wrong_markers_fail_their_test_in_one_line(suite, measure, marker, expected):
    suite.makepyfile(
        test_suite=f"""
        import pytest

        @pytest.mark.energy({marker})
        def test_wrong(energy):
            energy(sum, range(10))

        def test_right(energy):
            energy(sum, range(10))
        """
    )
    result = measure()
    result.assert_outcomes(**({"passed": 1, "failed": 1} if "candle" in marker else {"passed": 1, "errors": 1}))
    result.stdout.fnmatch_lines([expected])
    assert "Traceback" not in result.stdout.str()
