from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.errors import CompressionError
from energyaware.variants.grid import (
    PRECISIONS,
    chosen_grid,
    full_grid,
    make_variant,
    parse_pruning,
    pruning_title,
    quick_grid,
)


def test_quick_grid_is_nine_variants_per_model():
    assert [variant.id for variant in quick_grid(["mini-gpt2"])] == [
        "mini-gpt2-fp32",
        "mini-gpt2-bf16",
        "mini-gpt2-fp16",
        "mini-gpt2-int8",
        "mini-gpt2-nf4",
        "mini-gpt2-fp32-magnitude-50",
        "mini-gpt2-fp32-2of4",
        "mini-gpt2-fp32-depth-50",
        "mini-gpt2-bf16-2of4",
    ]
    assert len({variant.id for variant in quick_grid(["a", "b"])}) == 18
    assert quick_grid([]) == ()


@pytest.mark.parametrize(
    ("name", "short", "title"),
    [
        ("dense", "dense", "dense"),
        ("magnitude-50", "magnitude-50", "50 %"),
        ("magnitude-7", "magnitude-7", "7 %"),
        ("2of4", "2of4", "2:4"),
        ("magnitude-2of4", "2of4", "2:4"),
        ("4of8", "4of8", "4:8"),
        ("depth-50", "depth-50", "depth 50 %"),
        ("wanda-50", "wanda-50", "wanda 50 %"),
        ("wanda-2of4", "wanda-2of4", "wanda 2:4"),
        ("sparsegpt-4of8", "sparsegpt-4of8", "sparsegpt 4:8"),
        ("width-50", "width-50", "width 50 %"),
        ("heads-25", "heads-25", "heads 25 %"),
    ],
)
def test_names_and_titles(name, short, title):
    assert parse_pruning(name).name == short
    assert pruning_title(name) == title


def test_two_names_of_one_pruning_are_one_variant():
    assert make_variant("m", "bf16", "magnitude-2of4") == make_variant("m", "bf16", "2of4")


@pytest.mark.parametrize(
    "name",
    ["", "sparse", "magnitude", "50", "magnitude-0", "magnitude-100", "depth-2of4", "width-2of4", "wanda", "4of4",
     "0of4", "2:4", "50%", "magnitude-50 ", "magnitude-٥٠", "Magnitude-50", "magnitude--50", "foo-50"],
)  # fmt: skip
def test_other_names_are_refused(name):
    with pytest.raises(CompressionError):
        parse_pruning(name)


@given(
    percent=st.integers(1, 99), method=st.sampled_from(["magnitude", "wanda", "sparsegpt", "width", "heads", "depth"])
)
def test_percentages_round_trip(percent, method):
    pruning = parse_pruning(f"{method}-{percent}")
    assert parse_pruning(pruning.name) == pruning
    assert pruning.percent == percent


@given(n=st.integers(1, 30), extra=st.integers(1, 30), method=st.sampled_from(["", "wanda-", "sparsegpt-"]))
def test_patterns_round_trip_without_forbidden_characters(n, extra, method):
    pruning = parse_pruning(f"{method}{n}of{n + extra}")
    assert parse_pruning(pruning.name) == pruning
    assert pruning.pattern == (n, n + extra)
    assert not set("%:/ ") & set(pruning.name)


@pytest.mark.parametrize("plain", ["depth-67", "2of4", "wanda-50", "sparsegpt-4of8"])
def test_every_pruning_can_be_recovered(plain):
    pruning = parse_pruning(f"{plain}-recovered")
    assert (pruning.recovered, pruning.name) == (True, f"{plain}-recovered")
    assert pruning.title == f"{parse_pruning(plain).title}, recovered"
    assert make_variant("m", "bf16", f"magnitude-{plain}-recovered" if plain == "2of4" else pruning.name).id == (
        f"m-bf16-{plain}-recovered"
    )


@pytest.mark.parametrize("name", ["dense-recovered", "-recovered", "recovered", "depth-67-recovered-recovered"])
def test_what_was_not_pruned_cannot_be_recovered(name):
    with pytest.raises(CompressionError, match="unknown pruning"):
        parse_pruning(name)


def test_chosen_compressions_replace_the_grid_and_come_once():
    names = ["fp32", "bf16-2of4", "fp32", "bf16-magnitude-2of4", "nf4-depth-67-recovered"]
    assert [variant.id for variant in chosen_grid(["a", "b"], names)] == [
        "a-fp32", "a-bf16-2of4", "a-nf4-depth-67-recovered", "b-fp32", "b-bf16-2of4", "b-nf4-depth-67-recovered",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "2of4", "fp8", "fp32-", "fp32-3of2", "fp32 -2of4", "depth-50-fp32"])
def test_unknown_compressions_are_refused(name):
    with pytest.raises(CompressionError):
        chosen_grid(["a"], [name])


def test_unknown_precision_is_refused_with_the_valid_ones():
    with pytest.raises(CompressionError, match="fp32, bf16, fp16, int8, nf4, fp4"):
        make_variant("m", "fp8")


def test_names_need_no_torch():
    code = (
        "import sys, energyaware.variants.grid; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_full_grid_holds_the_quick_one_every_precision_and_every_pruning():
    full = full_grid(["mini-gpt2"])
    assert set(quick_grid(["mini-gpt2"])) <= set(full)
    assert {variant.precision for variant in full if variant.pruning == "dense"} == set(PRECISIONS)
    assert {variant.pruning for variant in full if variant.precision == "bf16"} == {
        "dense",
        *(f"{method}-50" for method in ("magnitude", "wanda", "sparsegpt", "width", "heads", "depth")),
        *(f"{method}{pattern}" for method in ("", "wanda-", "sparsegpt-") for pattern in ("2of4", "4of8")),
        "2of4-recovered",
        "depth-67-recovered",
    }
    assert {variant.pruning for variant in full if variant.precision == "nf4"} == {
        "dense", "2of4", "sparsegpt-2of4", "width-50", "depth-50",
    }  # fmt: skip
    assert len({variant.id for variant in full}) == len(full) == 50
    assert len(full_grid(["a", "b"])) == 100


def test_quantized_precisions_are_those_of_the_compression_package():
    from energyaware.compression.quantization import QUANTIZED

    assert set(PRECISIONS) == {"fp32", "bf16", "fp16", *QUANTIZED}
