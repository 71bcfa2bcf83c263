from energyaware.records import Variant
from energyaware.reports.html.dvfs import dvfs


def at(bench, setting, energy_j, text=None):
    return bench(
        f"s{setting}", energy_j, None, variant=Variant("m"), group="dvfs decode", phase="decode",
        task=f"at {setting}", traits={"dvfs": text or f"cpu:{setting}MHz"},
    )  # fmt: skip


def test_the_setting_of_least_energy_is_marked_and_said(bench, material_of, table):
    items = [at(bench, setting, energy_j) for setting, energy_j in ((1000, 3.0), (1500, 1.0), (2000, 2.0))]
    content = dvfs(material_of(*items))
    chart = content["charts"][0]
    assert [(row["setting"], row["least_energy"]) for row in table(chart)] == [
        (1000, False), (1500, True), (2000, False),
    ]  # fmt: skip
    assert [chart["name"] for chart in content["charts"]] == ["dvfs-energy", "dvfs-latency", "dvfs-edp"]
    assert content["text"][0].startswith("m-fp32, decode: least energy: 1500 MHz")


def test_one_setting_and_unreadable_ones_are_no_sweep(bench, material_of):
    assert dvfs(material_of(at(bench, 1000, 1.0))) is None
    assert dvfs(material_of(at(bench, 1000, 1.0, "nonsense"), at(bench, 2000, 1.0, "cpu:3"))) is None
