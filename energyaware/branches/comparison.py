"""Compares two revisions of a repository: checkouts, launches until decided or out of budget, verdicts."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from energyaware.baselines import git
from energyaware.branches.checkout import (
    Checkout,
    RevisionError,
    check_out,
    overlay,
    prepare,
    working_tree,
)
from energyaware.branches.coordinator import Collected, Launcher, question_of, require_own_code
from energyaware.branches.janitor import Janitor
from energyaware.branches.launches import Journal, Launch, Question
from energyaware.branches.verdicts import Standing, standing
from energyaware.branches.worker import Worker
from energyaware.measure.rounds import invalid
from energyaware.meters.base import Meter
from energyaware.stats.sequential import Plan, planned_looks


@dataclass(frozen=True)
class Settings:
    """What to compare, how, and how long.

    Attributes:
        head: None for the working tree with its uncommitted changes.
        benchmarks_from: `head`: both sides run the head's benchmark files; `own`: each its own.
        prepare: shell command that builds an environment per revision; empty for the one that runs us.
        limits: as the user wrote them, in place of those in the ini file.
        rounds: pairs of rounds per benchmark and launch.
        launches: most launches.
        max_s, max_j: budget, in seconds and joules; a launch that would probably exceed it is not begun.
        pytest_arguments: for both sides.
    """

    base: str
    head: str | None
    benchmarks_from: str
    prepare: str
    limits: tuple[str, ...]
    rounds: int
    launches: int
    max_s: float
    max_j: float
    resume: bool
    pytest_arguments: tuple[str, ...]

    @property
    def shaping(self) -> tuple[str, ...]:
        """What shapes a launch or its verdict: launches of other values are not pooled."""
        return (
            f"--benchmarks-from={self.benchmarks_from}", f"--prepare={self.prepare}", f"--rounds={self.rounds}",
            f"--launches={self.launches}", *(f"--fail={limit}" for limit in self.limits), *self.pytest_arguments,
        )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        duration_s, energy_j: of everything since this process began; joules are None where no meter reads them.
    """

    question: Question
    launches: tuple[Launch, ...]
    standing: Standing
    duration_s: float
    energy_j: float | None


class Progress(Protocol):
    """Hears how far a comparison is."""

    def begin(self, number: int, now: Standing, total: int, left_s: float, energy_j: float | None) -> None:
        """Launch `number` begins; `total` benchmarks are compared (0: not known yet)."""
        ...

    def round(self, name: str, number: int) -> None:
        """A pair of rounds begins."""
        ...


def compare(
    settings: Settings,
    repository: Path,
    folder: Path,
    journal: Journal,
    janitor: Janitor,
    meter: Meter,
    progress: Progress,
) -> Comparison:
    """Launch until every benchmark is decided or the budget is spent.

    Args:
        repository: its top folder.
        folder: where the user stands, inside the repository.
        meter: reads what the comparison itself costs.

    Raises:
        RevisionError: a revision that cannot be compared.
        WorkerError: a side's process ended; finished launches are in the journal.
        StoredRunError: nothing to resume, or the journal cannot be written.
    """
    began_s = time.perf_counter()
    place = Path(tempfile.mkdtemp(prefix="energyaware-compare-"))
    janitor.remove_at_end(place)
    checkouts = {
        "base": check_out(repository, settings.base, place / "base", janitor),
        "head": working_tree(repository)
        if settings.head is None
        else check_out(repository, settings.head, place / "head", janitor),
    }
    inside = folder.resolve().relative_to(repository.resolve())
    arguments, paths = _benchmark_paths(settings.pytest_arguments, repository, inside, checkouts["head"])
    if settings.benchmarks_from == "head":
        overlay(checkouts["head"].root, checkouts["base"].root, paths)
    arguments = (*arguments, *(f"--energy-fail={limit}" for limit in settings.limits))
    pythons = dict.fromkeys(checkouts, Path(sys.executable))
    if settings.prepare:
        pythons = {
            side: prepare(item, settings.prepare, place / f"environment-{side}") for side, item in checkouts.items()
        }

    def start(side: str) -> Worker:
        item = checkouts[side]
        return Worker(item, pythons[side], arguments, item.root / inside, place / f"{side}.log", janitor)

    rng = random.Random()  # noqa: S311 - an order of rounds, no secret
    launcher = Launcher(checkouts, start, rounds=settings.rounds, rng=rng, watch=progress.round)
    state = _State(journal, checkouts, settings)
    if settings.resume:
        state.resume()
    own_s, own_j, measured = 0.0, 0.0, 0
    unread = False
    while True:
        now = state.standing(ended=False)
        if state.question is not None and not now.open:
            break
        # As dear as those so far: what would exceed the budget is not begun.
        share = (measured + 1) / measured if measured else 0.0
        if own_s * share > settings.max_s or own_j * share > settings.max_j:
            break
        total = len(state.question.ids) if state.question else 0
        progress.begin(len(state.launches) + 1, now, total, settings.max_s - own_s, None if unread else own_j)
        mark = meter.start()
        launch, imported = launcher.launch(state.ask)
        spent = meter.stop(mark)
        if invalid(spent, meter.domains) is None:
            launch = replace(launch, energy_j=sum(spent.values()))
            own_j += sum(spent.values())
        else:
            unread = True
        if not measured:
            require_own_code(checkouts, imported, _tracked(checkouts["head"], paths))
        state.add(launch)
        measured += 1
        own_s = time.perf_counter() - began_s
    if state.question is None:
        raise RuntimeError("the first launch asks the question")
    return Comparison(
        state.question,
        tuple(state.launches),
        state.standing(ended=True),
        time.perf_counter() - began_s,
        None if unread else own_j,
    )


class _State:
    """The question, which the first launch asks, and the launches so far, all kept in the journal."""

    def __init__(self, journal: Journal, checkouts: Mapping[str, Checkout], settings: Settings) -> None:
        self.question: Question | None = None
        self.launches: list[Launch] = []
        self._journal = journal
        self._checkouts = checkouts
        self._shaping = settings.shaping
        self._plan = Plan(planned_looks(settings.launches))

    def resume(self) -> None:
        """Take up what the journal holds."""
        identities = self._checkouts["base"].identity, self._checkouts["head"].identity
        self.question, self.launches = self._journal.resume(*identities, self._shaping)

    def standing(self, *, ended: bool) -> Standing:
        """How it stands; nothing before the first launch."""
        if self.question is None:
            return Standing((), ())
        return standing(self.question, self.launches, self._plan, ended=ended)

    def ask(self, found: Mapping[str, Collected]) -> Sequence[str]:
        """The benchmarks that a launch runs."""
        if self.question is not None:
            return self.standing(ended=False).open
        self.question = question_of(self._checkouts, self._shaping, found)
        self._journal.begin(self.question)
        return self.question.ids

    def add(self, launch: Launch) -> None:
        """Keep a finished launch."""
        self._journal.add(launch)
        self.launches.append(launch)


def _benchmark_paths(
    arguments: Sequence[str], repository: Path, inside: Path, head: Checkout
) -> tuple[tuple[str, ...], list[Path]]:
    """Arguments for pytest, and the paths among them relative to the repository's top.

    Without a path `benchmarks` is meant, where there is one.

    Raises:
        RevisionError: a path outside the repository.
    """
    paths = []
    for argument in arguments:
        file = argument.split("::", 1)[0]
        place = (repository / inside / file).resolve()
        if argument.startswith("-") or not (head.root / inside / file).exists():
            continue
        if Path(file).is_absolute() or not place.is_relative_to(repository.resolve()):
            raise RevisionError(
                f"{argument} is no path inside the repository, so no checkout has it",
                "give paths relative to the folder you are in",
            )
        paths.append(place.relative_to(repository.resolve()))
    if not paths and (head.root / inside / "benchmarks").is_dir():
        return ("benchmarks", *arguments), [inside / "benchmarks"]
    return tuple(arguments), paths


def _tracked(head: Checkout, benchmarks: Sequence[Path]) -> list[str]:
    names = (git.output(head.root, "ls-files", "-z") or "").split("\0")
    return [name for name in names if name and not any(Path(name).is_relative_to(path) for path in benchmarks)]
