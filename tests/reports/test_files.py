import csv
import io

import pytest

from energyaware.baselines.gate import Judgement
from energyaware.errors import CacheError
from energyaware.records import Run, Totals, Variant, Work
from energyaware.reports.columns import COLUMNS
from energyaware.reports.files import CSV_COLUMNS, csv_text, markdown, write

HOSTILE = "<script>|x\x1b[2J\n## no heading `code`"


ALWAYS = [column for column in COLUMNS if not column.optional]


def grams(energy_j):
    return energy_j * 1e-4


def run_of(*benchmarks, **changes):
    plain = {"machine": {"cpu": "Test CPU"}, "options": {}, "totals": Totals(9.0, "estimated"), "version": "0.1"}
    return Run(benchmarks, **(plain | changes))


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_markdown_holds_the_ranking_the_verdicts_and_the_provenance(bench, ranking_of):
    items = [bench("a", 1.0, 0.8), bench("b", 2.0, 0.9), bench("c", count=0, discarded={"cpu: zero": 3})]
    judgement = Judgement(
        "t::a", "a", "energy", "energy:5%", "inconclusive", 0.1, 0.0, 0.2, 0.1, 1.0, 1.1, "17 sessions"
    )
    text = markdown(
        run_of(*items, commit="abc", dirty=True), [ranking_of(*items)], [judgement], grams, "0001_main.json"
    )
    for column in ALWAYS:
        assert column.title in text
    for said in (
        "## Ranking\n", "## Verdicts", "Baseline: 0001_main.json", "- a: 17 sessions", "## Run",
        "this run spent 9.00 J", "- cpu: Test CPU", "- energyaware: 0.1", "- commit: abc (dirty tree)",
        "- c: no valid reading: 3 × cpu: zero",
    ):  # fmt: skip
        assert said in text
    assert text.endswith("\n")
    assert "## Verdicts" not in markdown(run_of(*items), [ranking_of(*items)], [], grams)


def test_hostile_names_break_out_of_nothing(bench, ranking_of):
    item = bench(
        HOSTILE, group=HOSTILE, task=HOSTILE, notes=(HOSTILE,), outcome="failed", error=HOSTILE, candle=HOSTILE
    )
    judgement = Judgement(HOSTILE, HOSTILE, "energy", "energy:5%", "incomparable", reason=HOSTILE)
    run = run_of(
        item, machine={HOSTILE: HOSTILE}, version=HOSTILE, commit=HOSTILE,
        totals=Totals(9.0, "estimated", intensity_g_per_kwh=1.0, intensity_source=HOSTILE),
    )  # fmt: skip
    text = markdown(run, [ranking_of(item)], [judgement], grams, HOSTILE)
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "`" not in text
    assert [line for line in text.splitlines() if line.startswith("## no")] == []
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == 4
    # Each table line has the bars of its header.
    bars = [
        line.replace("\\\\", "").replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")
    ]
    assert bars == [len(ALWAYS) + 1] * 3 + [8] * 3


def test_csv_has_a_line_per_benchmark_with_every_column(bench, ranking_of):
    first = bench(
        "a", 2.0, 0.8, variant=Variant("org/m", "bf16", "2of4"), peak_memory_bytes=10, discarded={"cpu: zero": 2},
        work=Work(flops=1000, weight_bytes=50, tokens_in=3, tokens_out=4, requests=2), group="g",
        trivial_quality={"accuracy": 0.25},
    )  # fmt: skip
    line, other = table(csv_text([ranking_of(first, bench("b", 9.0, 0.7, group="g"))], grams))
    assert tuple(line) == CSV_COLUMNS
    expected = {
        "group": "g", "row": "org--m-bf16-2of4", "model": "org/m", "precision": "bf16", "pruning": "2of4",
        "task": "rca", "phase": "inference", "rank": "1", "source": "estimated", "meters": "cpu: cpu-time",
        "quality_name": "accuracy", "quality": "0.8", "trivial_quality": "0.25", "pareto": "True",
        "rounds": "6", "discarded": "2", "requests": "2", "tokens_in": "3",
        "tokens_out": "4", "flops": "1000", "weight_bytes": "50", "peak_memory_bytes": "10", "candle": "matmul/1",
        "layout": "redrawn every round", "remark": "",
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected
    assert float(line["energy_per_request_j"]) == pytest.approx(1.0, rel=0.01)
    assert float(line["energy_per_token_j"]) == pytest.approx(2 / 7, rel=0.01)
    assert float(line["carbon_per_request_g"]) == pytest.approx(1e-4, rel=0.01)
    assert float(line["latency_s"]) == pytest.approx(0.1)
    assert float(line["r_low"]) <= float(line["r"]) <= float(line["r_high"])
    assert (other["model"], other["rank"]) == ("", "2")


def test_what_is_absent_is_an_empty_cell_and_never_a_zero(bench, ranking_of):
    (line,) = table(csv_text([ranking_of(bench("a", quality=None, count=0, domains={}))], grams))
    empty = {
        "rank", "energy_per_request_j", "energy_relative_half_width_95", "energy_per_token_j", "source", "latency_s",
        "quality", "trivial_quality", "carbon_per_request_g", "phi", "rho", "r", "r_low", "r_high", "first_probability",
        "requests", "tokens_in", "tokens_out", "flops", "weight_bytes", "peak_memory_bytes",
    }  # fmt: skip
    assert {name for name in empty if line[name] != ""} == set()
    # Counts of what happened are no measurements: they are zero.
    assert (line["rounds"], line["discarded"]) == ("0", "0")
    assert line["remark"] == "no valid reading: no round"


@pytest.mark.parametrize("name", [HOSTILE, "a,b\r\nc", 'say "hi"', "\udc80", "\0"])
def test_csv_survives_every_name_and_can_be_written(bench, ranking_of, tmp_path, name):
    text = csv_text([ranking_of(bench(name), bench("b"))], grams)
    assert len(table(text)) == 2
    (path,) = write(tmp_path, {"energy.csv": text})
    assert path.read_text(encoding="utf-8") == text


def test_files_are_written_whole_and_replace_old_ones(tmp_path):
    (tmp_path / "energy.md").write_text("old")
    paths = write(tmp_path, {"energy.md": "new φ", "energy.csv": "a,b\n"})
    assert paths == (tmp_path / "energy.md", tmp_path / "energy.csv")
    assert [path.read_text(encoding="utf-8") for path in paths] == ["new φ", "a,b\n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["energy.csv", "energy.md"]


@pytest.mark.parametrize("folder", ["taken", "taken/below", "absent"])
def test_a_folder_that_cannot_be_written_is_named_with_a_remedy(tmp_path, folder):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CacheError, match="cannot be written") as caught:
        write(tmp_path / folder, {"energy.md": "text"})
    assert str(tmp_path / folder) in caught.value.cause
    assert "--energy-report" in caught.value.remedy


def test_a_file_that_cannot_be_replaced_leaves_no_draft(tmp_path):
    (tmp_path / "energy.csv").mkdir()
    with pytest.raises(CacheError, match="cannot be written"):
        write(tmp_path, {"energy.md": "text", "energy.csv": "text"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["energy.csv", "energy.md"]
