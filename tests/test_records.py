import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.records import Benchmark, Domain, Reading, Round, Variant, Work, is_valid_energy

BAD = [0.0, -0.0, -1.0, math.nan, math.inf, -math.inf]


def benchmark(**changes) -> Benchmark:
    plain = Benchmark("t.py::test_a", "test_a", "", "rca", "inference", "matmul/1", "", {})
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize("value", BAD)
def test_no_reading_holds_a_number_that_is_none(value):
    assert not is_valid_energy(value)
    with pytest.raises(ValueError, match=f"dram read {value} J"):
        Reading({"cpu": 1.0, "dram": value}, 1.0)


@pytest.mark.parametrize("value", BAD)
def test_no_reading_or_round_lasts_no_time(value):
    with pytest.raises(ValueError, match="a reading of"):
        Reading({"cpu": 1.0}, value)
    with pytest.raises(ValueError, match="a round of"):
        Round(1, value, Reading({"cpu": 1.0}, 1.0))


def test_a_reading_has_a_domain_and_a_round_has_a_call():
    with pytest.raises(ValueError, match="without a domain"):
        Reading({}, 1.0)
    with pytest.raises(ValueError, match="0 calls"):
        Round(0, 1.0, Reading({"cpu": 1.0}, 1.0))


@given(st.dictionaries(st.text(max_size=5), st.floats(1e-9, 1e12), min_size=1, max_size=5))
def test_the_total_is_the_sum_over_domains(energy_j):
    assert Reading(energy_j, 1.0).total_j == pytest.approx(math.fsum(energy_j.values()))


def test_records_are_frozen():
    for record in (Reading({"cpu": 1.0}, 1.0), Variant("gpt2"), Work(), benchmark()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, dataclasses.fields(record)[0].name, None)


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        (Variant("mini-gpt2", "bf16", "2of4"), "mini-gpt2-bf16-2of4"),
        (Variant("mini-gpt2"), "mini-gpt2-fp32"),
        (Variant("mistralai/Mistral-7B-v0.1", "nf4", "magnitude-50"), "mistralai--Mistral-7B-v0.1-nf4-magnitude-50"),
        (Variant(r"C:\models\50%"), "C_--models--50_-fp32"),
    ],
)
def test_the_id_of_a_variant(variant, name):
    assert variant.id == name


@given(st.builds(Variant, st.text(), st.text(), st.text()))
def test_an_id_fits_into_a_k_expression_and_a_file_name(variant):
    assert not set(variant.id) & set("%:/\\")


@pytest.mark.parametrize("metric", ["quality", "trivial_quality"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_quality_is_finite(metric, value):
    with pytest.raises(ValueError, match="accuracy is"):
        benchmark(**{metric: {"accuracy": value}})


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Work)])
def test_work_counts_from_zero(field):
    assert getattr(Work(**{field: 0}), field) == 0
    with pytest.raises(ValueError, match="-1"):
        Work(**{field: -1})


def test_a_peak_of_memory_is_positive_or_absent():
    assert benchmark().peak_memory_bytes is None
    with pytest.raises(ValueError, match="a peak of 0 bytes"):
        benchmark(peak_memory_bytes=0)


def test_the_row_is_the_variant_or_else_the_test():
    assert benchmark().row == "test_a"
    assert benchmark(variant=Variant("gpt2", "fp16")).row == "gpt2-fp16"


def test_source_and_meters_are_those_of_the_domains():
    measured, estimated = Domain("zeus", "measured", 0.1), Domain("cpu-time", "estimated", 1e-6)
    assert benchmark().source is None
    assert benchmark(domains={"gpu0": measured}).source == "measured"
    assert benchmark(domains={"cpu": estimated, "dram": estimated}).source == "estimated"
    both = benchmark(domains={"gpu0": measured, "cpu": estimated})
    assert both.source == "mixed"
    assert both.meters == "cpu: cpu-time, gpu0: zeus"
