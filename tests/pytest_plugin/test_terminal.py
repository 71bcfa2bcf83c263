"""What the end of the output says at which verbosity, and how wide it is."""

import pytest

SUITE = """
import pytest
from energyaware.records import Variant

VARIANTS = [Variant("mini-mistral", "fp32", "magnitude-50"), Variant("mini-gpt2", "bf16")]

@pytest.mark.parametrize("variant", VARIANTS, ids=lambda item: item.id)
def test_mine(energy, variant):
    energy.record(
        variant=variant, quality={"accuracy": 0.9}, requests=2, tokens_in=10, notes=["what a reader must know"]
    )
    energy(sum, range(1000))
"""


@pytest.fixture
def narrow(suite, measure, monkeypatch):
    """Run on that many columns; the lines of standard output."""

    def run(width, *arguments):
        monkeypatch.setenv("COLUMNS", str(width))
        suite.makepyfile(test_suite=SUITE)
        return measure(*arguments).stdout.lines

    return run


def headed(lines, title):
    """The line of a table's head, which names `title`."""
    return next(line for line in lines if title in line)


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit(narrow, width):
    narrow(width, "--benchmark-save=base")
    lines = narrow(width, "--energy-compare=base", "--energy-report=out")
    timing = lines[lines.index(headed(lines, "Name (time in")) : lines.index("Legend:")]
    ours = lines[lines.index(headed(lines, "= energy ranking =")) :]
    assert max(map(len, timing + ours)) <= width
    assert "Median" in timing[0]
    for text in ("mini-mistral-fp32-magnitude-50", "baseline: .benchmarks", "report: out/"):
        assert any(text in line for line in ours)


def test_the_header_is_as_wide_as_the_terminal(narrow):
    lines = narrow(80, "--energy-meter=cpu-time")
    begin = lines.index(headed(lines, "energy: "))
    assert max(map(len, lines[begin : begin + 3])) <= 80


def test_more_room_holds_more_columns(narrow):
    heads = {width: (*lines_of_heads(narrow(width)),) for width in (80, 220)}
    for small, large in zip(heads[80], heads[220], strict=True):
        assert len(small.split()) < len(large.split())


def lines_of_heads(lines):
    return headed(lines, "Name (time in"), headed(lines, "energy/request")


def test_v_shows_every_column_whatever_the_width(narrow):
    timing, ranking = lines_of_heads(narrow(80, "-v"))
    assert "Iterations" in timing
    assert "CO₂e/request" in ranking


def test_columns_that_were_asked_for_stay(narrow):
    head = headed(narrow(80, "--benchmark-columns=min,max,mean,iqr,ops"), "Name (time in")
    assert [title for title in ("Min", "Max", "Mean", "IQR", "OPS") if title not in head] == []


def test_q_leaves_out_timing_and_notes(narrow):
    whole, short = "\n".join(narrow(120)), "\n".join(narrow(120, "-q"))
    for text in ("Name (time in", "what a reader must know", "Energy is estimated"):
        assert text in whole
        assert text not in short
    for text in ("energy/request", "this run spent"):
        assert text in short


def test_qq_says_what_failed_and_nothing_else(narrow, suite, measure):
    narrow(120, "--benchmark-save=base")
    assert "energy" not in "\n".join(narrow(120, "-qq"))
    suite.makepyfile(test_suite=SUITE.replace("energy.record(", "energy.record(flops=3, "))
    result = measure("-qq", "--energy-compare=base", "--energy-fail=flops:0%", "--energy-strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED: test_suite.py::test_mine*flops:0%*"])
    assert "energy ranking" not in result.stdout.str()
