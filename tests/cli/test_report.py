"""`energyaware report` on stored runs."""

import importlib.util
import json

import pytest

from energyaware.baselines.codec import to_json
from energyaware.cli import main
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Totals, Variant, Work


def store(folder, number=1, energies=(2.0, 1.0)):
    path = folder / f"{number:04}_run.json"
    items = [
        Benchmark(
            fullname=f"t.py::{precision}", name=precision, group="inference", task="rca", phase="inference", candle="",
            layout="", domains={"cpu": Domain("cpu-time", "estimated", 1e-6)}, variant=Variant("m", precision),
            rounds=tuple(Round(1, 0.1, Reading({"cpu": energy_j * share}, 0.1)) for share in (0.99, 1.01, 1.0)),
            quality={"accuracy": 0.9}, work=Work(requests=1, tokens_in=10),
        )
        for precision, energy_j in zip(("fp32", "bf16"), energies, strict=False)
    ]  # fmt: skip
    own = {"schema_version": SCHEMA_VERSION, "version": "0", "machine": {}, "options": {"weight": 0.5}}
    data = {
        "benchmarks": [{"fullname": item.fullname, "energy": to_json(item)} for item in items],
        "datetime": f"2026-01-{number:02}T00:00:00", "energyaware": {**own, "totals": to_json(Totals())},
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_html_markdown_and_csv_without_a_kind(tmp_path, capsys):
    pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")
    out = tmp_path / "out"
    assert main(["report", str(store(tmp_path)), f"--output={out}"]) == 0
    assert names(out) == ["benchmarks.csv", "energy.html", "energy.md", "rounds.csv"]
    assert str(out / "energy.html") in capsys.readouterr().out
    assert "Deploy m-bf16" in (out / "energy.html").read_text(encoding="utf-8")


def test_several_runs_the_newest_is_shown_whatever_the_order(tmp_path):
    out = tmp_path / "out"
    newest, oldest = store(tmp_path, 2, (1.0, 2.0)), store(tmp_path, 1)
    assert main(["report", str(newest), str(oldest), "--csv", "--markdown", f"--output={out}"]) == 0
    assert names(out) == ["benchmarks.csv", "energy.md", "rounds.csv"]
    rounds = (out / "rounds.csv").read_text().splitlines()
    assert len(rounds) == 1 + 2 * 2 * 3
    assert rounds[1].startswith("0001_run,")
    text = (out / "energy.md").read_text()
    assert text.index("m-fp32") < text.index("m-bf16")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{run}", "{run}"], "given twice"),
        (["{run}", "--weight=2"], "outside [0, 1]"),
        (["{run}", "--requests=0"], "no whole number from 1"),
        (["nowhere.json"], "cannot be read"),
        (["{empty}"], "holds no benchmark"),
    ],
)
def test_mistakes_are_one_line_and_status_2(tmp_path, capsys, arguments, expected):
    places = {"run": store(tmp_path), "empty": store(tmp_path, 9, ())}
    given = [argument.format(**places) for argument in arguments]
    assert main(["report", "--csv", f"--output={tmp_path / 'out'}", *given]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["html", "figures"])
def test_a_missing_library_is_named_with_the_extra_before_anything_is_read(tmp_path, capsys, monkeypatch, kind):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["report", "nowhere.json", f"--{kind}"]) == 2
    assert "energyaware[report]" in capsys.readouterr().err
