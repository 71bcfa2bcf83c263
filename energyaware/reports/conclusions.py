"""Do the papers' conclusions hold here? As lines for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from energyaware.ranking.conclusions import Conclusion
from energyaware.reports.columns import plain

TITLE = "Do the papers' conclusions hold here?"


def conclusion_lines(found: Sequence[Conclusion]) -> list[str]:
    """One line per claim: verdict, claim, the rows that say so, and why."""
    lines = []
    for item in found:
        rows = f" ({', '.join(map(plain, item.rows))})" if item.rows else ""
        lines.append(f"{item.verdict}: {item.claim}{rows}: {plain(item.reason)}")
    return lines
