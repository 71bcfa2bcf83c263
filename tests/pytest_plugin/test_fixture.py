"""The `energy` fixture: how it feels, and what it stores."""

import json
import sys

import pytest


def test_without_energy_the_callable_runs_once_unmeasured(suite):
    suite.makepyfile(
        test_suite="""
        calls = []

        def test_mine(energy):
            energy.record(quality={"accuracy": 0.5})
            with energy.window("part"):
                pass
            assert energy(lambda: calls.append(1) or 7) == 7
            assert calls == [1]

        def test_pedantic(energy):
            seen = []
            result = energy.pedantic(
                lambda value: value + 1, setup=lambda: ((1,), {}), teardown=seen.append, rounds=9, candle="matmul"
            )
            assert (result, seen) == (2, [1])
        """
    )
    result = suite.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=2)
    assert not (suite.path / ".benchmarks").exists() or not list(suite.path.glob(".benchmarks/*/*.json"))
    assert "energy ranking" not in result.stdout.str()


def test_without_pytest_benchmark_tests_still_run(suite):
    suite.runpytest_subprocess("-p", "no:benchmark").assert_outcomes(passed=1)


def test_under_xdist_without_energy_tests_still_run(suite, monkeypatch):
    monkeypatch.delenv("PYTEST_ADDOPTS")  # which leaves xdist out
    suite.runpytest_subprocess("-n", "1").assert_outcomes(passed=1)


def test_raw_rounds_are_stored_beside_pytest_benchmarks_own_data(measure, stored):
    result = measure("--benchmark-save=first")
    assert result.ret == 0
    run = stored()
    assert run["energyaware"]["schema_version"] == 1
    assert run["energyaware"]["meters"] == {"cpu": "replay"}
    (bench,) = run["benchmarks"]
    assert bench["stats"]["rounds"] == 4
    energy = bench["energy"]
    assert energy["fullname"] == bench["fullname"]
    assert len(energy["rounds"]) == 4
    first = energy["rounds"][0]
    assert first["reading"]["energy_j"] == {"cpu": 1.0}
    assert 0 < first["candle"]["energy_j"]["cpu"] <= 1.0
    # pytest-benchmark shows the time of one call, although a round holds many.
    assert first["calls"] > 1
    assert bench["stats"]["iterations"] == first["calls"]
    assert energy["domains"]["cpu"] == {
        "meter": "replay",
        "source": "estimated",
        "resolution_s": 1e-06,
        "detail": "recorded",
    }
    assert energy["candle"] == "interpreter/1"
    assert set(energy["fingerprints"]) == {"benchmark source"}


def test_pytest_benchmark_reads_our_files(measure, suite):
    measure("--benchmark-save=first")
    result = suite.run(sys.executable, "-m", "pytest_benchmark", "list")
    result.stdout.fnmatch_lines(["*0001_first.json"])
    result = suite.run(sys.executable, "-m", "pytest_benchmark", "compare")
    result.stdout.fnmatch_lines(["*test_mine*"])


def test_json_and_save_together_hold_the_same(measure, stored, suite):
    measure("--benchmark-save=first", "--benchmark-json=out.json")
    assert json.loads((suite.path / "out.json").read_text())["energyaware"] == stored()["energyaware"]


def test_an_energy_run_is_stored_even_if_nobody_asked(measure, suite):
    measure()
    assert len(list(suite.path.glob(".benchmarks/*/*.json"))) == 1


def test_pedantic_setup_teardown_and_windows(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        def test_mine(energy):
            seen = []

            def work(value):
                with energy.window("outer"):
                    with energy.window("inner"):
                        return value + 1

            layouts = []
            result = energy.pedantic(
                work,
                setup=lambda: ((len(seen),), {}),
                teardown=seen.append,
                rounds=5,
                before_round=lambda: layouts.append(1),
                layout="redrawn every round",
            )
            assert len(layouts) == 5
            assert seen == list(range(6))  # one warm-up, five rounds
            assert result == 6
            energy.record(quality={"accuracy": 0.75}, requests=2, tokens_in=10, tokens_out=5)
        """
    )
    assert measure().ret == 0
    energy = stored()["benchmarks"][0]["energy"]
    assert energy["layout"] == "redrawn every round"
    assert [entry["calls"] for entry in energy["rounds"]] == [1] * 5
    assert set(energy["rounds"][0]["windows"]) == {"outer", "inner"}
    assert energy["quality"] == {"accuracy": 0.75}
    assert energy["work"]["tokens_out"] == 5


def test_the_marker_narrows_one_test(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.energy(group="mine", rounds=7)
        def test_mine(energy):
            energy(sum, range(10))
        """
    )
    assert measure().ret == 0
    energy = stored()["benchmarks"][0]["energy"]
    assert (energy["group"], len(energy["rounds"])) == ("mine", 7)


def test_the_fixture_may_be_used_once(suite, measure):
    suite.makepyfile(
        test_suite="""
        def test_twice(energy):
            energy(sum, range(10))
            energy(sum, range(10))
        """
    )
    result = measure()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*FixtureAlreadyUsed*"])


def test_unknown_facts_are_named(suite, measure):
    suite.makepyfile(
        test_suite="""
        def test_facts(energy):
            energy(sum, range(10))
            energy.record(qualty={"accuracy": 1.0})
        """
    )
    result = measure()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*does not know 'qualty'*did you mean quality?*"])


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "'good'", "None", "True"])
def test_a_quality_that_is_no_number_is_refused(suite, measure, value):
    suite.makepyfile(
        test_suite=f"""
        def test_facts(energy):
            energy(sum, range(10))
            energy.record(quality={{"accuracy": {value}}})
        """
    )
    result = measure()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no finite number*"])


def test_failed_tests_never_enter_a_baseline_but_show_a_row(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        def test_good(energy):
            energy(sum, range(10))

        def test_bad(energy):
            energy(sum, range(10))
            assert False, "wrong answer"

        def test_broken(energy):
            energy(lambda: 1 / 0)
        """
    )
    result = measure()
    assert result.ret == 1
    run = stored()
    assert [bench["name"] for bench in run["benchmarks"]] == ["test_good"]
    assert {item["fullname"].split("::")[1] for item in run["energyaware"]["errors"]} == {"test_bad", "test_broken"}
    result.stdout.fnmatch_lines(["test_broken: error: ZeroDivisionError: division by zero"])


def test_invalid_readings_are_counted_and_never_stored(suite, measure, stored):
    suite.makeconftest(
        """
        from energyaware.meters.replay import ReplayMeter

        def pytest_energy_meters(config):
            values = [1.0, 0.0, -1.0, float("nan"), 1.0, 1.0, 1.0]
            return {"steady": lambda: ReplayMeter([{"cpu": value} for value in values])}
        """
    )
    assert measure("--energy-rounds=20").ret == 0
    energy = stored()["benchmarks"][0]["energy"]
    assert sum(energy["discarded"].values()) > 0
    assert len(energy["rounds"]) + sum(energy["discarded"].values()) == 20
    assert all(entry["reading"]["energy_j"]["cpu"] > 0 for entry in energy["rounds"])


def test_a_benchmark_without_a_valid_reading_says_so(suite, measure, stored):
    suite.makeconftest(
        """
        from energyaware.meters.replay import ReplayMeter

        def pytest_energy_meters(config):
            return {"steady": lambda: ReplayMeter([{"cpu": 0.0}])}
        """
    )
    result = measure()
    result.stdout.fnmatch_lines(["*test_mine*–*", "*no valid reading: 4 × cpu: zero*"])
    assert stored()["benchmarks"][0]["energy"]["rounds"] == []


def test_a_meter_that_dies_costs_only_the_running_benchmark(suite, measure, stored):
    suite.makeconftest(
        """
        from energyaware.errors import MeterError
        from energyaware.meters.replay import ReplayMeter

        dead = []

        class Dying(ReplayMeter):
            def stop(self, mark):
                if dead:
                    raise MeterError("the counter is gone", "plug it in")
                return super().stop(mark)

        def pytest_energy_meters(config):
            return {"steady": lambda: Dying([{"cpu": 1.0}])}
        """
    )
    suite.makepyfile(
        test_suite="""
        import conftest

        def test_alive(energy):
            energy(sum, range(10))

        def test_dead(energy):
            energy(lambda: conftest.dead.append(1))
        """
    )
    result = measure(alone=True)
    assert [bench["name"] for bench in stored()["benchmarks"]] == ["test_alive"]
    result.stdout.fnmatch_lines(["*the counter is gone. plug it in*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_ctrl_c_keeps_what_was_finished(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        def test_done(energy):
            energy(sum, range(10))

        def test_stopped(energy):
            rounds = []
            def work():
                rounds.append(1)
                if len(rounds) > 3:
                    raise KeyboardInterrupt
            energy.pedantic(work, setup=lambda: None, rounds=9)

        def test_never(energy):
            energy(sum, range(10))
        """
    )
    result = measure(alone=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    run = stored()
    assert [bench["name"] for bench in run["benchmarks"]] == ["test_done"]
    assert run["energyaware"]["interrupted"] is True
    result.stdout.fnmatch_lines(["*test_done*", "interrupted: *no default baseline (finished benchmarks: 1)"])


def test_ctrl_c_in_the_first_round_saves_the_rest(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        def test_done(energy):
            energy(sum, range(10))

        def test_stopped(energy):
            def work():
                raise KeyboardInterrupt
            energy(work)
        """
    )
    result = measure(alone=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert [bench["name"] for bench in stored()["benchmarks"]] == ["test_done"]
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_skip_inside_a_round_saves_the_rest(suite, measure, stored):
    suite.makepyfile(
        test_suite="""
        import pytest

        def test_skipped(energy):
            energy(lambda: pytest.skip("no"))

        def test_done(energy):
            energy(sum, range(10))
        """
    )
    result = measure()
    result.assert_outcomes(passed=1, skipped=1)
    assert [bench["name"] for bench in stored()["benchmarks"]] == ["test_done"]


def test_collect_only_opens_no_meter(suite):
    result = suite.runpytest_subprocess("--energy", "--energy-meter=none-such", "--collect-only")
    assert result.ret == 0


def test_no_write_permission_for_the_report_is_said_before_anything_is_measured(suite, measure):
    (suite.path / "file").write_text("")
    result = measure("--energy-report=file/out")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: the report folder *cannot be written*"])


def test_hostile_names_are_text(suite, measure):
    suite.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.parametrize("x", ["<script>|`", "\\x1b[31m"])
        def test_mine(energy, x):
            energy(sum, range(10))
        """
    )
    result = measure("--energy-report=out")
    assert result.ret == 0
    markdown = (suite.path / "out" / "energy.md").read_text()
    assert "\x1b" not in markdown + result.stdout.str()


def test_a_plain_callable_gets_a_shifted_heap_and_one_with_setup_only_its_own_calls(measure, suite, stored):
    suite.makepyfile(
        test_suite="""
        def test_plain(energy):
            energy(sum, range(1000))

        def test_with_setup(energy):
            used = []
            energy.pedantic(used.append, setup=lambda: ((1,), {}), rounds=3)
            assert len(used) == 4  # one warm-up, three rounds: a further call would use up what setup hands out
        """
    )
    measure().assert_outcomes(passed=2)
    plain, with_setup = (item["energy"]["layout"] for item in stored()["benchmarks"])
    assert (plain, with_setup) == ("heap shifted", "not redrawn")


def test_samples_ceiling_and_traffic_are_stored(measure, suite, stored):
    suite.makepyfile(
        test_suite="""
        from energyaware.records import Ceiling

        def test_mine(energy):
            energy.record(kv_bytes=10, read_bytes=200, samples={"ttft_s": [0.5, 0.25]}, tokens_out=3)
            energy.record(ceiling=Ceiling(flops_per_s=1e9, bytes_per_s=1e8))
            energy(sum, range(1000))
        """
    )
    result = measure("--energy-columns=variant,ttft,mbu,mfu")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_mine*375 ms / 488 ms*%*–*"])
    record = stored()["benchmarks"][0]["energy"]
    assert (record["work"]["kv_bytes"], record["work"]["read_bytes"]) == (10, 200)
    assert record["samples"] == {"ttft_s": [0.5, 0.25]}
    assert record["ceiling"] == {"flops_per_s": 1e9, "bytes_per_s": 1e8}
    assert {"steal_share", "others_share"} <= record["rounds"][0]["state"].keys()
