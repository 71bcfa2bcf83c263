import pytest

from energyaware.errors import CompressionError
from energyaware.variants.grid import METHODS, chosen_grid, make_variant, parse_pruning
from energyaware.variants.offered import gather


def nothing(model, batches):
    """Offered in tests of names."""


def test_offers_of_several_plugins_are_gathered():
    assert gather([{"lowrank": nothing}, {}, {"cluster4": nothing}]) == {"lowrank": nothing, "cluster4": nothing}


@pytest.mark.parametrize("name", ["", "low-rank", "Lowrank", "4bit", "low rank", "a\nb", "é", *METHODS])
def test_names_that_ids_cannot_hold_or_that_are_taken_are_refused(name):
    with pytest.raises(CompressionError, match="pytest_energy_compressions offers"):
        gather([{name: nothing}])


def test_one_name_from_two_plugins_is_refused():
    with pytest.raises(CompressionError, match="'lowrank', which is taken"):
        gather([{"lowrank": nothing}, {"lowrank": nothing}])


def test_offered_names_stand_where_prunings_do():
    offered = {"lowrank": nothing}
    assert parse_pruning("lowrank", offered).name == parse_pruning("lowrank", offered).title == "lowrank"
    assert make_variant("m", "nf4", "lowrank", offered).id == "m-nf4-lowrank"
    assert [item.id for item in chosen_grid(["m"], ["fp32-lowrank", "bf16"], offered)] == ["m-fp32-lowrank", "m-bf16"]
    with pytest.raises(CompressionError, match="unknown pruning 'lowrank'"):
        parse_pruning("lowrank")
    with pytest.raises(CompressionError, match=r"depth-50-recovered, lowrank\)?"):
        parse_pruning("lowrnk", offered)
    with pytest.raises(CompressionError):
        parse_pruning("lowrank-recovered", offered)
