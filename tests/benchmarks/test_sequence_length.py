"""The sweep of lengths: what it asks, and a part of it end to end on a small random model."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.test_sequence_length import (
    BATCH_SIZES,
    CONTEXT_TOKENS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    PRECISIONS,
    evenly,
    in_context,
)
from energyaware.examples import Example
from energyaware.models.tokenizer import pieces, train_tokenizer
from energyaware.tasks.rca import Rca

SUITE = "benchmarks/test_sequence_length.py"
LABELS = ("fiber", "power")
TEXTS = ["link down at site alder", "no mains at site birch since last night", "board alarm , then link down"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f"{text} cause: fiber" for text in TEXTS], LABELS)


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer) -> Path:
    """A GPT-2 with 64 positions and random weights."""
    folder = tmp_path_factory.mktemp("models") / "small"
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=64, n_layer=2, n_head=4)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_full_suite_has_the_whole_grid(run_suite, model, data):
    done = run_suite(SUITE, "--energy", "--energy-suite=full", "--collect-only", "-q", f"--energy-models={model}", data)
    names = [line.split("::")[1] for line in done.stdout.splitlines() if "::" in line]
    i, o, b, c, variants = map(len, (INPUT_TOKENS, OUTPUT_TOKENS, BATCH_SIZES, CONTEXT_TOKENS, PRECISIONS))
    assert len(names) == variants * (i * b + 2 * i * o * b + c)
    # All lengths of one variant come together.
    order = [name.rsplit("small-", 1)[1] for name in names]
    assert sum(one != other for one, other in pairwise(order)) == variants - 1


def test_every_kind_of_row_has_energy_latency_and_its_lengths(run_suite, tmp_path, model, data):
    chosen = "small-fp32 and batch1 and (in32 or in384) and not (out32 or out96) or context32 and small-fp32"
    done = run_suite(
        SUITE, "--energy", "--energy-suite=full", "--energy-rounds=2", "--benchmark-autosave", "-k", chosen,
        f"--energy-models={model}", data,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "small has 64 positions, this length needs 392" in done.stdout
    (stored,) = (tmp_path / "runs").glob("*/*.json")
    rows = {item["name"].split("[")[0]: item["energy"] for item in json.loads(stored.read_text())["benchmarks"]}
    assert set(rows) == {"test_prefill", "test_decode", "test_generate", "test_rca_in_context"}
    assert all(len(row["rounds"]) == 2 and row["work"]["flops"] > 0 for row in rows.values())
    prefill, decode, generate = (rows[f"test_{name}"] for name in ("prefill", "decode", "generate"))
    rca = rows["test_rca_in_context"]
    assert (prefill["phase"], prefill["work"]["tokens_in"], prefill["work"]["tokens_out"]) == ("prefill", 32, None)
    assert (decode["phase"], decode["work"]["tokens_in"], decode["work"]["tokens_out"]) == ("decode", None, 7)
    assert (generate["work"]["tokens_in"], generate["work"]["tokens_out"]) == (32, 8)
    assert {"prefill", "decode"} == set(generate["rounds"][0]["windows"])
    assert decode["traits"].items() >= {"input tokens": "32", "output tokens": "8", "batch size": "1"}.items()
    assert 0 <= rca["quality"]["accuracy"] <= 1
    assert len(rca["scores"]["accuracy"]) == len(rca["example_ids"]) > 0
    requests = rca["work"]["requests"]
    assert 26 * requests < rca["work"]["tokens_in"] <= 32 * requests
    assert rca["traits"]["input tokens"] == "32"


@settings(max_examples=30, deadline=None)
@given(st.integers(30, 120), st.integers(0, 2))
def test_a_ticket_stands_at_the_end_of_a_context_of_so_many_tokens(tokenizer, tokens, first):
    task, example = Rca(LABELS), Example("1", "no mains at site birch", "power")
    found = in_context(tokenizer, task, example, (TEXTS[first:] + TEXTS[:first]) * 20, tokens)
    length = len(tokenizer(task.prompt(found))["input_ids"])
    most = max(len(pieces(tokenizer, f" {word}")) for text in TEXTS for word in text.split())
    assert tokens - most < length <= tokens
    assert found.text.endswith("no mains at site birch")
    assert (found.id, found.label) == (example.id, example.label)


def test_a_ticket_longer_than_the_length_has_no_context(tokenizer):
    assert in_context(tokenizer, Rca(LABELS), Example("1", "no mains at site birch", "power"), TEXTS, 4) is None


def test_texts_that_end_early_make_a_short_context(tokenizer):
    found = in_context(tokenizer, Rca(LABELS), Example("1", "no mains", "power"), ["link down"], 500)
    assert found.text == "link down no mains"


@pytest.mark.parametrize(("count", "most", "expected"), [(10, 5, 5), (11, 5, 4), (3, 5, 3), (0, 5, 0)])
def test_examples_are_spread_over_all(count, most, expected):
    examples = [Example(str(index), "t", "a") for index in range(count)]
    found = evenly(examples, most)
    assert len(found) == expected
    assert len({item.id for item in found}) == len(found)
