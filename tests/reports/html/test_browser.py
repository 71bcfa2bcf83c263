"""The page in a headless browser: it draws, its weight moves ranks, and it says nothing on the console."""

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


@pytest.fixture
def opened(tmp_path, bench, material_of):
    """A function (fragment) → the page's document after its scripts, and what the browser said."""
    items = [bench("a", 2.0, 0.9, variant=Variant("m")), bench("b", 1.0, 0.5, variant=Variant("m", "bf16"))]
    path = tmp_path / "energy.html"
    path.write_text(page.render(material_of(*items)), encoding="utf-8")

    def dump(fragment: str = "") -> tuple[str, str]:
        done = subprocess.run(
            [
                BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
                "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", f"{path.as_uri()}{fragment}",
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout, done.stderr

    return dump


def order(document: str) -> list[str]:
    (body,) = re.findall(r'<div class="ranking">.*?<tbody>(.*?)</tbody>', document, flags=re.DOTALL)
    return re.findall(r'data-variant="([^"]+)"', body)


def test_every_chart_is_drawn_without_a_word_on_the_console(opened):
    document, said = opened()
    (root,) = re.findall(r"<html[^>]*>", document)
    assert "data-error" not in root
    assert "data-rendered" in root
    assert int(re.search(r'data-charts="(\d+)"', root)[1]) == document.count("<figure ")
    assert "CONSOLE" not in said


@pytest.mark.parametrize(("weight", "first"), [("0", "m-fp32"), ("1", "m-bf16")])
def test_the_weight_moves_the_ranks(opened, weight, first):
    document, _ = opened(f"#w={weight}")
    assert order(document)[0] == first
