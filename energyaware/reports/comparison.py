"""A comparison of two revisions as text: terminal, Markdown for a pull request, JSON, and GitHub's annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence

from energyaware import __version__
from energyaware.baselines.codec import to_json
from energyaware.baselines.gate import Judgement
from energyaware.branches.comparison import Comparison
from energyaware.reports.columns import escaped, plain
from energyaware.reports.tables import MARKDOWN, gate_table
from energyaware.units import ABSENT, percent, si


def reasons(comparison: Comparison) -> list[str]:
    """Why a verdict is what it is, one line each."""
    lines = [
        f"{plain(item.row)} {item.limit}: {item.verdict}, {plain(item.reason)}"
        for item in comparison.standing.judgements
        if item.reason
    ]
    return [*lines, "the budget ended before everything was decided"] if comparison.unfinished else lines


def provenance(comparison: Comparison) -> str:
    """One line: how it was measured and what that cost."""
    sides = [
        side
        for launch in comparison.launches
        for pair in launch.pairs.values()
        for side in (pair.base, pair.head)
        if side is not None
    ]
    sources = " and ".join(sorted({str(side.source) for side in sides if side.source}))
    meters = "; ".join(sorted({side.meters for side in sides}))
    energy = f"energy {sources} ({meters})" if sides else "nothing could be measured"
    cost = f"{comparison.duration_s / 60:.1f} min"
    if comparison.energy_j is not None:
        cost += f" and {si(comparison.energy_j, 'J')}"
    launches = len(comparison.launches)
    return f"{launches} launch{'' if launches == 1 else 'es'}; {energy}; the comparison took {cost}"


def comparison_text(title: str, comparison: Comparison, width: int | None = None) -> str:
    """For a terminal."""
    table = gate_table(comparison.standing.judgements, width=width)
    return "\n".join([plain(title), table, *reasons(comparison), plain(provenance(comparison))])


def comparison_markdown(title: str, comparison: Comparison) -> str:
    """For a job's summary or a comment on a pull request."""
    notes = [f"- {escaped(line)}" for line in (*reasons(comparison), provenance(comparison))]
    table = gate_table(comparison.standing.judgements, MARKDOWN)
    return "\n".join([f"## {escaped(title)}", "", table, "", *notes]) + "\n"


def comparison_json(comparison: Comparison) -> str:
    """Verdicts and raw launches."""
    return json.dumps(
        {
            "version": __version__,
            "question": to_json(comparison.question),
            "judgements": [to_json(item) for item in comparison.standing.judgements],
            "launches": [to_json(launch) for launch in comparison.launches],
            "duration_s": comparison.duration_s,
            "energy_j": comparison.energy_j,
        }
    )


def github_errors(bad: Sequence[Judgement]) -> list[str]:
    """Workflow commands with which GitHub shows each failure beside the benchmark's file."""
    lines = []
    for item in bad:
        change = ABSENT if item.effect is None else percent(item.effect, signed=True)
        text = _data(f"{item.fullname}: {item.limit} {item.verdict} ({change})")
        lines.append(f"::error file={_property(item.fullname.split('::', 1)[0])},title=energy::{text}")
    return lines


def _data(text: str) -> str:
    """Text of a workflow command; without line ends it can begin no other one."""
    return plain(text).replace("%", "%25")


def _property(text: str) -> str:
    """Value of a workflow command's property."""
    return _data(text).replace(",", "%2C").replace(":", "%3A")
