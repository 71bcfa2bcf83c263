import pytest

from energyaware.records import Domain, Reading, Round, Work
from energyaware.reports.html.energy import energy

DOMAINS = {"cpu": Domain("rapl", "measured", 1e-3), "dram": Domain("rapl", "measured", 1e-3)}


def rounds(count: int = 5):
    reading = Reading({"cpu": 8.0, "dram": 2.0}, 1.0)
    windows = {"prefill": Reading({"cpu": 2.0, "dram": 1.0}, 0.2)}
    return tuple(Round(2, 1.0, reading, windows=windows) for _ in range(count))


def test_energy_is_parted_by_domain_and_window_per_request(bench, material_of, table):
    item = bench("a", rounds=rounds(), domains=DOMAINS, work=Work(requests=2, tokens_in=10), idle_w={"cpu": 4.0})
    charts = {chart["name"]: table(chart) for chart in energy(material_of(item))["charts"]}
    assert {row["domain"]: row["energy_j"] for row in charts["energy-domains"]} == {
        "cpu, measured": pytest.approx(1.0), "dram, measured": pytest.approx(0.5),
    }  # fmt: skip
    # 3 J less 0.2 s at 4 W, over two calls of two requests.
    assert [(row["window"], row["energy_j"]) for row in charts["energy-phases"]] == [("prefill", pytest.approx(0.55))]
    (token,) = charts["energy-tokens"]
    assert token["energy_per_token_j"] == pytest.approx(3.0 / 10)
    assert token["source"] == "measured"


def test_axes_and_domains_say_what_is_measured_and_what_is_estimated(bench, material_of, table):
    domains = {**DOMAINS, "dram": Domain("table", "estimated", 1e-3)}
    chart = energy(material_of(bench("a", rounds=rounds(), domains=domains)))["charts"][0]
    assert [(row["domain"], row["source"]) for row in table(chart)] == [
        ("cpu, measured", "measured"), ("dram, estimated", "estimated"),
    ]  # fmt: skip
    (title,) = [column["title"] for column in chart["columns"] if column["name"] == "energy_j"]
    assert title == "energy per request (measured and estimated)"


def test_what_is_not_recorded_is_not_drawn(bench, material_of):
    names = [chart["name"] for chart in energy(material_of(bench("a")))["charts"]]
    assert names == ["energy-domains"]
    assert energy(material_of(bench("a", count=0))) is None
