"""Runs launches: two fresh processes that take turns, round by round in random order, one running at any time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

from energyaware.baselines.codec import from_json
from energyaware.branches.chance import MOST_SEED
from energyaware.branches.channel import PROTOCOL
from energyaware.branches.checkout import Checkout
from energyaware.branches.launches import Launch, Pair, Question
from energyaware.branches.worker import Worker
from energyaware.errors import RevisionError, StoredRunError, WorkerError
from energyaware.records import Benchmark

Start = Callable[[str, int], Worker]
SIDES = ("base", "head")

_INSTALLED = frozenset(("site-packages", "dist-packages"))


@dataclass(frozen=True, slots=True)
class Collected:
    """What a side found.

    Attributes:
        limits: of each benchmark, from its marker or else from the run.
        broken: files and folders that could not be collected, and why.
    """

    ids: tuple[str, ...]
    limits: Mapping[str, tuple[str, ...]]
    machine: Mapping[str, str]
    broken: Mapping[str, str]

    @classmethod
    def told(cls, side: Checkout, message: Mapping[str, Any]) -> Collected:
        """Read a worker's first message.

        Raises:
            WorkerError: it speaks another protocol.
        """
        if message.get("protocol") != PROTOCOL:
            raise WorkerError(
                f"{side.name} runs an energyaware of another version", "install the same one for both sides"
            )
        try:
            defaults = tuple(message["defaults"])
            limits = {name: defaults if own is None else tuple(own) for name, own in message["limits"].items()}
            return from_json(
                {"ids": message["ids"], "limits": limits, "machine": message["machine"], "broken": message["broken"]},
                cls,
                f"what {side.name} collected",
            )
        except (KeyError, TypeError, AttributeError, StoredRunError) as error:
            raise WorkerError(
                f"{side.name} says what no worker says ({error})", "install the same energyaware for both sides"
            ) from error

    def why_missing(self, name: str) -> str:
        """Why a benchmark is not among those found, as far as that is known."""
        problems = (why for place, why in self.broken.items() if name.startswith(place))
        return next((f" ({why})" for why in problems), "")


def question_of(
    checkouts: Mapping[str, Checkout], arguments: tuple[str, ...], found: Mapping[str, Collected]
) -> Question:
    """What the two sides can be asked.

    Raises:
        RevisionError: they share no benchmark.
    """
    base, head = found["base"], found["head"]
    shared = tuple(name for name in head.ids if name in base.limits)
    if not shared:
        side, other = ("base", "head") if head.ids else ("head", "base")
        lacks = f"{checkouts[side].name} has none of the energy benchmarks of {checkouts[other].name}"
        what = lacks if found[other].ids else "neither side has an energy benchmark"
        why = next((f" ({place}: {why})" for place, why in found[side].broken.items()), "")
        raise RevisionError(
            f"there is nothing to compare: {what}{why}",
            "name the folder of the benchmarks after --, and see --benchmarks-from",
        )
    missing = {
        name: f"the {side} has no such benchmark{found[side].why_missing(name)}"
        for side, other in (("base", "head"), ("head", "base"))
        for name in found[other].ids
        if name not in found[side].limits
    }
    return Question(
        checkouts["base"].identity,
        checkouts["head"].identity,
        arguments,
        shared,
        missing,
        {**base.limits, **head.limits},
        head.machine,
    )


class Launcher:
    """Runs one launch after the other.

    Args:
        checkouts: `base` and `head`.
        start: starts the worker of a side with the launch's seed.
        rounds: pairs of rounds per benchmark and launch.
        rng: draws who goes first, on which core, and what both processes of a launch share.
        watch: told the benchmark and the round under way.
    """

    def __init__(
        self,
        checkouts: Mapping[str, Checkout],
        start: Start,
        *,
        rounds: int,
        rng: random.Random,
        watch: Callable[[str, int], None],
    ) -> None:
        self.checkouts = checkouts
        self._start = start
        self._rounds = rounds
        self._rng = rng
        self._watch = watch

    def launch(
        self, ask: Callable[[Mapping[str, Collected]], Sequence[str]]
    ) -> tuple[Launch, Mapping[str, Mapping[str, str]]]:
        """One launch.

        Args:
            ask: what both sides collected to the benchmarks wanted, which both must have.

        Returns:
            The launch, and what each side imported: module name to file.

        Raises:
            WorkerError: a side's process ended.
        """
        started_s = time.perf_counter()
        order = self._shuffled()
        seed = self._rng.randrange(MOST_SEED + 1)
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            found: dict[str, Collected] = {}
            for side in order:
                workers[side] = stack.enter_context(self._start(side, seed))
                found[side] = Collected.told(self.checkouts[side], workers[side].hear("collected"))
            wanted = list(ask(found))
            for worker in workers.values():
                worker.place = wanted[0]
            # The first answer starts a side's first test; every later benchmark is started by the answer to `finished`.
            last = {side: workers[side].ask("run", "arrived", "finished", ids=wanted) for side in order}
            pairs: dict[str, Pair] = {}
            for name, later in zip_longest(wanted, wanted[1:]):
                pairs[name] = self._pair(name, workers, last)
                for worker in workers.values():
                    worker.place = later or "its end"
                answers = ("arrived", "finished") if later else ("done",)
                last = {side: workers[side].ask("next", *answers) for side in self._shuffled()}
            imported = {side: message["imported"] for side, message in last.items()}
        return Launch(pairs, time.perf_counter() - started_s), imported

    def _pair(self, name: str, workers: Mapping[str, Worker], last: dict[str, Mapping[str, Any]]) -> Pair:
        """Measure one benchmark; `last` is what each side said last, and is kept up to date."""
        for side in SIDES:
            if last[side]["id"] != name:
                raise workers[side].failure()
        kept: Mapping[str, list[int]] = {}
        if all(last[side]["kind"] == "arrived" for side in SIDES):
            kept = self._take_turns(name, workers, last)
        skipped = set()
        for side in self._shuffled():
            if last[side]["kind"] == "arrived":
                skipped.add(side)
                last[side] = workers[side].ask("skip", "finished", reason="the other side did not run it")
            elif last[side]["kind"] != "finished":
                last[side] = workers[side].ask("stop", "finished")
        errors = {side: "" if side in skipped else str(last[side]["error"] or "") for side in SIDES}
        if any(errors.values()):
            return Pair(base_error=errors["base"], head_error=errors["head"])
        sides = {}
        for side in SIDES:
            benchmark = from_json(last[side]["benchmark"], Benchmark, f"{self.checkouts[side].name}: {name}")
            sides[side] = replace(benchmark, rounds=tuple(benchmark.rounds[index] for index in kept[side]))
        return Pair(sides["base"], sides["head"])

    def _take_turns(
        self, name: str, workers: Mapping[str, Worker], last: dict[str, Mapping[str, Any]]
    ) -> dict[str, list[int]]:
        """Alternate rounds until all are done or a side's test ends.

        Returns:
            Per side, the indices of its valid rounds whose partner was valid too.
        """
        calls = max(int(last[side]["calls"]) for side in SIDES)
        valid = dict.fromkeys(SIDES, 0)
        kept: dict[str, list[int]] = {side: [] for side in SIDES}
        for side in self._shuffled():
            last[side] = workers[side].ask("calls", "ready", "finished", calls=calls)
            if last[side]["kind"] == "finished":
                return kept
        for number in range(1, self._rounds + 1):
            self._watch(name, number)
            both, core = True, self._rng.random()
            for side in self._shuffled():
                last[side] = workers[side].ask("round", "round", "finished", core=core)
                if last[side]["kind"] == "finished":
                    return kept
                both &= bool(last[side]["valid"])
                valid[side] += bool(last[side]["valid"])
            if both:
                for side in SIDES:
                    kept[side].append(valid[side] - 1)
        return kept

    def _shuffled(self) -> list[str]:
        order = list(SIDES)
        self._rng.shuffle(order)
        return order


def require_own_code(
    checkouts: Mapping[str, Checkout], imported: Mapping[str, Mapping[str, str]], tracked: Sequence[str]
) -> None:
    """Prove that each side ran the code of its own tree.

    Args:
        imported: module name to file, of each side.
        tracked: files of the head's tree, relative to its top, that are under test.

    Raises:
        RevisionError: a side imported the other's files, or both imported one copy of what is under test.
    """
    for side, other in (("base", "head"), ("head", "base")):
        own, foreign = checkouts[side].root, checkouts[other].root
        for file in imported[side].values():
            path = Path(file)
            if _INSTALLED.isdisjoint(path.parts):
                path = path.resolve()
                if path.is_relative_to(foreign) and not path.is_relative_to(own):
                    raise RevisionError(
                        f"{checkouts[side].name} imported {path}, which belongs to {checkouts[other].name}",
                        'an editable install shadows the checkout: add --prepare "pip install ."',
                    )
    under_test = _modules(tracked)
    for name, file in imported["base"].items():
        # In the tree that is no side's own: the same file on both sides.
        if name in under_test and imported["head"].get(name) == file:
            raise RevisionError(
                f"both sides import {name} from {file}, so they would measure the same code",
                'add --prepare "pip install .", which installs each revision in an environment of its own',
            )


def _modules(tracked: Sequence[str]) -> frozenset[str]:
    """Names under which the Python files of a repository are imported; single files beside packages are scripts."""
    projects = {PurePosixPath()} | {
        PurePosixPath(file).parent for file in tracked if file.rpartition("/")[2] in ("pyproject.toml", "setup.py")
    }
    roots = {project / folder for project in projects for folder in ("", "src", "lib", "python")}
    names = set()
    for file in map(PurePosixPath, tracked):
        if file.suffix == ".py":
            for root in roots.intersection(file.parents):
                parts = file.relative_to(root).with_suffix("").parts
                if len(parts) > 1:
                    names.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return frozenset(names)
