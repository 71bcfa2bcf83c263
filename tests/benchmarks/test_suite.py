"""The suite itself, end to end, on a small random model from a local directory."""

import csv
import json
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from energyaware.models.tokenizer import train_tokenizer

LABELS = ("fiber", "power")
VARIANTS = ("fp32", "bf16", "fp16", "int8", "nf4", "fp32-magnitude-50", "fp32-2of4", "fp32-depth-50", "bf16-2of4")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A GPT-2 of hidden size 64 with random weights, saved as anybody's model would be."""
    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = train_tokenizer(["link down at site alder cause: fiber", "no mains at site birch cause: power"], LABELS)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=64, n_layer=2, n_head=4)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_nine_variants_give_nine_rows_with_energy_latency_and_accuracy(run_suite, tmp_path, model, data):
    done = run_suite("benchmarks", "--energy", "--energy-rounds=2", f"--energy-models={model}", data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "energy ranking" in done.stdout
    (stored,) = (tmp_path / "runs").glob("*/*.json")
    run = json.loads(stored.read_text())
    by_variant = {bench["name"]: bench["energy"] for bench in run["benchmarks"]}
    assert set(by_variant) == {f"test_rca[small-{name}]" for name in VARIANTS}
    for energy in by_variant.values():
        assert len(energy["rounds"]) == 2
        assert energy["candle"] == "matmul/1"
        assert energy["layout"] == "redrawn every round"
        assert 0 <= energy["quality"]["accuracy"] <= 1
        assert len(energy["scores"]["accuracy"]) == len(energy["example_ids"]) > 0
        assert {"dataset", "weights", "benchmark source"} <= set(energy["fingerprints"])
        assert energy["work"]["flops"] > 0
    flops = {name: by_variant[f"test_rca[small-{name}]"]["work"]["flops"] for name in VARIANTS}
    assert flops["fp32"] == flops["nf4"] == flops["bf16-2of4"] > flops["fp32-depth-50"]
    with (tmp_path / "out" / "energy.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 9
    assert all(float(row["energy_per_request_j"]) > 0 and float(row["latency_s"]) > 0 for row in rows)
    assert {row["source"] for row in rows} == {"estimated"}


def test_without_energy_the_suite_is_a_valid_test(run_suite, tmp_path, model, data):
    done = run_suite("benchmarks", f"--energy-models={model}", data, "-k", "fp32-depth")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


def test_the_quick_suite_leaves_lengths_and_written_answers_out_and_says_why(run_suite, tmp_path, data):
    files = ("benchmarks/test_sequence_length.py", "benchmarks/test_tasks.py")
    done = run_suite(*files, "--energy", "--energy-models=tiny-gpt2", data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lengths are swept by --energy-suite=full" in done.stdout
    assert "written answers are metered by --energy-suite=full" in done.stdout
    assert "5 skipped" in done.stdout
    assert not list((tmp_path / "runs").rglob("*.json"))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))  # no model was made for it


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--energy-models=mini-gtp2"], "unknown model 'mini-gtp2'"),
        (["--energy-compressions=fp32,bf61"], "unknown precision 'bf61'"),
        (["--energy-compressions=fp32-depth"], "unknown pruning 'depth'"),
        (["--energy-data=nowhere.csv"], "nowhere.csv"),
        (["--energy-data={data}:text=bdy"], "bdy"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(run_suite, tickets, arguments, expected):
    done = run_suite("benchmarks", "--energy", *(argument.format(data=tickets) for argument in arguments))
    assert done.returncode == 4
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_cache_that_cannot_be_written_is_said_before_anything_runs(run_suite, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    done = run_suite("benchmarks", "--energy")
    assert done.returncode == 4
    assert "ERROR: the cache folder" in done.stderr
