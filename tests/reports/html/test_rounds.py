from energyaware.reports.html.rounds import MOST, rounds


def test_long_benchmarks_are_thinned_evenly_and_say_so(bench, material_of):
    (item,) = rounds(material_of(bench("a", count=100)))["a"]
    assert len(item["energy_j"]) <= MOST
    assert (item["rounds"], item["step"]) == (100, 3)
    assert item["energy_j"][1] == 1.003


def test_short_ones_are_whole(bench, material_of):
    (item,) = rounds(material_of(bench("a")))["a"]
    assert (len(item["energy_j"]), item["step"]) == (6, 1)
