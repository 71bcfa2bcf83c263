"""The whole page: sections in their order, our script, the plotting library and the data in one file."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Collection
from importlib.resources import files
from typing import Any

from energyaware import __version__
from energyaware.errors import OptionError
from energyaware.reports.charts import packed
from energyaware.reports.columns import plain
from energyaware.reports.html.answer import answer
from energyaware.reports.html.drivers import drivers
from energyaware.reports.html.dvfs import dvfs
from energyaware.reports.html.energy import energy
from energyaware.reports.html.further import further
from energyaware.reports.html.gate import gate
from energyaware.reports.html.history import history
from energyaware.reports.html.lengths import lengths
from energyaware.reports.html.limits import limits
from energyaware.reports.html.material import Material, said_meters
from energyaware.reports.html.plane import plane
from energyaware.reports.html.precision import precision
from energyaware.reports.html.provenance import provenance
from energyaware.reports.html.pruning import pruning
from energyaware.reports.html.ranking import ranking
from energyaware.reports.html.rounds import rounds
from energyaware.reports.html.tokens import tokens
from energyaware.reports.html.training import training

Content = dict[str, Any]

SECTIONS: dict[str, Callable[[Material], Content | None]] = {
    "answer": answer,
    "plane": plane,
    "gate": gate,
    "ranking": ranking,
    "energy": energy,
    "limits": limits,
    "precision": precision,
    "pruning": pruning,
    "training": training,
    "further": further,
    "tokens": tokens,
    "lengths": lengths,
    "dvfs": dvfs,
    "drivers": drivers,
    "history": history,
    "provenance": provenance,
}
"""Name to what makes its content, in the order of the page; the template of a section has its name."""

REMEDY = "pip install 'energyaware[report]'"


def available() -> bool:
    """Whether pages can be made: Jinja2 is installed."""
    return importlib.util.find_spec("jinja2") is not None


def contents(material: Material, only: Collection[str] = SECTIONS) -> dict[str, Content]:
    """The sections among `only` that have something to show."""
    found = {name: make(material) for name, make in SECTIONS.items() if name in only}
    return {name: content for name, content in found.items() if content is not None}


def render(material: Material, only: Collection[str] = SECTIONS, title: str = "") -> str:
    """The page.

    Its policy (`Content-Security-Policy`) allows the scripts and the style in it by their hashes and nothing else: what
    a name smuggles in is neither run nor loaded, and no request leaves the page.

    Args:
        only: names of the sections that are wanted.
        title: of the page; without it the branch and the day of the run.

    Raises:
        OptionError: Jinja2 is not installed.
    """
    if not available():
        raise OptionError("the HTML report needs Jinja2, which is not installed", REMEDY)
    import jinja2

    sections = contents(material, only)
    scripts = [_library(), _asset("report.js")]
    style = _asset("report.css")
    data = {
        "charts": [packed(chart) for content in sections.values() for chart in content["charts"]],
        "rounds": rounds(material),
    }
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        title=plain(title) or _title(material),
        meters=plain(said_meters(material.run.benchmarks)),
        sections=sections,
        version=__version__,
        policy=_policy(scripts, style),
        # The template takes these three as they are: two are not the user's, and the third is escaped here.
        scripts=scripts,
        style=style,
        data=_json(data),
        filters=_filters(material),
    )


def _title(material: Material) -> str:
    branch = material.run.branch
    # pytest-benchmark says `(unknown)` and the like outside of git.
    name = f", {branch}" if branch and not branch.startswith("(") else ""
    return plain(f"Energy report{name} {material.run.datetime[:10]}".strip())


def _filters(material: Material) -> dict[str, list[str]]:
    """What the whole page can be narrowed to: values of each filter that has at least two."""
    found: dict[str, dict[str, None]] = {"model": {}, "task": {}, "phase": {}}
    for row, item in material.details:
        bench = item.benchmark
        values = {
            "model": bench.variant.model if bench.variant else row.name, "task": bench.task, "phase": bench.phase,
        }  # fmt: skip
        for name, value in values.items():
            if value:
                found[name][plain(value)] = None
    return {name: sorted(values) for name, values in found.items() if len(values) > 1}


def _asset(name: str) -> str:
    return (files("energyaware.reports") / "assets" / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _library() -> str:
    # Its map is not with us: a browser's tools would look for it.
    return re.sub(r"\n//# sourceMappingURL=.*", "", _asset("chart.umd.min.js"))


def _template(name: str) -> str:
    return (files("energyaware.reports") / "html" / "templates" / name).read_text(encoding="utf-8")


def _policy(scripts: list[str], style: str) -> str:
    hashes = " ".join(_hash(text) for text in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: object) -> str:
    """JSON that cannot end the element that holds it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
