"""The example in docs/own_task.md, run as it stands there."""

import json
import re
import sys
from pathlib import Path

import pytest

from energyaware.models.tokenizer import train_tokenizer

DOCUMENT = Path(__file__).parents[2] / "docs" / "own_task.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A GPT-2 with random weights, saved as anybody's model would be."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = train_tokenizer(["alarm: los alder means: no signal at alder", "alarm: temp birch means: too hot"])
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def repository(pytester, monkeypatch, model):
    """A repository with the two blocks of code from the document."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MODEL", str(model))
    conftest, test = re.findall(
        r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_plain_words=test)
    return pytester


# Both runs in one process, since loading torch takes longer than either.
BOTH = "import pytest, sys; sys.exit(pytest.main([]) or pytest.main(['--energy', '--energy-rounds=2']))"


def test_it_is_a_valid_test_and_a_row_with_energy_quality_and_the_trivial_baseline(repository):
    result = repository.run(sys.executable, "-c", BOTH)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*= 1 passed in *", "*energy ranking*", "*= 1 passed in *"])
    (file,) = repository.path.glob(".benchmarks/*/*.json")
    (bench,) = json.loads(file.read_text())["benchmarks"]
    energy = bench["energy"]
    assert energy["task"] == "plain-words"
    assert list(energy["quality"]) == ["token_f1", "exact_match"]
    assert len(energy["scores"]["token_f1"]) == 2
    assert energy["example_ids"] == ["c", "d"]
    # "birch is too hot" for both: it shares one word of four with one reference and three with the other.
    assert energy["trivial_quality"]["token_f1"] == pytest.approx((1 / 4 + 3 / 4) / 2)
    assert energy["work"]["requests"] == 2
    assert 2 <= energy["work"]["tokens_out"] <= 2 * 16
