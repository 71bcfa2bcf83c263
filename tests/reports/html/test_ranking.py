from energyaware.ranking.score import rank
from energyaware.reports.html.ranking import ranking


def test_the_page_gets_what_ranks_are_worked_out_from(bench, material_of):
    items = [bench("cheap", 1.0, 0.5), bench("good", 2.0, 0.9), bench("none", count=0)]
    content = ranking(material_of(*items))
    (group,) = content["groups"]
    (expected,) = rank(items, 0.5)
    assert group["movable"]
    assert [(row["phi"], row["rho"]) for row in group["rows"]] == [
        (row.phi, row.rho) if row.r is not None else (None, None) for row in expected.rows
    ]
    assert (group["winners"][0]["variant"], group["winners"][0]["low"]) == ("good", 0.0)
    assert group["winners"][-1]["variant"] == "cheap"
    (remark,) = group["remarks"]
    assert f"{group['rows'][-1]['variant']}: no valid reading" in remark


def test_r_over_w_is_drawn_with_its_breakpoints(bench, material_of, table):
    (chart,) = ranking(material_of(bench("cheap", 1.0, 0.5), bench("good", 2.0, 0.9)))["charts"]
    rows = table(chart)
    assert {(row["variant"], row["w"]) for row in rows} == {(name, w) for name in ("cheap", "good") for w in (0.0, 1.0)}
    # 0.9 − 0.4 w against 0.5 + 0.5 w: they cross at 0.4 / 0.9.
    ((place, label),) = chart["rules"]
    assert abs(place - 0.4 / 0.9) < 1e-4
    assert label.startswith("cheap from")


def test_a_group_without_quality_has_no_slider(bench, material_of):
    (group,) = ranking(material_of(bench("a", quality=None)))["groups"]
    assert not group["movable"]
    assert group["charts"] == []
