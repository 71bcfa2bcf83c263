"""Fine-tuning, and fine-tuning with inference added up, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from energyaware.ranking.lifetime import Amount, BreakEven, Cost, break_evens, ordered
from energyaware.ranking.tuning import Tuning
from energyaware.reports.columns import plain
from energyaware.reports.tables import TERMINAL, fitted
from energyaware.units import ABSENT, fixed, percent, si

# What goes first when the terminal is narrow.
_TUNING_DROP_ORDER = ("memory", "training loss", "trainable", "target", "epochs", "J to target")
_LIFETIME_DROP_ORDER = ("±", "quality", "fine-tuning", "J/request")


def tuning_table(found: Sequence[Tuning], style: str = TERMINAL, width: int | None = None) -> str:
    """One line per fine-tuning: its epochs' joules and losses, and what its target took.

    Args:
        width: no wider than that, as long as columns can be left out.
    """
    lines = [
        {
            "variant": plain(item.row),
            "epochs": str(len(item.validation_loss)),
            "J/epoch": ABSENT if item.epoch_j is None else si(sum(item.epoch_j) / len(item.epoch_j), "J"),
            "training loss": _course(item.training_loss),
            "validation loss": _course(item.validation_loss),
            "J to target": si(item.joules_to_target, "J"),
            "target": fixed(item.target_loss),
            "trainable": si(None if item.trainable_parameters is None else float(item.trainable_parameters), ""),
            "memory": si(None if item.peak_memory_bytes is None else float(item.peak_memory_bytes), "B"),
        }
        for item in found
    ]
    return _table(lines, _TUNING_DROP_ORDER, style, width)


def lifetime_table(found: Sequence[Cost], requests: int, style: str = TERMINAL, width: int | None = None) -> str:
    """One line per variant, the least total first; the last column compares each with the first line.

    Args:
        width: no wider than that, as long as columns can be left out.
    """
    costs = ordered(found, requests)
    points = break_evens(found, requests)
    lines = []
    for cost, point in zip(costs, (None, *points), strict=True):
        total = cost.total_j(requests)
        lines.append(
            {
                "variant": plain(cost.row),
                "fine-tuning": si(cost.finetune_j.value, "J"),
                "J/request": si(cost.request_j.value, "J"),
                "total": si(total.value, "J"),
                "±": _relative(total),
                "quality": fixed(cost.quality),
                "against the first line": ABSENT if point is None else break_even_text(point, cost.row),
            }
        )
    return _table(lines, _LIFETIME_DROP_ORDER, style, width)


def break_even_text(point: BreakEven, row: str) -> str:
    """From how many requests on `row` costs less, or more, than the other variant of the pair."""
    kind = "less" if row == point.dearer else "more"
    if point.requests is None:
        return f"costs {'more' if kind == 'less' else 'less'} for any number"
    if point.requests == 0:  # both rest on the same fine-tuning
        return f"costs {kind} for any number"
    return f"costs {kind} from {_number(point.requests)} on [{_number(point.low)}, {_number(point.high)}]"


def _number(requests: float | None) -> str:
    if requests is None:
        return "?"
    return f"{requests:.3g}" if requests < 1000 else si(requests, "").rstrip()


def _course(losses: Sequence[float]) -> str:
    return " → ".join(f"{loss:.3f}" for loss in losses) or ABSENT


def _relative(amount: Amount) -> str:
    return ABSENT if amount.half_width is None or not amount.value else percent(amount.half_width / amount.value)


def _table(lines: Sequence[dict[str, str]], droppable: Sequence[str], style: str, width: int | None) -> str:
    table = {title: [title, *(line[title] for line in lines)] for title in lines[0]}
    return fitted(table, droppable, width, style)
