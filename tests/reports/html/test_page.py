"""The page as a file: self-contained, escaped, small."""

import base64
import dataclasses
import hashlib
import html.parser
import importlib.util
import json
import math
import re

import pytest

from benchmarks.promises.page import large_material
from energyaware.errors import OptionError
from energyaware.records import Variant
from energyaware.reports.html import page

pytest.importorskip("jinja2", reason="the report needs Jinja2: pip install 'energyaware[report]'")

HOSTILE = "</script><script>alert(1)</script><img src=//x.example onerror=alert(1)>\"'&\x1b"
LIMIT_BYTES = 2_000_000


class Tags(html.parser.HTMLParser):
    """Every start tag with its attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inner, self._open = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            if self.inner and self.inner[-1][0] is self._open:
                self.inner[-1][1] += data
            else:
                self.inner.append([self._open, data])


def named(found, name):
    return [attributes for tag, attributes in found.tags if tag == name]


def data_of(found):
    (text,) = [text for (_, attributes), text in found.inner if attributes.get("id") == "report-data"]
    return json.loads(text)


@pytest.fixture
def text(bench, material_of):
    items = [bench("a", 2.0, 0.9, variant=Variant("m")), bench("b", 1.0, 0.8, variant=Variant("m", "bf16"))]
    return page.render(material_of(*items, datetime="2026-01-02T03:04:05", branch="main"))


def test_the_answer_comes_first_and_sections_without_data_are_left_out(text):
    sections = [attributes["id"] for attributes in named(Tags(text), "section")]
    assert sections[0] == "answer"
    assert {"plane", "ranking", "energy", "precision", "provenance"} <= set(sections)
    assert not {"dvfs", "history", "gate", "training"} & set(sections)
    assert "Deploy m-bf16" in text


def test_every_chart_has_a_picture_a_text_a_table_and_a_csv(text):
    found = Tags(text)
    charts = [chart["name"] for chart in data_of(found)["charts"]]
    assert [attributes["id"] for attributes in named(found, "figure")] == [f"chart-{name}" for name in charts]
    canvases = named(found, "canvas")
    assert len(canvases) == len(charts) + 1  # the rounds of a variant
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in canvases)
    links = [attributes for attributes in named(found, "a") if attributes.get("class") == "csv"]
    assert [link["download"] for link in links] == [f"{name}.csv" for name in charts]


def test_nothing_is_loaded_from_elsewhere(text):
    found = Tags(text)
    for tag, attributes in found.tags:
        assert "src" not in attributes, tag
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert attributes.get("href", "#")[:1] == "#" or attributes["href"] == "data:,", tag
    styles = "".join(text for (tag, _), text in found.inner if tag == "style")
    assert "url(" not in styles
    assert "@import" not in styles
    assert "sourceMappingURL" not in text


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(text):
    found = Tags(text)
    (policy,) = [item["content"] for item in named(found, "meta") if "http-equiv" in item]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    inner = [text for (_, attributes), text in found.inner if "type" not in attributes]
    hashes = {base64.b64encode(hashlib.sha256(item.encode()).digest()).decode() for item in inner}
    assert len(hashes) == 3
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes


def test_names_are_text(bench, material_of, text):
    item = bench(
        HOSTILE, group=HOSTILE, task=HOSTILE, phase=HOSTILE, notes=(HOSTILE,), candle=HOSTILE,
        traits={HOSTILE: HOSTILE}, fingerprints={HOSTILE: HOSTILE},
    )  # fmt: skip
    other = bench("b", outcome="failed", error=HOSTILE, group=HOSTILE)
    hostile = page.render(material_of(item, other, branch=HOSTILE, commit=HOSTILE, path=HOSTILE, datetime=HOSTILE))
    found = Tags(hostile)
    assert len(named(found, "script")) == len(named(Tags(text), "script")) == 3
    assert named(found, "img") == []
    assert "\x1b" not in hostile
    assert "<script>alert" not in hostile
    levels = [
        level for chart in data_of(found)["charts"] for column in chart["columns"] for level in column.get("levels", ())
    ]
    assert [level for level in levels if level.startswith("</script>")]


def test_a_surrogate_in_a_name_can_be_written(bench, material_of):
    assert page.render(material_of(bench("\udc80"))).encode()


def test_without_jinja2_the_remedy_is_the_extra(bench, material_of, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=re.escape("energyaware[report]")):
        page.render(material_of(bench("a")))


def test_two_hundred_variants_can_be_mailed():
    assert len(page.render(large_material()).encode()) <= LIMIT_BYTES


def test_no_number_is_none_of_json(bench, material_of):
    material = dataclasses.replace(material_of(bench("a")), grams=lambda _: math.nan)
    assert "NaN" not in json.dumps(data_of(Tags(page.render(material))))
