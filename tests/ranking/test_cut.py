from __future__ import annotations

import dataclasses

import pytest

from energyaware.ranking.cut import cut
from energyaware.records import Variant


@pytest.fixture
def dense(bench):
    """Four unpruned variants of one group; cheaper ones are as good as dearer ones."""
    precisions = {"fp32": 8.0, "bf16": 4.0, "int8": 6.0, "nf4": 2.0}
    return [
        bench(f"m-{name}", energy, 0.8, variant=Variant("m", name), group="inference")
        for name, energy in precisions.items()
    ]


def test_the_best_by_r_are_kept_and_the_others_told_their_rank(dense):
    found = cut(dense, "inference", 2, 0.5)
    assert found is not None
    assert found.kept == ("m-nf4", "m-bf16")
    assert found.reason("m-nf4") == ""
    assert found.reason("m-int8") == "m-int8 has rank 3 of 4 in 'inference': not among the 2 best by R"
    assert "rank 4 of 4" in found.reason("m-fp32")


def test_pruned_variants_and_other_groups_do_not_enter(dense, bench):
    pruned = bench("m-nf4-2of4", 0.1, 0.8, variant=Variant("m", "nf4", "2of4"), group="inference")
    elsewhere = bench("m-fp32", 0.1, 0.8, variant=Variant("m"), group="other")
    assert cut([*dense, pruned, elsewhere], "inference", 2, 0.5) == cut(dense, "inference", 2, 0.5)


def test_more_than_there_are_keeps_all(dense):
    found = cut(dense, "inference", 9, 0.5)
    assert found is not None
    assert len(found.kept) == 4


def test_a_tie_keeps_no_more_than_asked(dense):
    twins = [dataclasses.replace(dense[0], variant=Variant("m", name)) for name in ("fp32", "bf16", "fp16")]
    found = cut(twins, "inference", 1, 0.5)
    assert found is not None
    assert set(found.ranks.values()) == {1}
    assert len(found.kept) == 1
    (skipped, *_) = set(found.ranks) - set(found.kept)
    assert found.reason(skipped).startswith(f"{skipped} shares rank 1 of 3")


def test_who_failed_or_was_not_measured_is_not_pruned(dense):
    failed = dataclasses.replace(dense[0], outcome="failed", error="out of memory")
    found = cut([failed, *dense[1:]], "inference", 3, 0.5)
    assert found is not None
    assert found.reason("m-fp32").startswith("m-fp32 could not be ranked")
    assert found.reason("m-fp4").startswith("m-fp4 was not measured")


def test_without_quality_there_is_nothing_to_choose_by(bench):
    item = bench("m-fp32", 1.0, None, variant=Variant("m"), group="prefill")
    assert cut([item], "prefill", 1, 0.5) is None
    assert cut([], "prefill", 1, 0.5) is None
