"""Seeded train, validation and test splits that no duplicate and no group straddles."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from energyaware.errors import DataError
from energyaware.examples import Dataset, Example

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 0.1

Splits = tuple[tuple[Example, ...], tuple[Example, ...], tuple[Example, ...]]


def content_id(*fields: str) -> str:
    """Sixteen hex digits (64 bits of SHA-256) that name a row by what it says, whatever line it stands on."""
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def fingerprint(train: Iterable[Example], validation: Iterable[Example], test: Iterable[Example]) -> str:
    """SHA-256 (64 hex digits) over every split's ids, texts, labels, questions and options, in order."""
    digest = hashlib.sha256()
    for name, split in (("train", train), ("validation", validation), ("test", test)):
        for example in split:
            fields: list[object] = [name, example.id, example.text, example.label]
            if example.question or example.options:
                # Only then: cached models and stored runs hold fingerprints from before there were any.
                fields += [example.question, example.options]
            # JSON, because its quoting leaves no two different splits with the same bytes.
            digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels: whole numbers by value and before words, words by alphabet."""
    return tuple(
        sorted(set(labels), key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label))
    )


def merge_duplicates(examples: Iterable[Example]) -> tuple[list[Example], list[str]]:
    """Keep one example of each id (the id names the content), and say what was dropped.

    Where copies disagree on the label, the label of most copies stays, among equals the first of `sorted_labels`.
    Copies that belong to different groups tie these groups together.

    Returns:
        The distinct examples, sorted by id, and the notes. Two examples that share a text or tied groups have the same
        `group` afterwards.
    """
    copies: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        copies[example.id].append(example)
    merged: list[Example] = []
    dropped = conflicts = 0
    ties = _Ties()
    for identifier, same in sorted(copies.items()):
        votes = Counter(example.label for example in same)
        most = max(votes.values())
        label = sorted_labels(label for label, count in votes.items() if count == most)[0]
        dropped += len(same) - 1
        conflicts += len(votes) > 1
        # Copies ask the same, but may have its options in another order: the copy with the kept label is kept.
        merged.append(next(example for example in sorted(same, key=_content) if example.label == label))
        ties.join(("id", identifier), _read(same[0]))
        for example in same:
            if example.group:
                ties.join(("id", identifier), ("group", example.group))
    notes = []
    if dropped:
        notes.append(f"{dropped} exact duplicates of another row dropped, {len(merged)} rows are left")
    if conflicts:
        notes.append(f"{conflicts} duplicated rows disagreed on the label; the most frequent label was kept")
    texts = len({_read(example) for example in merged})
    if texts < len(merged):
        notes.append(f"{len(merged)} rows make {texts} different texts; rows of one text stay in one split")
    members: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for example in merged:
        members[ties.root(("id", example.id))].append(example.id)
    name = {identifier: min(ids) for ids in members.values() for identifier in ids}
    return [dataclasses.replace(example, group=name[example.id]) for example in merged], notes


def split_dataset(
    name: str,
    examples: Iterable[Example],
    *,
    seed: int = 0,
    assigned: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    task: str = "rca",
    closed: bool = True,
) -> Dataset:
    """Merge duplicates, split, and put together the dataset.

    Without `assigned`, groups (see `merge_duplicates`) are drawn into test (20 %), validation (10 % of what is left)
    and train, label by label where the answers are labels. The draw depends on the seed and the contents only, not on
    the order of the rows.

    Args:
        name: what the dataset is called.
        examples: rows whose id names their content, so that duplicates share it; `group` may be empty.
        seed: another seed draws another split.
        assigned: the author's own split, `train`, `validation` or `test`, by example id. Rows of train and validation
            that share a text or group with a row of test are dropped and counted, likewise rows of train against
            validation. Where there is no test split, validation takes its place; without a validation split, 10 % of
            train is carved out for it.
        notes: what the reader already has to say about the data.
        task: name of the task that the data is for.
        closed: whether answers are labels out of one small set; else they are free texts or options, each its own,
            and nothing is drawn by them.

    Raises:
        DataError: no row, a split without one; where `closed`, fewer than two labels, or a label of validation or test
            unknown to train.
    """
    merged, merge_notes = merge_duplicates(examples)
    labels = sorted_labels(example.label for example in merged) if closed else ()
    if not merged or (closed and len(labels) < 2):
        found = f"only the label {labels[0]!r}" if labels else "no row"
        raise DataError(f"{name} holds {found}", "give a file with rows" + " of at least two labels" * closed)
    more_notes: list[str] = []
    if assigned is None:
        splits = draw_splits(merged, seed=seed, by_label=closed)
    else:
        splits, more_notes = _given_splits(merged, assigned, seed, by_label=closed)
    train, validation, test = splits
    for split_name, split in (("train", train), ("test", test), ("validation", validation)):
        if not split:
            if closed and 2 * len(labels) > len(merged):
                raise DataError(
                    f"{name} has {len(labels)} labels in {len(merged)} distinct rows; none is left for {split_name}",
                    "map the column that holds the class (label=COLUMN); free-text answers belong to other tasks",
                )
            raise DataError(
                f"{name} has {len(merged)} distinct rows, which leaves none for {split_name}",
                f"give more rows{' of each label' * closed}, or name a column that holds train, validation and test "
                "(:split=COLUMN)",
            )
    unknown = sorted_labels({e.label for e in (*validation, *test)} - {e.label for e in train})
    if closed and unknown:
        raise DataError(
            f"{name} has labels in validation or test that train lacks: {', '.join(map(repr, unknown[:5]))}",
            "move rows of these labels to train, or leave the split to energyaware",
        )
    return Dataset(
        name=name,
        fingerprint=fingerprint(*splits),
        labels=labels,
        train=train,
        validation=validation,
        test=test,
        notes=(*notes, *merge_notes, *more_notes),
        task=task,
    )


def draw_splits(
    examples: Sequence[Example],
    *,
    seed: int,
    test_fraction: float = TEST_FRACTION,
    validation_fraction: float = VALIDATION_FRACTION,
    by_label: bool = True,
) -> Splits:
    """Draw whole groups into train, validation and test, label by label or from all together.

    A group counts for its most frequent label. Each label's test share is met to within half of a group, and no label
    is ever absent from train.

    Args:
        examples: distinct examples; an empty `group` is a group of its own.
        seed: of the draw.
        test_fraction: share of each label's examples for test.
        validation_fraction: share of the examples that are not for test.
        by_label: False for answers that are free texts.
    """
    groups: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.group or f"\0{example.id}"].append(example)
    strata: defaultdict[str, list[str]] = defaultdict(list)
    for group, members in groups.items():
        votes = Counter(example.label if by_label else "" for example in members)
        strata[min(votes, key=lambda label: (-votes[label], label))].append(group)
    splits: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for chosen in strata.values():
        total = sum(len(groups[group]) for group in chosen)
        targets = {"test": test_fraction * total, "validation": validation_fraction * (1 - test_fraction) * total}
        taken: Counter[str] = Counter()
        for group in sorted(chosen, key=lambda group: _lot(seed, group)):
            size = len(groups[group])
            # Half of the group: the share ends as near to its target as whole groups allow.
            fits = (split for split, target in targets.items() if taken[split] + size / 2 <= target)
            split = next(fits, "train")
            taken[split] += size
            splits[split].extend(groups[group])
    return _ordered(splits, seed)


def _given_splits(
    merged: Sequence[Example], assigned: Mapping[str, str], seed: int, *, by_label: bool
) -> tuple[Splits, list[str]]:
    splits: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    named = {assigned[example.id] for example in merged}
    # Public datasets often keep the answers of test to themselves.
    without_test = named == {"train", "validation"}
    taken: set[str] = set()
    dropped = 0
    for name in ("test", "validation", "train"):
        source = {"test": "validation", "validation": "test"}.get(name, name) if without_test else name
        of_this_split = [example for example in merged if assigned[example.id] == source]
        splits[name] = [example for example in of_this_split if example.group not in taken]
        dropped += len(of_this_split) - len(splits[name])
        taken.update(example.group for example in splits[name])
    notes = []
    if dropped:
        notes.append(f"{dropped} rows shared a text or a group with a row of a later split and were dropped")
    if without_test:
        notes.append("no row is marked test; the rows of validation are tested on")
    if not splits["validation"]:
        # A test share of nothing: what is drawn is train and validation only.
        train, validation, _ = draw_splits(splits["train"], seed=seed, test_fraction=0.0, by_label=by_label)
        splits["train"], splits["validation"] = list(train), list(validation)
        notes.append(f"no row is left to validate on; {len(validation)} rows of train were set aside for it")
    return _ordered(splits, seed), notes


def _ordered(splits: Mapping[str, Sequence[Example]], seed: int) -> Splits:
    """The same order for the same content and seed, whatever the order of the rows; labels come mixed."""
    train, validation, test = (
        tuple(sorted(splits[name], key=lambda example: _lot(seed, example.id)))
        for name in ("train", "validation", "test")
    )
    return train, validation, test


def _read(example: Example) -> tuple[str, str]:
    """What must not be read in two splits: the text, or the question where there is no text."""
    return ("text", example.text) if example.text else ("question", example.question)


def _content(example: Example) -> tuple[str, str, tuple[str, ...]]:
    return example.text, example.question, example.options


def _lot(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{key}".encode()).digest()


class _Ties:
    """Disjoint sets (union-find with path halving) of (kind, name) nodes."""

    def __init__(self) -> None:
        self._parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(self, node: tuple[str, str]) -> tuple[str, str]:
        self._parent.setdefault(node, node)
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        self._parent[self.root(one)] = self.root(other)
