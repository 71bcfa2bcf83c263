"""What continuous integration reads of a run."""

import xml.etree.ElementTree as ElementTree


def test_junit_holds_the_numbers_beside_each_test(measure, suite):
    measure("--junitxml=junit.xml").assert_outcomes(passed=1)
    tree = ElementTree.parse(suite.path / "junit.xml")  # noqa: S314 - our own file
    found = {item.get("name"): item.get("value") for item in tree.iter("property")}
    assert found["energy_source"] == "estimated"
    assert float(found["energy_j_per_request"]) > 0
    assert float(found["latency_s"]) > 0


def test_github_shows_a_failure_beside_its_file(measure, suite, monkeypatch):
    measure("--benchmark-save=before")
    suite.makepyfile(
        test_suite="""
        def test_mine(energy):
            energy.record(flops=20)
            assert energy(sum, range(1000)) == 499500
        """
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = measure("--energy-compare=before", "--energy-strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["::error file=test_suite.py,title=energy::test_suite.py*test_mine*incomparable*"])


def test_elsewhere_no_workflow_command_is_printed(measure, monkeypatch):
    measure("--benchmark-save=before")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    result = measure("--energy-compare=before", "--energy-strict", "--energy-fail=flops:0%")
    assert result.ret == 1
    result.stdout.no_fnmatch_line("::error*")
