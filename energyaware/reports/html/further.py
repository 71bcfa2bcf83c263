"""What follows the rankings in the terminal, as tables: fine-tuning, its total cost, who was pruned, conclusions."""

from __future__ import annotations

from typing import Any

from energyaware.reports.columns import plain
from energyaware.reports.html.material import Material
from energyaware.reports.sections import Section
from energyaware.reports.tables import TABBED


def further(material: Material) -> dict[str, Any] | None:
    """None where the run has no such section."""
    if not material.sections:
        return None
    return {"title": "Fine-tuning, selection, conclusions", "parts": [*map(_part, material.sections)], "charts": []}


def _part(section: Section) -> dict[str, Any]:
    heads: list[str] = []
    rows: list[list[str]] = []
    if section.table is not None:
        heads, *rows = [line.split("\t") for line in section.table(TABBED, None).splitlines()]
    title = plain(section.title)
    return {"title": title[:1].upper() + title[1:], "heads": heads, "rows": rows, "lines": [*map(plain, section.lines)]}
