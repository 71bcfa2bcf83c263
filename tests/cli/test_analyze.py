"""`energyaware analyze` on stored runs."""

import importlib.util
import json
import math
import subprocess
import sys

import pytest

from energyaware.baselines.codec import to_json
from energyaware.cli import main
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Totals, Variant, Work

CPU = {"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W")}


def benchmark(model: str, tokens: int) -> Benchmark:
    energy_j = 0.01 * tokens**0.9 * (4.0 if model == "large" else 1.0)
    return Benchmark(
        fullname=f"t.py::{model}{tokens}", name=f"{model}{tokens}", group="prefill", task=f"in {tokens}",
        phase="prefill", candle="", layout="", domains=CPU, variant=Variant(model),
        rounds=tuple(Round(1, 0.1, Reading({"cpu": energy_j * share}, 0.1)) for share in (0.99, 1.01, 1.0)),
        work=Work(requests=1, tokens_in=tokens),
    )  # fmt: skip


def stored(folder, number=1, lengths=(16, 32, 64, 128)):
    path = folder / f"{number:04}_run.json"
    items = [benchmark(model, tokens) for model in ("small", "large") for tokens in lengths]
    data = {
        "benchmarks": [{"fullname": item.fullname, "energy": to_json(item)} for item in items],
        "energyaware": {
            "schema_version": SCHEMA_VERSION, "version": "0", "machine": {"cpu": "Test"}, "options": {},
            "totals": to_json(Totals()),
        },
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


def test_a_run_is_analysed(tmp_path, capsys):
    assert main(["analyze", str(stored(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert "With twice the input tokens a request costs 1.87 ×" in out
    assert "large-fp32" in out
    assert "prefill against length" in out


def test_several_runs_are_launches(tmp_path, capsys):
    assert main(["analyze", "--all-pairs", str(stored(tmp_path, 1)), str(stored(tmp_path, 2))]) == 0
    out = capsys.readouterr().out
    assert "16 rows in 2 runs (0001_run, 0002_run)" in out
    assert "2 launches" in out


def test_json_is_for_programs(tmp_path, capsys):
    assert main(["analyze", "--json", str(stored(tmp_path))]) == 0
    (found,) = json.loads(capsys.readouterr().out)["analyses"]
    terms = {term["name"]: term["estimate"] for term in found["sections"][0]["fit"]["terms"]}
    assert terms["twice the input tokens"] == pytest.approx(0.9 * math.log(2))


def test_a_copy_is_no_further_evidence(tmp_path, capsys):
    path = stored(tmp_path)
    assert main(["analyze", str(path), str(tmp_path / "." / path.name)]) == 2
    assert "given twice" in capsys.readouterr().err


def test_too_few_rows_are_an_error_that_says_how_many_are_needed(tmp_path, capsys):
    assert main(["analyze", str(stored(tmp_path, lengths=(16,)))]) == 2
    captured = capsys.readouterr()
    assert "no regression could be fitted: 2 rows are too few: the drivers that vary here need 5" in captured.err
    assert "--energy-suite=full" in captured.err
    assert "large-fp32" in captured.out  # what can be said is said


def test_a_run_without_a_reading_is_an_error(tmp_path, capsys):
    assert main(["analyze", str(stored(tmp_path, lengths=()))]) == 2
    assert "no benchmark of these runs has a valid reading" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_files_that_are_no_run_are_named(tmp_path, capsys, content):
    path = tmp_path / "0001_run.json"
    if content is not None:
        path.write_text(content)
    assert main(["analyze", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_without_statsmodels_the_remedy_is_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["analyze", str(stored(tmp_path))]) == 2
    assert "pip install 'energyaware[analyze]'" in capsys.readouterr().err


def test_other_commands_load_neither_statsmodels_nor_scipy():
    code = (
        "import sys; from energyaware.cli import _parser; _parser(); print({'statsmodels', 'scipy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_nothing_is_wider_than_it(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["analyze", "--all-pairs", str(stored(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    for title in ("driver", "against", "tokens in"):
        assert title in out
