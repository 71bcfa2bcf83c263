import math

import pytest

from energyaware.reports.html import estimates


def test_the_ratio_of_rows_has_the_errors_of_both(bench, ranking_of):
    ranking = ranking_of(bench("a", 2.0), bench("b", 1.0))
    first, second = sorted(ranking.rows, key=lambda row: row.name)
    found = estimates.row_ratio(first, second)
    assert found.value == pytest.approx(2.0)
    errors = [row.details[0].energy_error for row in (first, second)]
    assert math.log(found.high / found.value) == pytest.approx(math.hypot(*errors))


def test_a_single_round_has_no_interval(bench, ranking_of):
    (row,) = ranking_of(bench("a", count=1)).rows
    found = estimates.row_energy(row)
    assert (found.value, found.low, found.high) == (pytest.approx(1.0), None, None)


def test_without_a_reading_there_is_no_energy(bench, ranking_of):
    (row,) = ranking_of(bench("a", count=0)).rows
    assert estimates.row_energy(row) is None
    assert estimates.row_quality(row) is None
