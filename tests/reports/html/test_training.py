import pytest

from energyaware.records import Reading, Round
from energyaware.reports.html.training import training


def tuned(bench, *joules, losses=(2.0, 1.0), phase="finetune"):
    rounds = tuple(Round(1, 1.0, Reading({"cpu": value}, 1.0)) for value in joules)
    return bench("a", phase=phase, rounds=rounds, samples={"training_loss": losses})


def test_epochs_are_curves_and_energy_adds_up(bench, material_of, table):
    content = training(material_of(tuned(bench, 5.0, 6.0)))
    charts = {chart["name"]: table(chart) for chart in content["charts"]}
    assert [(row["epoch"], row["energy_j"]) for row in charts["training-energy"]] == [(1, 5.0), (2, 11.0)]
    assert [(row["epoch"], row["loss"]) for row in charts["training-loss"]] == [(1, 2.0), (2, 1.0)]
    assert [(row["energy_j"], row["loss"]) for row in charts["training-exchange"]] == [(5.0, 2.0), (11.0, 1.0)]


def test_a_discarded_round_leaves_the_losses_and_no_energy_that_would_belong_to_another_epoch(bench, material_of):
    content = training(material_of(tuned(bench, 5.0)))
    assert [chart["name"] for chart in content["charts"]] == ["training-loss"]


@pytest.mark.parametrize(("phase", "losses"), [("inference", (2.0, 1.0)), ("finetune", ())])
def test_without_epochs_there_is_no_section(bench, material_of, phase, losses):
    assert training(material_of(tuned(bench, 5.0, 6.0, losses=losses, phase=phase))) is None
