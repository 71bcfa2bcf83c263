"""The page in a headless browser: it draws, its weight and filters work, it asks for nothing and complains of nothing.

Without time to act on a page, what a person does with it is said by the fragment of its address. How long a large page
takes is measured by `python -m benchmarks.promises.page`.
"""

import re

import pytest

from benchmarks.promises.page import find_browser, large_material, open_page
from energyaware.records import Variant
from energyaware.reports.html import page

BROWSER = find_browser()

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")

ALL_SEEN = (1200, 20_000)  # charts are drawn when they come near


@pytest.fixture
def opened(tmp_path):
    """A function (page, fragment="", size=…) → what came of opening it."""
    path = tmp_path / "energy.html"

    def open_text(text: str, fragment: str = "", size: tuple[int, int] = (1200, 900)):
        path.write_text(text, encoding="utf-8")
        return open_page(BROWSER, path, fragment, size)

    return open_text


@pytest.fixture
def small(bench, material_of):
    items = [
        bench("a", 2.0, 0.9, variant=Variant("m")),
        bench("b", 1.0, 0.5, variant=Variant("m", "bf16")),
        bench("c", 3.0, 0.6, variant=Variant("n")),
    ]
    return page.render(material_of(*items))


@pytest.fixture(scope="module")
def large():
    """The page of a thousand benchmarks."""
    return page.render(large_material())


def rows(document: str) -> list[str]:
    (body,) = re.findall(r'<div class="ranking">.*?<tbody>(.*?)</tbody>', document, flags=re.DOTALL)
    return re.findall(r"<tr[^>]*>", body)


def order(document: str) -> list[str]:
    (body,) = re.findall(r'<div class="ranking">.*?<tbody>(.*?)</tbody>', document, flags=re.DOTALL)
    return re.findall(r'data-variant="([^"]+)"', body)


def test_every_chart_is_drawn_without_a_word_on_the_console(opened, small):
    found = opened(small, size=ALL_SEEN)
    assert "error" not in found.root
    assert int(found.root["charts"]) == found.document.count("<figure ") > 0
    assert found.complaints == 0


def test_a_page_that_asks_the_network_would_be_noticed(opened, small):
    address = "https://example.invalid/x.png"
    asking = small.replace("</main>", f'<img src="{address}" alt=""></main>')
    assert opened(asking).complaints > 0  # the policy forbids it
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", asking)
    assert free != asking
    assert address in opened(free).requests


@pytest.mark.parametrize(("weight", "first"), [("0", "m-fp32"), ("1", "m-bf16")])
def test_the_weight_moves_the_ranks(opened, small, weight, first):
    assert order(opened(small, f"#w={weight}").document)[0] == first


def test_a_filter_hides_the_other_models(opened, small):
    shown = [row for row in rows(opened(small, "#model=n").document) if "hidden" not in row]
    assert [re.search('data-model="([^"]+)"', row)[1] for row in shown] == ["n"]


def test_a_page_of_a_thousand_benchmarks_draws_what_is_near_first(opened, large):
    found = opened(large)
    assert 0 < int(found.root["charts"]) < found.document.count("<figure ")
    assert float(found.root["ready"]) >= float(found.root["rendered"]) > 0


def test_all_charts_of_a_thousand_benchmarks_are_drawn(opened, large):
    found = opened(large, size=ALL_SEEN)
    assert found.complaints == 0
    assert "error" not in found.root
    assert int(found.root["charts"]) == found.document.count("<figure ")
