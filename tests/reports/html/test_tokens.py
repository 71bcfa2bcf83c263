from energyaware.reports.html.tokens import BINS, histogram, tokens


def test_every_example_lies_in_one_bin():
    values = (3.0, 3.0, 4.0, 50.0, 103.0)
    bins = histogram(values)
    assert sum(count for _, _, count in bins) == len(values)
    assert len(bins) <= BINS
    assert bins[0][0] == 3.0
    assert bins[-1][1] >= 103.0


def test_examples_of_one_length_are_one_bin():
    assert histogram((7.0, 7.0)) == [(7.0, 8.0, 2)]


def test_lengths_are_drawn_once_per_task_and_model(bench, material_of, table):
    samples = {"input_tokens": (3.0, 4.0)}
    (chart,) = tokens(material_of(bench("a", samples=samples)))["charts"]
    assert sum(row["examples"] for row in table(chart)) == 2
    assert tokens(material_of(bench("a"))) is None
