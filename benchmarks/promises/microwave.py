"""Compare a small language model, fine-tuned on tickets made from an alarm table, with a forest on the raw numbers.

    python -m benchmarks.promises.microwave ../shared/data/microwave_failures.csv --model mini-gpt2

Each split drops duplicate rows and keeps rows of the same text together, so no model meets a test ticket in training.
The forest, the logistic regression and the language model learn from the same rows, the 80 % that are not for test:
nothing is tuned on the validation rows, so they join the training rows. Prints a Markdown table; the exit status is 1
where the language model's mean accuracy is more than 2 points below the forest's.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from energyaware.data.alarm_table import alarm_values
from energyaware.data.source import load_dataset
from energyaware.data.splits import fingerprint
from energyaware.errors import EnergyAwareError
from energyaware.models.catalogue import find
from energyaware.models.loading import load_causal_lm, load_tokenizer
from energyaware.paths import cache_dir
from energyaware.tasks.rca import evaluate
from energyaware.variants.embedded import ensure_finetuned, ensure_trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from energyaware.examples import Dataset, Example

MARGIN = 0.02
BATCH = 64


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Test accuracies of one split, in [0, 1].

    `finetune_s` is wall time and None where a finished model was found in the cache.
    """

    seed: int
    train_rows: int
    test_rows: int
    forest: float
    logistic: float
    language_model: float
    finetune_s: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("table", type=Path, help="CSV file of alarm_* columns and a label")
    parser.add_argument("--model", default="mini-gpt2", help="embedded model to fine-tune")
    parser.add_argument("--splits", type=int, default=5, help="how many splits, drawn with the seeds 0, 1, …")
    options = parser.parse_args(arguments)
    try:
        results = run(options.table, options.model, options.splits)
    except EnergyAwareError as error:
        print(error, file=sys.stderr)
        return 2
    print(render(results, options.model))
    return 0 if promise_holds(results) else 1


def run(table: Path, model: str, splits: int) -> list[SplitResult]:
    """Train and score everything on the splits of the seeds 0 to `splits` - 1.

    Raises:
        EnergyAwareError: a table or model that cannot be used.
    """
    spec = find(model)
    values = alarm_values(table)
    with _Bar() as progress:
        base = ensure_trained(spec, load_dataset("network"), cache_dir(), progress)
    results = []
    for seed in range(splits):
        dataset = without_validation(load_dataset(str(table), seed=seed))
        forest, logistic = tabular_accuracies(dataset, values, seed)
        with _Bar() as progress:
            began = time.perf_counter()
            tuned = ensure_finetuned(base, dataset, cache_dir(), progress)
            finetune_s = time.perf_counter() - began if progress.moved else None
        language_model = evaluate(load_causal_lm(tuned), load_tokenizer(tuned), dataset, dataset.test, BATCH).accuracy
        sizes = len(dataset.train), len(dataset.test)
        results.append(SplitResult(seed, *sizes, forest, logistic, language_model, finetune_s))
    return results


def without_validation(dataset: Dataset) -> Dataset:
    """The same test split, with the validation rows among the training rows."""
    train = (*dataset.train, *dataset.validation)
    return replace(dataset, train=train, validation=(), fingerprint=fingerprint(train, (), dataset.test))


def tabular_accuracies(dataset: Dataset, values: Mapping[str, Sequence[float]], seed: int) -> tuple[float, float]:
    """Test accuracy of a random forest (300 trees) and of a logistic regression on standardised columns.

    Args:
        dataset: the split.
        values: the numeric columns of each example, by its id.
        seed: of the forest.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def arrays(examples: Sequence[Example]) -> tuple[Any, list[str]]:
        return np.array([values[e.id] for e in examples]), [e.label for e in examples]

    forest = RandomForestClassifier(n_estimators=300, random_state=seed)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    forest_accuracy, logistic_accuracy = (
        float(classifier.fit(*arrays(dataset.train)).score(*arrays(dataset.test))) for classifier in (forest, logistic)
    )
    return forest_accuracy, logistic_accuracy


def promise_holds(results: Sequence[SplitResult]) -> bool:
    """Whether the language model's mean accuracy is at most `MARGIN` below the forest's."""
    gap = np.mean([r.forest for r in results]) - np.mean([r.language_model for r in results])
    return bool(gap <= MARGIN + 1e-12)


def render(results: Sequence[SplitResult], model: str) -> str:
    """The results as a Markdown table with their means, and the promise beneath it."""
    rows = [
        [r.seed, r.train_rows, r.test_rows, r.forest, r.logistic, r.language_model, _seconds(r.finetune_s)]
        for r in results
    ]
    means = [float(np.mean([row[column] for row in rows])) for column in (3, 4, 5)]
    rows.append(["mean", "", "", *means, ""])
    header = ["split", "train", "test", "random forest", "logistic regression", model, "fine-tuning"]
    table = tabulate(rows, header, tablefmt="github", floatfmt=".3f")
    difference = 100 * (means[2] - means[0])
    promise = f"{model} lies {abs(difference):.1f} points {'above' if difference >= 0 else 'below'} the forest"
    verdict = "holds" if promise_holds(results) else "is broken"
    return f"{table}\n\n{promise}; the promise (at most {100 * MARGIN:.0f} points below) {verdict}."


def _seconds(duration_s: float | None) -> str:
    return "cached" if duration_s is None else f"{duration_s:.0f} s"


class _Bar:
    """A progress bar on standard error that appears with the first step, and knows whether there was one."""

    def __init__(self) -> None:
        self.moved = False
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, label: str, done: int, total: int, detail: str = "") -> None:
        self.moved = True
        if self._bar is None:
            self._bar = tqdm(desc=label)
        self._bar.total = total
        self._bar.set_postfix_str(detail, refresh=False)
        self._bar.update(done - self._bar.n)


if __name__ == "__main__":
    sys.exit(main())
