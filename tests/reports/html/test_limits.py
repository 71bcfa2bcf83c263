import pytest

from energyaware.records import Ceiling, Work
from energyaware.reports.html.limits import limits


def test_the_share_of_the_machines_best_is_shown_where_it_is_known(bench, material_of, table):
    known = bench("a", work=Work(flops=10**9), ceiling=Ceiling(flops_per_s=1e11))  # in 0.1 s
    (chart,) = limits(material_of(known, bench("b")))["charts"]
    ((row),) = table(chart)
    assert (row["variant"], row["share"]) == ("a", pytest.approx(0.1))
    assert limits(material_of(bench("b"))) is None
