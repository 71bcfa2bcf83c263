import pytest

from energyaware.baselines.comparability import MACHINE_FIELDS, differing
from energyaware.records import Domain

MACHINE = {"cpu": "A", "dtype_support": "avx2", "cores": "2", "threads": "2", "gpu": "H100", "python": "3.11.2"}


def test_the_same_conditions_do_not_differ(bench):
    item = bench(traits={"device": "cpu"}, fingerprints={"weights": "a" * 64})
    assert differing(item, item, MACHINE, MACHINE) is None


def test_what_numbers_do_not_depend_on_may_differ(bench):
    assert differing(bench(energy_j=2.0), bench(), {**MACHINE, "python": "3.13.0"}, MACHINE) is None


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (
            {"domains": {"cpu": Domain("cpu-time", "estimated", 1e-6)}},
            {"domains": {"cpu": Domain("zeus", "measured", 1e-3)}},
            "meter: cpu: cpu-time in the baseline, cpu: zeus now",
        ),
        (
            {"domains": {"cpu": Domain("x", "estimated", 1e-6)}},
            {"domains": {"cpu": Domain("x", "measured", 1e-6)}},
            "source: estimated in the baseline, measured now",
        ),
        (
            {"domains": {"cpu": Domain("x", "estimated", 1e-6)}},
            {"domains": {name: Domain("x", "estimated", 1e-6) for name in ("cpu", "dram")}},
            "meter: cpu: x in the baseline, cpu: x, dram: x now",
        ),
        ({"candle": "matmul/1"}, {"candle": "matmul/2"}, "candle: matmul/1 in the baseline, matmul/2 now"),
        (
            {"domains": {"cpu": Domain("x", "estimated", 1e-6, "4 W per core")}},
            {"domains": {"cpu": Domain("x", "estimated", 1e-6, "9 W per core")}},
            "power model of cpu: 4 W per core in the baseline, 9 W per core now",
        ),
        ({"traits": {"device": "cpu"}}, {"traits": {"device": "cuda"}}, "device: cpu in the baseline, cuda now"),
        ({"traits": {}}, {"traits": {"device": "cuda"}}, "device: – in the baseline, cuda now"),
        ({"traits": {"device": "cpu"}}, {"traits": {}}, "device: cpu in the baseline, – now"),
        (
            {"fingerprints": {"dataset": "a" * 64}},
            {"fingerprints": {"dataset": "b" * 64}},
            "fingerprint of dataset: aaaaaaaaaaaa in the baseline, bbbbbbbbbbbb now",
        ),
        ({"fingerprints": {"weights": "v1"}}, {}, "fingerprint of weights: v1 in the baseline, – now"),
    ],
)
def test_each_condition_is_named_with_both_values(bench, before, now, said):
    assert differing(bench(**now), bench(**before), MACHINE, MACHINE) == said


@pytest.mark.parametrize("name", MACHINE_FIELDS)
def test_each_property_of_the_machine_is_named_with_both_values(bench, name):
    other = {**MACHINE, name: "other"}
    assert differing(bench(), bench(), other, MACHINE) == f"machine {name}: {MACHINE[name]} in the baseline, other now"
    del other[name]
    assert differing(bench(), bench(), other, MACHINE) == f"machine {name}: {MACHINE[name]} in the baseline, – now"


def test_a_hostile_domain_name_cannot_pass_for_two(bench):
    forged = bench(domains={"cpu: x, dram": Domain("x", "estimated", 1e-6, "d")})
    honest = bench(domains={name: Domain("x", "estimated", 1e-6, "d") for name in ("cpu", "dram")})
    assert forged.meters == honest.meters
    assert differing(honest, forged, MACHINE, MACHINE) == "power model of cpu: – in the baseline, d now"
