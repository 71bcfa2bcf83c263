"""The console script."""

import json

import pytest

from energyaware.baselines.codec import to_json
from energyaware.cli import main
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Totals, Variant, Work


def benchmark(precision: str, energy_j: float, accuracy: float) -> Benchmark:
    variant = Variant("mini-gpt2", precision)
    rounds = tuple(Round(1, 0.1, Reading({"cpu": energy_j * (1 + 0.001 * index)}, 0.1)) for index in range(6))
    return Benchmark(
        fullname=f"test_rca[{variant.id}]", name=f"test_rca[{variant.id}]", group="inference", task="rca",
        phase="inference", candle="", layout="", domains={"cpu": Domain("cpu-time", "estimated", 1e-6)}, rounds=rounds,
        variant=variant, quality={"accuracy": accuracy}, work=Work(requests=1, tokens_in=10),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "0001_main.json"
    benchmarks = [benchmark("fp32", 2.0, 0.9), benchmark("bf16", 1.0, 0.8)]
    data = {
        "benchmarks": [{"fullname": item.fullname, "energy": to_json(item)} for item in benchmarks],
        "energyaware": {
            "schema_version": SCHEMA_VERSION,
            "version": "0.1.0",
            "machine": {},
            "options": {"weight": 0.0},
            "totals": to_json(Totals()),
        },
    }
    path.write_text(json.dumps(data))
    return path


def order(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if "mini-gpt2" in line and line[0].isdigit()]


def test_rank_uses_the_weight_of_the_run(run, capsys):
    assert main(["rank", str(run)]) == 0
    assert order(capsys.readouterr().out) == ["mini-gpt2-fp32", "mini-gpt2-bf16"]


def test_rank_takes_another_weight_and_order(run, capsys):
    assert main(["rank", str(run), "--weight=1"]) == 0
    assert order(capsys.readouterr().out) == ["mini-gpt2-bf16", "mini-gpt2-fp32"]
    assert main(["rank", str(run), "--weight=1", "--sort=accuracy"]) == 0
    assert order(capsys.readouterr().out) == ["mini-gpt2-fp32", "mini-gpt2-bf16"]


def test_a_run_without_carbon_shows_none(run, capsys):
    main(["rank", str(run)])
    assert "0 g" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rank", "nowhere.json"], "cannot be read"),
        (["rank", "{run}", "--weight=7"], "outside [0, 1]"),
        (["rank", "{run}", "--weight=nan"], "outside [0, 1]"),
    ],
)
def test_mistakes_are_one_line_and_status_2(run, capsys, arguments, expected):
    assert main([argument.format(run=run) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("energyaware: ")
    assert expected in error
    assert error.count("\n") == 1


def test_models_lists_the_catalogue_and_what_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ENERGYAWARE_CACHE", str(tmp_path))
    done = tmp_path / "models" / "mini-gpt2-0123456789abcdef"
    done.mkdir(parents=True)
    (done / "config.json").write_text("{}")
    assert main(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "trained ×1" in lines["mini-gpt2"]
    assert "trained on first use" in lines["mini-mistral"]
    assert "refs/pr/40" in lines["gpt-j-6b"]


@pytest.mark.parametrize("width", [80, 120])
def test_ranking_and_notes_are_as_wide_as_the_terminal(run, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["rank", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert width - 25 < max(map(len, lines)) <= width
