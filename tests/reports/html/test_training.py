from energyaware.reports.html.training import training


def test_epochs_are_curves_and_energy_adds_up(bench, material_of, table):
    samples = {"epoch_energy_j": (5.0, 6.0), "epoch_loss": (2.0, 1.0)}
    content = training(material_of(bench("a", phase="finetune", samples=samples)))
    charts = {chart["name"]: table(chart) for chart in content["charts"]}
    assert [(row["epoch"], row["energy_j"]) for row in charts["training-energy"]] == [(1, 5.0), (2, 11.0)]
    assert [(row["epoch"], row["loss"]) for row in charts["training-loss"]] == [(1, 2.0), (2, 1.0)]
    assert [(row["energy_j"], row["loss"]) for row in charts["training-exchange"]] == [(5.0, 2.0), (11.0, 1.0)]
    assert training(material_of(bench("a"))) is None
