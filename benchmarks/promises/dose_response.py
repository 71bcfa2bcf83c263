"""The embedded task does not saturate: the more weights are gone, the worse the answers.

Prints, for each embedded model, accuracy and label NLL (nats) of the dense fp32 model, of magnitude pruning at rising
sparsity, of 2:4 and of half the depth, all without recovery, beside the Bayes-optimal reader of the same tickets and
how well that reader's posterior is calibrated. Run: python -m benchmarks.promises.dose_response
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from energyaware.compression.pruning import prune_magnitude, prune_n_m
from energyaware.compression.structured import drop_layers
from energyaware.data.bayes import posterior, reliability
from energyaware.data.network_world import CAUSES, World, build_world
from energyaware.data.simulator import draw_tickets, network_corpus
from energyaware.examples import Dataset, Example
from energyaware.models.catalogue import find
from energyaware.models.loading import load_causal_lm, load_tokenizer
from energyaware.paths import cache_dir
from energyaware.tasks.rca import RcaScores, evaluate
from energyaware.variants.embedded import ensure_trained

_CALIBRATION_BINS = 10

COMPRESSIONS: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("dense", lambda _: None),
    ("magnitude 50 %", lambda model: prune_magnitude(model, 0.5)),
    ("magnitude 70 %", lambda model: prune_magnitude(model, 0.7)),
    ("magnitude 80 %", lambda model: prune_magnitude(model, 0.8)),
    ("magnitude 90 %", lambda model: prune_magnitude(model, 0.9)),
    ("magnitude 2:4", lambda model: prune_n_m(model, 2, 4)),
    ("depth 50 %", lambda model: drop_layers(model, 0.5)),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; the exit status is 1 where a promise of the corpus does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", action="append", help="embedded model; repeatable (default: mini-gpt2, mini-mistral)"
    )
    parser.add_argument("--test", type=int, default=16_000, help="test tickets, drawn apart from the corpus (16000)")
    parser.add_argument("--calibration", type=int, default=20_000, help="tickets for the calibration (20000)")
    parser.add_argument("--seed", type=int, default=0, help="of the corpus")
    options = parser.parse_args(arguments)
    dataset = network_corpus(options.seed)
    world = build_world(options.seed)
    used = {example.text for example in (*dataset.train, *dataset.validation)}
    tickets = draw_tickets(world, options.seed, options.test, "promise", used)
    print(_calibration(world, draw_tickets(world, options.seed, options.calibration, "calibration")))
    kept = True
    for name in options.model or ("mini-gpt2", "mini-mistral"):
        place = ensure_trained(find(name), dataset, cache_dir(), _show)
        table, holds = dose_response(name, place, dataset, tickets, world)
        print(table)
        kept &= holds
    return 0 if kept else 1


def dose_response(
    name: str, place: Any, dataset: Dataset, tickets: Sequence[Example], world: World
) -> tuple[str, bool]:
    """The table of one model, and whether all promises hold for it."""
    truth = [CAUSES.index(ticket.label) for ticket in tickets]
    probabilities = np.array([posterior(ticket.text, world) for ticket in tickets])
    best = float((probabilities.argmax(axis=1) == truth).mean())
    rows: list[tuple[object, ...]] = [
        (
            "Bayes-optimal",
            best,
            _error(best, len(tickets)),
            -np.log(probabilities[range(len(truth)), truth]).mean(),
            "",
            "",
        )
    ]
    model, tokenizer = load_causal_lm(place, dtype=torch.float32), load_tokenizer(place)
    found: dict[str, RcaScores] = {}
    for title, compress in COMPRESSIONS:
        candidate = copy.deepcopy(model)
        compress(candidate)
        scores = found[title] = evaluate(candidate, tokenizer, dataset, tickets, batch_size=64)
        drop, drop_error = _paired(found["dense"].correct, scores.correct)
        rise, rise_error = _paired(scores.nll, found["dense"].nll)
        change = (f"{100 * drop:.1f} ± {196 * drop_error:.1f}", f"{rise:.3f} ± {1.96 * rise_error:.3f}")
        cells = ("", "") if title == "dense" else change
        rows.append((title, scores.accuracy, _error(scores.accuracy, len(tickets)), scores.mean_nll, *cells))
    heads = ("variant", "accuracy", "s.e.", "NLL, nats", "below dense, points", "NLL above dense")
    dose = [found[title].mean_nll for title in ("dense", *(f"magnitude {share} %" for share in (50, 70, 80, 90)))]
    dense = found["dense"]
    rise, rise_error = _paired(found["magnitude 2:4"].nll, dense.nll)
    promises = {
        f"dense within 3 points of Bayes ({100 * (best - dense.accuracy):.1f})": best - dense.accuracy <= 0.03,
        "NLL rises with sparsity": all(a < b for a, b in pairwise(dose)),
        "2:4 below dense: NLL higher beyond its 95 % interval": rise > 1.96 * rise_error,
    }
    lines = [f"## {name}: {len(tickets)} test tickets\n"]
    lines.append(tabulate(rows, heads, tablefmt="github", floatfmt=("", ".4f", ".4f", ".4f", "")))
    lines += ["", *(f"- {promise}: {'holds' if holds else 'DOES NOT HOLD'}" for promise, holds in promises.items()), ""]
    return "\n".join(lines), all(promises.values())


def _calibration(world: World, tickets: Sequence[Example]) -> str:
    bins = reliability(tickets, world, _CALIBRATION_BINS)
    rows = [(f"{b.low:.1f}-{b.high:.1f}", b.count, b.said, b.true, b.standard_error) for b in bins]
    heads = ("probability", "statements", "said", "true", "s.e.")
    table = tabulate(rows, heads, tablefmt="github", floatfmt=("", "", ".4f", ".4f", ".4f"))
    return f"## Calibration of the Bayes-optimal reader: {len(tickets)} tickets\n\n{table}\n"


def _paired(more: Sequence[float], less: Sequence[float]) -> tuple[float, float]:
    """Mean difference over the same tickets, and its standard error."""
    differences = np.array(more, dtype=float) - np.array(less, dtype=float)
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))


def _error(share: float, count: int) -> float:
    """Binomial standard error of a share."""
    return float(np.sqrt(share * (1 - share) / count))


def _show(label: str, done: int, total: int, detail: str = "") -> None:
    print(f"\r{label} {done}/{total} {detail}", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
