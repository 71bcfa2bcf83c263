"""The analysis as people read it."""

import itertools
import json
import math

import pytest

from energyaware.records import Benchmark, Domain, Reading, Round, Run, Totals, Variant, Work
from energyaware.reports.analysis import analysis_json, analysis_text, length_tables
from energyaware.reports.drivers import analyses
from energyaware.reports.tables import MARKDOWN

CPU = {"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W")}


def benchmark(energy_j, model="small", precision="fp32", tokens=16, out=None, batch=1, **changes):
    ripple = (0.99, 1.0, 1.01, 1.0)
    plain = {
        "fullname": f"t.py::{model}{precision}{tokens}{out}{batch}", "name": "t", "group": "prefill",
        "task": f"in {tokens} out {out} x{batch}", "phase": "prefill", "candle": "matmul/1", "layout": "",
        "domains": CPU, "variant": Variant(model, precision),
        "rounds": tuple(Round(1, 0.1, Reading({"cpu": energy_j * share}, 0.1)) for share in ripple),
        "work": Work(requests=batch, tokens_in=batch * tokens, tokens_out=out and batch * out),
    }  # fmt: skip
    return Benchmark(**(plain | changes))


def run_of(*items, number=1):
    return Run(items, {"cpu": "Test CPU"}, {}, Totals(), "0", path=f"{number:04}_run.json")


def grid(**changes):
    """Twice the tokens cost 2^0.9 as much; a large model four times; bf16 a half, and a little misfit."""
    return [
        benchmark(
            0.01 * tokens**0.9 * (4 if model == "large" else 1) * (0.5 if precision == "bf16" else 1)
            * (1.02 if (tokens == 64) == (model == "large") else 1), model, precision, tokens, **changes,
        )
        for model, precision, tokens in itertools.product(("small", "large"), ("fp32", "bf16"), (16, 64, 256))
    ]  # fmt: skip


def text_of(*items, **options):
    return analysis_text(analyses([run_of(*items)]), **options)


def test_clear_effects_are_sentences_with_their_intervals():
    lines = text_of(*grid()).splitlines()
    assert lines[0] == "Energy per request of 12 rows in 1 run (0001_run), estimated by cpu: cpu-time"
    assert lines[2].startswith("prefill: 12 rows, 4 unknowns. All drivers explain 100.0 % of the variance")
    (tokens,) = [line for line in lines if line.startswith("  With twice the input tokens")]
    assert tokens.startswith("  With twice the input tokens a request costs 1.87 × [1.8")
    assert tokens.endswith("] the energy.")
    (precision,) = [line for line in lines if line.startswith("  With bf16")]
    assert "bf16 instead of fp32 a request costs 0.5 × [" in precision


def test_the_table_has_shares_that_add_up_and_ranks():
    lines = text_of(*grid()).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("driver"))
    table = list(itertools.takewhile(str.strip, lines[start + 2 :]))
    assert [line.split("  ")[0] for line in table] == ["input tokens", "model", "precision"]
    shares = [float(line.split("]")[1].split("%")[0]) for line in table]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert table[0].split()[-1].startswith("0.")


def test_what_cannot_be_estimated_is_named_with_the_reason():
    text = text_of(*grid(traits={"parameters": "1000", "entity_density": "0.25"}))
    (line,) = [line for line in text.splitlines() if "Not estimable" in line]
    assert "batch size (the same in every row)" in line
    assert "parameters (the same in every row)" in line
    assert "entity density (the same in every row)" in line
    assert "output tokens (no row has any)" in line
    assert "type-token ratio (not recorded)" in line


def test_drivers_that_move_together_are_named():
    items = [
        *(benchmark(tokens * factor, model, tokens=tokens, batch=tokens // 2)
          for tokens in (2, 4, 8, 16) for model, factor in (("a", 1), ("b", 1.5))),
    ]  # fmt: skip
    assert "batch size cannot be told apart from input tokens." in text_of(*items)


def test_an_effect_that_one_variant_carries_has_no_interval_and_says_so():
    lines = text_of(*grid(), benchmark(3.0, "huge"), benchmark(6.0, "huge", tokens=64)).splitlines()
    (line,) = [line for line in lines if "Without an interval" in line]
    assert line.startswith("  Without an interval, as it rests on the variant huge-fp32 alone: huge instead of small (")


def test_too_few_rows_are_said_in_place_of_a_fit():
    text = text_of(benchmark(1.0, "a"), benchmark(2.0, "b"))
    assert "prefill: not fitted, 2 rows are too few: the drivers that vary here need 5." in text


def test_pairs_say_what_they_rest_on():
    within = text_of(benchmark(1.0, "a"), benchmark(2.0, "b"))
    assert "Variants: 1 of 1 tested pair differ (Holm over all of them, 5 %" in within
    assert "Evidence rounds is over rounds within one launch: says nothing about another launch" in within
    assert "2 ×" in within
    assert "yes in this launch" in within
    runs = [run_of(benchmark(1.0, "a"), benchmark(level, "b"), number=n) for n, level in enumerate((2, 2.1, 2.05), 1)]
    across = analysis_text(analyses(runs))
    assert "Evidence launches is across launches" in across
    assert "3 launches" in across
    assert "in this launch" not in across


def test_neighbours_are_shown_unless_all_pairs_are_asked_for():
    items = [benchmark(1.5**index, name) for index, name in enumerate("abcd")]
    short, whole = text_of(*items), text_of(*items, all_pairs=True)
    assert "--all-pairs" in short
    assert "--all-pairs" not in whole
    assert sum(line.startswith("prefill  ") for line in short.splitlines()) == 3
    assert sum(line.startswith("prefill  ") for line in whole.splitlines()) == 6


def test_groups_that_were_measured_otherwise_say_how_they_differ():
    rapl = {"cpu": Domain("rapl", "measured", 1e-3, "package-0")}
    text = text_of(*grid(), *grid(domains=rapl))
    assert "analysed apart: meter cpu: cpu-time; source estimated; power model of cpu 4 W" in text
    assert "analysed apart: meter cpu: rapl; source measured; power model of cpu package-0" in text


def test_left_out_rows_are_counted():
    assert "Left out: 1 × its test failed." in text_of(*grid(), benchmark(1.0, outcome="failed"))


def test_json_is_strict_and_holds_everything():
    data = json.loads(analysis_json(analyses([run_of(*grid())])), parse_constant=pytest.fail)
    (found,) = data["analyses"]
    (section,) = found["sections"]
    terms = {term["name"]: term for term in section["fit"]["terms"]}
    assert math.exp(terms["large instead of small"]["estimate"]) == pytest.approx(4, rel=0.05)
    assert found["pairs"][0]["evidence"] == "tasks"
    assert len(found["pairs"]) == 6


def test_hostile_names_are_escaped():
    items = [benchmark(1.0 + index, f"\x1b[{index}m", group="\x1b[2J", phase="\x1b]0;") for index in range(8)]
    assert "\x1b" not in text_of(*items, all_pairs=True)
    assert "\x1b" not in length_tables(items)


# --- lengths -------------------------------------------------------------------------------------------------------


def test_lengths_are_a_table_for_each_group():
    items = [
        benchmark(2.0, tokens=64, batch=2, quality={"accuracy": 0.75}),
        benchmark(0.5, tokens=16, batch=1, quality={"accuracy": 0.8}),
        benchmark(3.0, tokens=16, out=8, group="generate"),
        benchmark(9.0, tokens=16, out=32, group="generate"),
        benchmark(9.0, tokens=16, group="single"),
    ]
    prefill, generate = length_tables(items).split("\n\ngenerate")
    lines = prefill.splitlines()
    assert lines[0] == "prefill against length"
    assert lines[4].split() == [
        "small-fp32",
        "1",
        "16",
        "–",
        "500",
        "mJ",
        "31.2",
        "mJ",
        "100",
        "ms",
        "160",
        "/s",
        "0.800",
    ]
    assert lines[5].split() == [
        "small-fp32",
        "2",
        "64",
        "–",
        "1.00",
        "J",
        "15.6",
        "mJ",
        "100",
        "ms",
        "1.28",
        "k/s",
        "0.750",
    ]
    assert "quality" not in generate
    assert generate.splitlines()[-1].split()[:6] == ["small-fp32", "1", "16", "32", "9.00", "J"]


def test_one_length_or_none_makes_no_table():
    assert length_tables([benchmark(1.0), benchmark(2.0, "large")]) == ""
    assert length_tables([benchmark(1.0, work=Work()), benchmark(1.0, tokens=8, outcome="failed")]) == ""


def test_lengths_as_markdown_escape_names():
    items = [benchmark(1.0, "a|b", tokens=tokens) for tokens in (16, 64)]
    assert "a\\|b-fp32" in length_tables(items, MARKDOWN)
