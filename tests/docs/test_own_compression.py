"""The example in docs/own_compression.md, run as it stands there."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from energyaware.models.tokenizer import train_tokenizer

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "own_compression.md").read_text(encoding="utf-8")
LABELS = ("fiber", "power")


@pytest.fixture
def model(tmp_path):
    """A GPT-2 with random weights, saved as anybody's model would be."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    folder = tmp_path / "small"
    tokenizer = train_tokenizer(["link down at site alder cause: fiber", "no mains at site birch cause: power"], LABELS)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=64, n_layer=2, n_head=4)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path):
    """Sixty labelled tickets."""
    path = tmp_path / "tickets.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["body", "cause"])
        for index in range(60):
            writer.writerow([f"ticket {index} link down at site alder", LABELS[index % 3 == 0]])
    return f"--energy-data={path}:text=body,label=cause"


def test_it_is_measured_beside_what_is_built_in(tmp_path, model, data):
    (source,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    (command,) = re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert command.startswith("PYTHONPATH=. pytest ")
    (tmp_path / "lowrank.py").write_text(source)
    typed = shlex.split(command.removeprefix("PYTHONPATH=. pytest "))
    more = [f"--energy-models={model}", data, "--energy-rounds=2", f"--benchmark-storage={tmp_path / 'runs'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *typed, *more],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1", "ENERGYAWARE_CACHE": str(tmp_path / "c")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (stored,) = (tmp_path / "runs").glob("*/*.json")
    rows = {bench["energy"]["variant"]["precision"] + "-" + bench["energy"]["variant"]["pruning"]: bench["energy"]
            for bench in json.loads(stored.read_text())["benchmarks"]}  # fmt: skip
    assert set(rows) == {"fp32-dense", "fp32-lowrank", "nf4-lowrank"}
    assert rows["fp32-lowrank"]["work"]["flops"] < rows["fp32-dense"]["work"]["flops"]
    assert "a quarter of the rank" in rows["fp32-lowrank"]["notes"]
    assert rows["nf4-lowrank"]["features"]["label flip rate"] > 0
