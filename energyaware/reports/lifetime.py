"""Fine-tuning, and fine-tuning with inference added up, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from energyaware.ranking.lifetime import Amount, BreakEven, Cost, break_evens, ordered
from energyaware.ranking.tuning import Tuning
from energyaware.reports.columns import escaped, plain
from energyaware.reports.tables import MARKDOWN, TERMINAL
from energyaware.units import ABSENT, fixed, percent, si

TUNING_HEADS = (
    "variant", "epochs", "J/epoch", "training loss", "validation loss", "J to target", "target", "trainable", "memory",
)  # fmt: skip
LIFETIME_HEADS = ("variant", "fine-tuning", "J/request", "total", "±", "quality", "break-even with the best")


def tuning_table(found: Sequence[Tuning], style: str = TERMINAL) -> str:
    """One line per fine-tuning: its epochs' joules and losses, and what its target took."""
    lines = []
    for item in found:
        joules = ABSENT if item.epoch_j is None else si(sum(item.epoch_j) / len(item.epoch_j), "J")
        lines.append(
            [
                plain(item.row),
                str(len(item.validation_loss)),
                joules,
                _course(item.training_loss),
                _course(item.validation_loss),
                si(item.joules_to_target, "J"),
                fixed(item.target_loss),
                si(None if item.trainable_parameters is None else float(item.trainable_parameters), ""),
                si(None if item.peak_memory_bytes is None else float(item.peak_memory_bytes), "B"),
            ]
        )
    return _table(TUNING_HEADS, lines, style)


def lifetime_table(found: Sequence[Cost], requests: int, style: str = TERMINAL) -> str:
    """One line per variant, the least total first; the last column is the break-even with the first line."""
    points = {
        (item.cheaper if item.dearer == _best(found, requests) else item.dearer): item
        for item in break_evens(found, requests)
    }
    lines = []
    for cost in ordered(found, requests):
        total = cost.total_j(requests)
        lines.append(
            [
                plain(cost.row),
                si(cost.finetune_j.value, "J"),
                si(cost.request_j.value, "J"),
                si(total.value, "J"),
                _relative(total),
                fixed(cost.quality),
                break_even_text(points[cost.row]) if cost.row in points else ABSENT,
            ]
        )
    return _table(LIFETIME_HEADS, lines, style)


def break_even_text(point: BreakEven) -> str:
    """From how many requests on which variant costs less."""
    dearer, cheaper = plain(point.dearer), plain(point.cheaper)
    if point.requests is None:
        return f"{cheaper} costs less for any number"
    high = "?" if point.high is None else f"{point.high:.3g}"
    low = "?" if point.low is None else f"{point.low:.3g}"
    return f"{dearer} costs less from {point.requests:.3g} requests on [{low}, {high}]"


def _best(found: Sequence[Cost], requests: int) -> str:
    return ordered(found, requests)[0].row


def _course(losses: Sequence[float]) -> str:
    return " → ".join(f"{loss:.3f}" for loss in losses) or ABSENT


def _relative(amount: Amount) -> str:
    return ABSENT if amount.half_width is None or not amount.value else percent(amount.half_width / amount.value)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], style: str) -> str:
    cells = [[escaped(cell) for cell in line] for line in lines] if style == MARKDOWN else lines
    return tabulate(cells, headers=heads, tablefmt=style, disable_numparse=True)
