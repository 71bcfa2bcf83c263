"""Compares two revisions of a repository: checkouts, launches until decided or out of budget, verdicts."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from energyaware.baselines import git
from energyaware.branches.chance import seeded
from energyaware.branches.checkout import (
    PREFIX,
    Checkout,
    check_out,
    import_roots,
    only_comparison,
    overlay,
    prepare,
    require_unchanged,
    working_tree,
)
from energyaware.branches.coordinator import Collected, Launcher, Start, question_of, require_own_code
from energyaware.branches.janitor import Janitor
from energyaware.branches.launches import Journal, Launch, Question
from energyaware.branches.verdicts import Standing, standing
from energyaware.branches.worker import Worker
from energyaware.errors import OptionError, RevisionError, StoredRunError, WorkerError
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

    def shaping(self, inside: Path) -> tuple[str, ...]:
        """What shapes a launch or its verdict: launches of other values are not pooled.

        Args:
            inside: where the user stands, relative to the repository's top.
        """
        return (
            f"--benchmarks-from={self.benchmarks_from}", f"--prepare={self.prepare}", f"--rounds={self.rounds}",
            f"--launches={self.launches}", *(f"--fail={limit}" for limit in self.limits), str(inside),
            *self.pytest_arguments,
        )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        unfinished: further launches could decide more: the budget ended it.
        duration_s, energy_j: of everything since this process began; joules are None where no meter reads them.
    """

    question: Question
    launches: tuple[Launch, ...]
    standing: Standing
    unfinished: bool
    duration_s: float
    energy_j: float | None


class Progress(Protocol):
    """Hears how far a comparison is."""

    def preparing(self, what: str) -> None:
        """Something begins that comes before the first launch."""
        ...

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
        OptionError: pytest arguments that leave open what the benchmarks are.
        RevisionError: a revision that cannot be compared, or another comparison that runs.
        WorkerError: a side's process ended; finished launches are in the journal.
        StoredRunError: nothing to resume, or the journal cannot be written.
    """
    began_s = time.perf_counter()
    inside = folder.resolve().relative_to(repository.resolve())
    with only_comparison(repository):
        sides = _set_up(settings, repository, inside, janitor, progress)
        rng = random.Random()  # noqa: S311 - an order of rounds, no secret
        launcher = Launcher(sides.checkouts, sides.start, rounds=settings.rounds, rng=rng, watch=progress.round)
        state = _State(journal, sides.checkouts, settings, inside)
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
            try:
                launch, imported = launcher.launch(state.ask)
            except WorkerError as error:
                raise WorkerError(error.cause, f"{journal.outlook}. {error.remedy}") from error
            except OSError as error:
                raise WorkerError(f"a process cannot be started ({error})", journal.outlook) from error
            spent = meter.stop(mark)
            if invalid(spent, meter.domains) is None:
                launch = replace(launch, energy_j=sum(spent.values()))
                own_j += sum(spent.values())
            else:
                unread = True
            if not measured:
                require_own_code(sides.checkouts, imported, _tracked(sides.checkouts["head"], sides.paths))
            if settings.head is None:
                require_unchanged(sides.checkouts["head"])
            state.add(launch)
            measured += 1
            own_s = time.perf_counter() - began_s
    if state.question is None:
        raise RuntimeError("the first launch asks the question")
    return Comparison(
        state.question,
        tuple(state.launches),
        state.standing(ended=True),
        bool(now.open),
        time.perf_counter() - began_s,
        None if unread else own_j,
    )


@dataclass(frozen=True)
class _Sides:
    """Both trees, ready to be measured.

    Attributes:
        paths: of the benchmarks, relative to the tops of both trees.
        start: starts the worker of a side with the seed of its launch.
    """

    checkouts: Mapping[str, Checkout]
    paths: Sequence[Path]
    start: Start


def _set_up(settings: Settings, repository: Path, inside: Path, janitor: Janitor, progress: Progress) -> _Sides:
    try:
        place = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        janitor.remove_at_end(place)
        progress.preparing(f"checking {settings.base} out")
        checkouts = {
            "base": check_out(repository, settings.base, place / f"{place.name}-base", janitor),
            "head": working_tree(repository)
            if settings.head is None
            else check_out(repository, settings.head, place / f"{place.name}-head", janitor),
        }
        arguments, paths = _benchmark_paths(settings, repository, inside, checkouts["head"])
        if settings.benchmarks_from == "head":
            overlay(checkouts["head"], checkouts["base"], paths)
        for path in (inside, *paths):
            if not (checkouts["base"].root / path).exists():
                raise RevisionError(
                    f"{checkouts['base'].name} has no {path}", "--benchmarks-from=head runs the head's benchmarks on it"
                )
        pythons = dict.fromkeys(checkouts, Path(sys.executable))
        environments = {side: _with_own_code(item.root) for side, item in checkouts.items()}
        if settings.prepare:
            for side, item in checkouts.items():
                progress.preparing(f"{item.name}: {settings.prepare}")
                pythons[side] = prepare(item, settings.prepare, place / f"environment-{side}", janitor)
            environments = {side: dict(os.environ) for side in checkouts}
    except (OSError, shutil.Error) as error:
        raise RevisionError(
            f"the two trees cannot be written ({error})", "make room on the disk, or set TMPDIR to another folder"
        ) from error
    limits = (f"--energy-fail={limit}" for limit in settings.limits)
    arguments = (*arguments, *limits)

    def start(side: str, seed: int) -> Worker:
        item = checkouts[side]
        output = place / f"{side}.log"
        environment = seeded(environments[side], seed)
        return Worker(item, pythons[side], environment, arguments, item.root / inside, output, janitor)

    return _Sides(checkouts, paths, start)


def _with_own_code(tree: Path) -> dict[str, str]:
    """Our environment, with the tree's code in front of whatever is installed."""
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*map(str, import_roots(tree)), *([inherited] if inherited else [])])
    return {**os.environ, "PYTHONPATH": path}


class _State:
    """The question, which the first launch asks, and the launches so far, all kept in the journal."""

    def __init__(self, journal: Journal, checkouts: Mapping[str, Checkout], settings: Settings, inside: Path) -> None:
        self.question: Question | None = None
        self.launches: list[Launch] = []
        self._journal = journal
        self._checkouts = checkouts
        self._shaping = settings.shaping(inside)
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
        """The benchmarks that a launch runs.

        Raises:
            RevisionError: the two sides share no benchmark.
            StoredRunError: the comparison to resume ran on another machine, or the journal cannot be written.
        """
        if self.question is not None:
            before, now = self.question.machine, found["head"].machine
            for name in sorted({*before, *now}):
                if before.get(name) != now.get(name):
                    raise StoredRunError(
                        f"the launches so far ran with {name} {before.get(name)!r}, this one with {now.get(name)!r}",
                        "leave out --resume to begin anew",
                    )
            return self.standing(ended=False).open
        self.question = question_of(self._checkouts, self._shaping, found)
        self._journal.begin(self.question)
        return self.question.ids

    def add(self, launch: Launch) -> None:
        """Keep a finished launch."""
        self._journal.add(launch)
        self.launches.append(launch)


def _benchmark_paths(
    settings: Settings, repository: Path, inside: Path, head: Checkout
) -> tuple[tuple[str, ...], list[Path]]:
    """Arguments for pytest, and the paths among them relative to the repository's top.

    Without a path `benchmarks` is meant, where there is one. Paths come first, since only pytest and its plugins know
    which of their options take a value: `-k src` must not pass for the folder `src`.

    Raises:
        OptionError: a path behind an option, or none where the head's benchmarks are to run on the base.
        RevisionError: a path outside the repository, or one that the head does not have.
    """
    given = settings.pytest_arguments
    count = next((index for index, argument in enumerate(given) if argument.startswith("-")), len(given))
    for argument in given[count:]:
        if not argument.startswith("-") and (head.root / inside / argument.split("::", 1)[0]).exists():
            raise OptionError(
                f"{argument} could be a path or an option's value",
                "give paths before all options, and values as in --option=VALUE or -k=VALUE",
            )
    top, paths = repository.resolve(), []
    for argument in given[:count]:
        file = Path(argument.split("::", 1)[0])
        place = (top / inside / file).resolve()
        if file.is_absolute() or not place.is_relative_to(top):
            raise RevisionError(
                f"{argument} is no path inside the repository, so no checkout has it",
                "give paths relative to the folder you are in",
            )
        if not (head.root / inside / file).exists():
            raise RevisionError(f"{head.name} has no {argument}", "name the folder of the benchmarks after --")
        paths.append(place.relative_to(top))
    if not paths and (head.root / inside / "benchmarks").is_dir():
        given, paths = ("benchmarks", *given), [inside / "benchmarks"]
    if settings.benchmarks_from == "head" and (not paths or Path() in paths):
        raise OptionError(
            "it is not clear which files are the benchmarks, that run on both sides, and which are under test",
            "name the folder of the benchmarks after --, or add --benchmarks-from=own",
        )
    return given, paths


def _tracked(head: Checkout, benchmarks: Sequence[Path]) -> list[str]:
    names = (git.output(head.root, "ls-files", "-z") or "").split("\0")
    return [name for name in names if name and not any(Path(name).is_relative_to(path) for path in benchmarks)]
