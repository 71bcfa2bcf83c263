"""The benchmark of fine-tuning: what it meters without a model, and end to end on a small model from a folder."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.test_finetuning import Epochs, nothing
from energyaware.data.source import load_dataset
from energyaware.examples import Dataset, Example
from energyaware.models.tokenizer import train_tokenizer
from energyaware.pytest_plugin.unmeasured import Unmeasured
from energyaware.tasks.rca import Rca
from energyaware.tasks.trivial import trivial_accuracy
from energyaware.training.loop import train
from energyaware.training.settings import TrainSettings
from energyaware.variants.embedded import encode_for_training

ROOT = Path(__file__).parents[2]
LABELS = ("fiber", "power")
POSITIONS = 64
TICKETS = [
    Example(
        f"t{n}",
        # Every fifth ticket does not fit the model; what names its cause stands at its end.
        "at site " * (0 if n % 5 else POSITIONS)
        + f"{'los' if n % 2 else 'volt'} at site {'alder' if n % 3 else 'birch'} {n}",
        LABELS[n % 2],
    )
    for n in range(120)
]


class Recorded:
    """A fine-tuning that writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.curve: list[int] = []
        self.epochs_done = 0

    def warm_up(self) -> None:
        self.asked.append("warm-up")

    def train_epoch(self) -> None:
        self.asked.append("epoch")
        self.epochs_done += 1

    def validate(self) -> None:
        self.asked.append("validation")
        self.curve.append(self.epochs_done)


@pytest.fixture
def tuning() -> Recorded:
    return Recorded()


def test_the_first_call_warms_up_and_each_other_one_is_an_epoch_that_is_validated_once(tuning):
    epochs = Epochs(tuning)
    for _ in range(3):
        epochs()
        epochs.score()
    epochs.score()
    assert tuning.asked == ["warm-up", "epoch", "validation", "epoch", "validation"]


def test_a_run_that_does_not_measure_trains_nothing(tuning):
    epochs = Epochs(tuning)
    Unmeasured().pedantic(epochs, setup=nothing, teardown=epochs.score, rounds=4, layout="not redrawn")
    assert tuning.asked == ["warm-up"]


def test_the_trivial_reader_names_the_most_frequent_cause_of_the_training_split():
    examples = tuple(Example(str(n), "text", label) for n, label in enumerate("aab"))
    dataset = Dataset("x", "0" * 64, ("a", "b"), examples, (), ())
    assert trivial_accuracy(dataset, examples) == {"accuracy": pytest.approx(2 / 3)}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A GPT-2 of hidden size 64 that knows the tickets well enough to be ranked."""
    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = train_tokenizer([f"{ticket.text} cause: {ticket.label}" for ticket in TICKETS], LABELS)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=POSITIONS, n_embd=64, n_layer=2, n_head=1,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    network = GPT2LMHeadModel(config)
    examples = encode_for_training(Rca(LABELS), tokenizer, TICKETS, POSITIONS)
    train(network, examples, TrainSettings(epochs=6, batch_size=16), tmp_path_factory.mktemp("training"))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tickets.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["body", "cause"])
        writer.writerows([ticket.text, ticket.label] for ticket in TICKETS)
    return path


def test_the_best_setting_goes_on_to_inference_and_is_pruned(tmp_path, model, data):
    command = [
        *(sys.executable, "-m", "pytest", "benchmarks/test_finetuning.py", "-p", "no:cacheprovider", "-rs"),
        *("--energy", "--energy-suite=full", "--energy-rounds=2", "--energy-top=1", "--energy-requests=1000"),
        *(f"--energy-models={model}", f"--energy-data={data}:text=body,label=cause"),
        *(f"--energy-report={tmp_path / 'out'}", f"--benchmark-storage={tmp_path / 'runs'}"),
        *("-k", "(full-fp32 or lora-nf4) and not (magnitude or wanda or sparsegpt or width or depth)"),
    ]
    environment = {**os.environ, "ENERGYAWARE_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed, 2 skipped" in done.stdout
    assert "of 2 in 'finetune': not among the 1 best by R" in " ".join(done.stdout.split())
    (stored,) = (tmp_path / "runs").glob("*/*.json")
    rows = {bench["name"]: bench["energy"] for bench in json.loads(stored.read_text())["benchmarks"]}
    for method in ("full-fp32", "lora-nf4"):
        tuned = rows[f"test_finetuning[small-{method}]"]
        assert tuned["phase"] == "finetune"
        assert len(tuned["rounds"]) == len(tuned["samples"]["validation_loss"]) == 4
        assert tuned["quality"]["accuracy"] > tuned["trivial_quality"]["accuracy"]
        dataset = load_dataset(f"{data}:text=body,label=cause")
        cut = [sum(len(e.text) > 8 * POSITIONS for e in part) for part in (dataset.train, dataset.validation)]
        assert min(cut) > 0
        assert f"{cut[0]} of {len(dataset.train)} training examples cut to 64 tokens" in " ".join(tuned["notes"])
        prompts = (
            f"{cut[1]} of {len(dataset.validation)} prompts cut at their beginning to fit the model's 64 positions"
        )
        assert prompts in tuned["notes"]
    full, lora = (rows[f"test_finetuning[small-{method}]"]["features"] for method in ("full-fp32", "lora-nf4"))
    assert full["trainable parameters"] == full["parameters"] == lora["parameters"]
    assert 0 < lora["trainable parameters"] < full["trainable parameters"]
    answered = [name for name in rows if name.startswith("test_finetuned_inference")]
    assert len(answered) == 2
    assert sum("2of4" in name for name in answered) == 1
    cut = sum(len(e.text) > 8 * POSITIONS for e in dataset.test)
    for name in answered:
        notes = " ".join(rows[name]["notes"])
        assert f"{cut} of {len(dataset.test)} prompts cut at their beginning" in notes
        assert "training examples cut to 64 tokens" in notes
    report = (tmp_path / "out" / "energy.md").read_text()
    for title in ("Fine-tuning", "Fine-tuning and 1,000 requests", "Pruned in the second stage", "Do the papers'"):
        assert f"## {title}" in report
    assert (tmp_path / "cache" / "models").is_dir()
