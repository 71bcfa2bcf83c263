"""What docs/compression.md says about names and numbers is what the code does."""

import re
from pathlib import Path

import pytest

from energyaware.variants.grid import PRECISIONS, full_grid, parse_pruning

DOCUMENT = (Path(__file__).parents[2] / "docs" / "compression.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_is_told(precision):
    assert f"`{precision}`" in DOCUMENT


def test_every_pruning_of_the_full_grid_is_told_by_its_method():
    for pruning in {variant.pruning for variant in full_grid(["m"])} - {"dense"}:
        method = parse_pruning(pruning).method
        assert method in DOCUMENT.lower()


def test_every_example_of_a_pruning_is_one():
    names = re.findall(r"^\| (`[^|]*`) \|", DOCUMENT.partition("## Pruning")[2].partition("Any whole")[0], re.MULTILINE)
    found = [name for cell in names for name in re.findall(r"`([^`]+)`", cell)]
    assert len(found) >= 9
    for name in found:
        assert parse_pruning(name).name == name


def test_the_size_of_the_full_suite_is_told():
    assert f"{len(full_grid(['m']))} variants per model" in DOCUMENT
