"""What a dataset holds, in numbers and in a few lines: rows, labels, repeated texts, lengths (the paper's Figure 1)."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from energyaware.data.display import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized

    from energyaware.examples import Dataset, Example

_BINS = 20
_SHOWN_LABELS = 12
_LABEL_CHARACTERS = 60
_TOGETHER = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long texts are.

    Attributes:
        unit: `tokens` of the tokenizer that was given, or `words` between white space.
        p5, p50, p95: quantiles, as numpy interpolates them.
        longest: the greatest length.
        total: the sum of all lengths.
        bin_edges: of a histogram with bins of equal width; one more than there are bins.
        bin_counts: texts per bin; the last bin holds its upper edge too.
    """

    unit: str
    p5: float
    p50: float
    p95: float
    longest: int
    total: int
    bin_edges: tuple[float, ...]
    bin_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What a dataset holds.

    Attributes:
        name, task, fingerprint: the dataset's own.
        train, validation, test: numbers of rows.
        labels: each label with its number of rows, the most frequent first; empty where answers are free text.
        repeated: rows whose text and question another row has too. Exact duplicates are dropped when a file is read;
            the notes count them.
        inputs: lengths of text, question and options together.
        answers: lengths of the reference answers; None where answers are labels, options, or none.
        ceiling: best possible accuracy, None where it is not known.
        notes: the dataset's own.
    """

    name: str
    task: str
    fingerprint: str
    train: int
    validation: int
    test: int
    labels: tuple[tuple[str, int], ...]
    repeated: int
    inputs: Lengths
    answers: Lengths | None
    ceiling: float | None
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return self.train + self.validation + self.test


def summarize(dataset: Dataset, tokenize: Callable[[str], Sized] | None = None) -> DatasetSummary:
    """Count what a dataset holds.

    Args:
        dataset: with at least one row.
        tokenize: gives the tokens of a text, for instance a tokenizer's `encode`; None splits at white space.

    Raises:
        ValueError: a dataset without rows.
    """
    examples = (*dataset.train, *dataset.validation, *dataset.test)
    if not examples:
        raise ValueError(f"the dataset {dataset.name} has no rows")
    counts = Counter(example.label for example in examples) if dataset.labels else Counter()
    free_text = not dataset.labels and any(example.label and not example.options for example in examples)
    return DatasetSummary(
        name=dataset.name,
        task=dataset.task,
        fingerprint=dataset.fingerprint,
        train=len(dataset.train),
        validation=len(dataset.validation),
        test=len(dataset.test),
        labels=tuple(sorted(((label, counts[label]) for label in dataset.labels), key=lambda item: -item[1])),
        repeated=len(examples) - len({(example.text, example.question) for example in examples}),
        inputs=_lengths([_input(example) for example in examples], tokenize),
        answers=_lengths([example.label for example in examples], tokenize) if free_text else None,
        ceiling=dataset.ceiling,
        notes=dataset.notes,
    )


def summary_text(summary: DatasetSummary, width: int | None = None) -> str:
    """A few lines for the terminal, the last without a line end. Names out of files are cut and made printable.

    Args:
        width: longer lines are broken there, further ones indented; a label and its count stay together. None: never.
    """
    rows = f"{summary.train:,} train, {summary.validation:,} validation, {summary.test:,} test"
    head = f"{one_line(summary.name)} ({summary.task})"
    lines = [f"{head}: {summary.rows:,} rows: {rows}; fingerprint {summary.fingerprint[:12]}"]
    if summary.labels:
        shown = [
            f"{one_line(label, _LABEL_CHARACTERS)} {count:,} ({count / summary.rows:.1%})".replace(" ", _TOGETHER)
            for label, count in summary.labels[:_SHOWN_LABELS]
        ]
        more = len(summary.labels) - len(shown)
        lines.append(f"{len(summary.labels)} labels: {', '.join(shown)}{f' and {more} more' if more else ''}")
    if summary.repeated:
        lines.append(f"{summary.repeated:,} rows repeat the text of another")
    lines.append(_length_line("input", summary.inputs))
    if summary.answers is not None:
        lines.append(_length_line("reference answer", summary.answers))
    if summary.ceiling is not None:
        lines.append(f"best possible accuracy: {summary.ceiling:.3f}")
    lines.extend(f"note: {one_line(note, 1000)}" for note in summary.notes)
    if width is not None:
        lines = [
            part
            for line in lines
            for part in textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
        ]
    return "\n".join(lines).replace(_TOGETHER, " ")


def _input(example: Example) -> str:
    return "\n".join(part for part in (example.text, example.question, *example.options) if part)


def _lengths(texts: Sequence[str], tokenize: Callable[[str], Sized] | None) -> Lengths:
    counts = np.array([len(tokenize(text) if tokenize else text.split()) for text in texts])
    p5, p50, p95 = (float(value) for value in np.quantile(counts, (0.05, 0.5, 0.95)))
    bin_counts, edges = np.histogram(counts, bins=_BINS)
    return Lengths(
        unit="tokens" if tokenize else "words",
        p5=p5,
        p50=p50,
        p95=p95,
        longest=int(counts.max()),
        total=int(counts.sum()),
        bin_edges=tuple(float(edge) for edge in edges),
        bin_counts=tuple(int(count) for count in bin_counts),
    )


def _length_line(what: str, lengths: Lengths) -> str:
    return (
        f"{lengths.unit} per {what}: 5 % up to {lengths.p5:.0f}, median {lengths.p50:.0f}, 95 % up to "
        f"{lengths.p95:.0f}, longest {lengths.longest:,}; {lengths.total:,} in all"
    )
