import importlib.util

import pytest

from energyaware.errors import OptionError
from energyaware.reports.charts import Column, make_chart
from energyaware.reports.figures import write_figures

COLUMNS = (
    Column("variant", "variant"), Column("work", "work"), Column("energy_j", "energy", "J"),
    Column("low_j", "low", "J"), Column("high_j", "high", "J"), Column("share", "share", "%"), Column("on", "on"),
)  # fmt: skip
ROWS = [("a $x$", "one", 1.0, 0.9, 1.1, 0.5, True), ("b", "two", 2.0, None, None, 0.7, False)]


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("bars", {"x": "energy_j", "y": "variant"}),
        ("intervals", {"x": "energy_j", "x_low": "low_j", "x_high": "high_j", "y": "variant", "choose": "work"}),
        ("lines", {"x": "share", "y": "energy_j", "y_low": "low_j", "y_high": "high_j", "series": "variant"}),
        ("points", {"x": "energy_j", "y": "share", "front": "on", "mark": "on"}),
        ("histogram", {"x": "share", "y": "energy_j"}),
    ],
)
def test_every_kind_of_chart_becomes_svg_and_png(tmp_path, kind, encoding):
    pytest.importorskip("matplotlib", reason="figures need matplotlib: pip install 'energyaware[report]'")
    chart = make_chart("name", kind, "Title", "What it shows.", COLUMNS, ROWS, rules=((1.0, "one"),), **encoding)
    paths = write_figures(tmp_path, [chart])
    assert {path.suffix for path in paths} == {".svg", ".png"}
    assert len(paths) == (4 if "choose" in encoding else 2)
    assert all(path.stat().st_size > 1000 for path in paths)


def test_without_matplotlib_the_remedy_is_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="matplotlib"):
        write_figures(tmp_path, [])
