"""What docs/finetuning.md says about settings and names is what the code does."""

from pathlib import Path

import pytest

from energyaware.ranking.tuning import BASE_TRAIT, EPOCHS_FEATURE, TRAINABLE
from energyaware.variants.tuned import QUANTIZED_LATER, SETTINGS, inference_grid

DOCUMENT = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")
TABLE = DOCUMENT.partition("## Settings")[2].partition("Adapters")[0]


@pytest.mark.parametrize(("method", "precision"), SETTINGS)
def test_every_setting_is_told(method, precision):
    assert any(f"`{method}`" in line and precision in line for line in TABLE.splitlines())


def test_names_that_are_told_exist():
    ids = {variant.id for variant in inference_grid(["mini-gpt2"])}
    told = {f"mini-gpt2-{method}-{precision}" for method, precision in (*QUANTIZED_LATER, ("lora", "nf4"))}
    assert told <= ids
    assert all(f"`{name}`" in DOCUMENT for name in told)


@pytest.mark.parametrize("name", [BASE_TRAIT, EPOCHS_FEATURE, TRAINABLE, "training_loss", "validation_loss"])
def test_what_is_stored_is_told(name):
    assert f"`{name}`" in DOCUMENT
