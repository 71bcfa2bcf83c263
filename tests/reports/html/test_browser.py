"""The page in a headless browser: it draws, its weight and filters work, it asks for nothing and complains of nothing.

Without time to act on a page, what a person does with it is said by the fragment of its address.
"""

import re
import shutil
import subprocess

import pytest

from energyaware.records import Variant
from energyaware.reports.html import page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")

MOST_MS = 2000
ALL_SEEN = "1200,20000"  # charts are drawn when they come near


@pytest.fixture
def opened(tmp_path):
    """A function (page, fragment) → the document after its scripts, and what the browser said."""
    path = tmp_path / "energy.html"

    def dump(text: str, fragment: str = "", size: str = "1200,900") -> tuple[str, str]:
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [
                BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom",
                f"--window-size={size}", f"{path.as_uri()}{fragment}",
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout, done.stderr

    return dump


@pytest.fixture
def small(bench, material_of):
    items = [
        bench("a", 2.0, 0.9, variant=Variant("m")),
        bench("b", 1.0, 0.5, variant=Variant("m", "bf16")),
        bench("c", 3.0, 0.6, variant=Variant("n")),
    ]
    return page.render(material_of(*items))


def root(document: str) -> dict[str, str]:
    (tag,) = re.findall(r"<html[^>]*>", document)
    return dict(re.findall(r'data-(\w+)="([^"]*)"', tag))


def rows(document: str) -> list[str]:
    (body,) = re.findall(r'<div class="ranking">.*?<tbody>(.*?)</tbody>', document, flags=re.DOTALL)
    return re.findall(r"<tr[^>]*>", body)


def order(document: str) -> list[str]:
    (body,) = re.findall(r'<div class="ranking">.*?<tbody>(.*?)</tbody>', document, flags=re.DOTALL)
    return re.findall(r'data-variant="([^"]+)"', body)


def test_every_chart_is_drawn_without_a_word_on_the_console(opened, small):
    document, said = opened(small, size=ALL_SEEN)
    assert "error" not in root(document)
    assert int(root(document)["charts"]) == document.count("<figure ") > 0
    # A request that the page's policy forbids would be told here, and it forbids them all.
    assert "CONSOLE" not in said


def test_the_console_would_be_heard(opened, small):
    _, said = opened(small.replace("</main>", '<img src="https://example.invalid/x.png" alt=""></main>'))
    assert "CONSOLE" in said


@pytest.mark.parametrize(("weight", "first"), [("0", "m-fp32"), ("1", "m-bf16")])
def test_the_weight_moves_the_ranks(opened, small, weight, first):
    document, _ = opened(small, f"#w={weight}")
    assert order(document)[0] == first


def test_a_filter_hides_the_other_models(opened, small):
    document, _ = opened(small, "#model=n")
    shown = [row for row in rows(document) if "hidden" not in row]
    assert [re.search('data-model="([^"]+)"', row)[1] for row in shown] == ["n"]


def test_a_page_of_a_thousand_benchmarks_is_there_in_time(opened, large_material):
    text = page.render(large_material())
    # Neighbours on the machine slow single openings down, never up.
    documents = (opened(text)[0] for _ in range(4))
    document = next((item for item in documents if int(root(item)["rendered"]) < MOST_MS), None)
    assert document is not None
    assert int(root(document)["charts"]) > 0


def test_all_charts_of_a_thousand_benchmarks_are_drawn(opened, large_material):
    document, said = opened(page.render(large_material()), size=ALL_SEEN)
    assert "CONSOLE" not in said
    assert "error" not in root(document)
    assert int(root(document)["charts"]) == document.count("<figure ")
