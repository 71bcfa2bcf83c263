"""The benchmarks of written answers, end to end, on a small random model from a local directory."""

import json
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from energyaware.models.tokenizer import train_tokenizer

TASKS = ("response", "generation", "qa", "summarization")
METRICS = {"response": "rouge_l", "generation": "bpb_score", "qa": "token_f1", "summarization": "rouge_l"}

# A small draw of the data in place of the whole.
FEW_EXAMPLES = """
import energyaware.data.network_tasks as source

whole = source.network_tasks
source.network_tasks = lambda seed=0: whole(seed, train=40, validation=4, test=20)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = train_tokenizer(["noc: alarm at alder los response: red crew cleaned the filter at alder"] * 3)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=256, n_embd=64, n_layer=2, n_head=4)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_each_task_gives_a_row_with_energy_and_quality_per_example(run_suite, tmp_path, model, data):
    chosen = " or ".join(f"small-fp32-{task}" for task in TASKS)
    done = run_suite(
        "benchmarks/test_tasks.py", "--energy", "--energy-suite=full", "--energy-rounds=2",
        f"--energy-models={model}", data, "-k", chosen, plugins={"few_examples": FEW_EXAMPLES},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (stored,) = (tmp_path / "runs").glob("*/*.json")
    rows = {bench["energy"]["task"]: bench["energy"] for bench in json.loads(stored.read_text())["benchmarks"]}
    assert set(rows) == set(TASKS)
    for task, row in rows.items():
        metric = METRICS[task]
        assert next(iter(row["quality"])) == next(iter(row["trivial_quality"])) == metric
        assert len(row["scores"][metric]) == len(row["example_ids"]) == 20
        assert 0 <= row["quality"][metric] <= 1
        assert len(row["rounds"]) == 2
        assert row["candle"].startswith("small-ops/")
        work = row["work"]
        assert work["requests"] == 16
        assert work["requests"] <= work["tokens_out"] <= work["requests"] * 40
        assert work["tokens_in"] > work["requests"]
        assert work["flops"] > 0


def exam(folder: Path) -> str:
    """The option that has the suite read forty questions of three options, of which the second is right."""
    path = folder / "exam.jsonl"
    questions = [
        {"q": f"which alarm is at alder {i}", "x": f"los {i}", "y": f"temp {i}", "z": "none"} for i in range(40)
    ]
    path.write_text("".join(json.dumps(one | {"right": "y"}) + "\n" for one in questions))
    return f"--energy-data={path}:task=choice,question=q,options=x|y|z,answer=right"


def test_data_for_another_task_are_metered_in_the_quick_suite_too(run_suite, tmp_path, model):
    files = ("benchmarks/test_inference.py", "benchmarks/test_tasks.py")
    done = run_suite(
        *files, "--energy", "--energy-rounds=2", f"--energy-models={model}", "--energy-compressions=fp32,nf4",
        exam(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exam.jsonl is for choice, which benchmarks/test_tasks.py meters" in done.stdout
    assert "exam.jsonl (choice): 40 rows" in done.stdout
    (stored,) = (tmp_path / "runs").glob("*/*.json")
    rows = {bench["name"]: bench["energy"] for bench in json.loads(stored.read_text())["benchmarks"]}
    assert set(rows) == {"test_task[small-fp32-choice]", "test_task[small-nf4-choice]"}
    for row in rows.values():
        assert row["task"] == "choice"
        assert next(iter(row["quality"])) == "accuracy"
        assert row["trivial_quality"]["accuracy"] == 1.0  # the right option always stands in the same place
        assert len(row["scores"]["accuracy"]) == 8
        assert row["work"]["requests"] == 8


def test_the_full_suite_adds_the_tasks_of_the_network(run_suite, tmp_path, model):
    done = run_suite(
        "benchmarks/test_tasks.py", "--collect-only", "-q", "--energy-suite=full", f"--energy-models={model}",
        "--energy-compressions=fp32,fp32-depth-50-recovered", exam(tmp_path),
    )  # fmt: skip
    found = [line.partition("[")[2].rstrip("]") for line in done.stdout.splitlines() if "[" in line]
    assert found == [
        *(f"small-fp32-{task}" for task in ("choice", *TASKS)),
        "small-fp32-depth-50-recovered-choice",
    ]
