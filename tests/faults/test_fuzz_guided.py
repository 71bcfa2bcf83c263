"""Coverage-guided inputs: what is read from the fuzzer, and a few seconds of the real one where it is installed."""

import pytest

from benchmarks.promises.fuzz_guided import guide, outcome

PRINTED = """INFO: seed corpus: files: 1
#2\tINITED cov: 12 ft: 12 corp: 1/1b
#400\tDONE   cov: 35 ft: 61 corp: 9/88b lim: 4 exec/s: 200
stat::number_of_executed_units: 400
stat::peak_rss_mb:              85
"""


def test_numbers_of_a_quiet_end():
    found = outcome(0, PRINTED)
    assert (found.tried, found.covered, found.crash) == (400, 35, "")


def test_a_crash_is_shown_with_its_exception():
    error = (
        "\n === Uncaught Python exception: ===\nKeyError: 'a'\nTraceback\n==7== ERROR: libFuzzer: fuzz target exited\n"
    )
    found = outcome(77, error + PRINTED)
    assert found.crash == "KeyError: 'a'\nTraceback\n"
    assert found.tried == 400


def test_what_the_fuzzer_did_not_say_is_missing():
    found = outcome(1, "Killed")
    assert (found.tried, found.covered, found.crash) == (None, None, "Killed")


def test_atheris_tries_more_than_the_seeds(tmp_path):
    pytest.importorskip("atheris", reason="Atheris is missing: pip install -e '.[fuzz]'")
    found = guide("--energy-shard", 2, tmp_path)
    assert found.crash == ""
    assert found.tried > 10
    assert found.covered > 0
