"""How long the texts are: the token-length distribution of the examples."""

from __future__ import annotations

from collections import Counter
from typing import Any

from energyaware.reports.charts import Column, Rows, make_chart
from energyaware.reports.html.material import Material

NAMES = {"input_tokens": "input", "output_tokens": "output"}
"""Names of `samples` with one count per example."""

BINS = 20


def tokens(material: Material) -> dict[str, Any] | None:
    """None where no benchmark recorded the lengths of its examples; equal ones are shown once."""
    rows: Rows = []
    seen = set()
    for _, item in material.details:
        bench = item.benchmark
        for name, side in NAMES.items():
            values = bench.samples.get(name, ())
            model = bench.variant.model if bench.variant else bench.row
            key = (bench.task, model, side)
            if values and key not in seen:
                seen.add(key)
                series = f"{model}, {side}"
                rows += [(bench.task, series, *found) for found in histogram(values)]
    chart = make_chart(
        "tokens", "histogram", "Token lengths", "Number of examples by their length in tokens.",
        (
            Column("task", "task"), Column("series", "tokenizer of, side"), Column("from_tokens", "from, tokens"),
            Column("to_tokens", "to, tokens"), Column("examples", "examples"),
        ),
        rows, x="from_tokens", y="examples", series="series", choose="task",
    )  # fmt: skip
    return {"title": "Lengths of the texts", "text": [], "charts": [chart]} if chart else None


def histogram(values: tuple[float, ...]) -> list[tuple[float, float, int]]:
    """Bins of equal width: their lower and upper edge, and how many values lie in them; the last holds its edge too."""
    low, high = min(values), max(values)
    width = max((high - low) / BINS, 1.0)
    counts = Counter(min(int((value - low) / width), BINS - 1) for value in values)
    return [(low + place * width, low + (place + 1) * width, counts[place]) for place in range(max(counts) + 1)]
