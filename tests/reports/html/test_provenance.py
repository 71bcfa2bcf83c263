from energyaware.records import Reading, Round, RoundState
from energyaware.reports.html.provenance import provenance


def test_machine_meters_data_options_and_conduct_are_listed(bench, material_of):
    state = RoundState(steal_share=0.5)
    rounds = (Round(1, 0.1, Reading({"cpu": 1.0}, 0.1), state=state), Round(1, 0.1, Reading({"cpu": 1.0}, 0.1)))
    item = bench("a", rounds=rounds, fingerprints={"dataset": "f" * 64}, discarded={"cpu: zero": 2}, notes=("masked",))
    content = provenance(material_of(item, commit="abc", dirty=True))
    tables = {table["title"]: table["rows"] for table in content["tables"]}
    assert ("cpu", "Test CPU") in tables["Machine"]
    assert ("commit", "abc (dirty tree)") in tables["Run"]
    assert tables["Meters"][0][1].startswith("estimated by cpu-time")
    assert tables["Data and weights"] == [("dataset", "f" * 64)]
    conduct = dict(tables["Conduct"])
    assert conduct["discarded readings"] == "2"
    assert conduct["rounds under contention"].startswith("1 of 1 ")
    assert conduct["note"] == "masked (a)"
    assert "All runs" not in tables
