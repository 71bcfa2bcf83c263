"""Runs launches: two fresh processes that take turns, round by round in random order, one running at any time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from energyaware.baselines.codec import from_json
from energyaware.branches.channel import PROTOCOL
from energyaware.branches.checkout import Checkout, RevisionError
from energyaware.branches.launches import Launch, Pair, Question
from energyaware.branches.worker import Worker, WorkerError
from energyaware.records import Benchmark

Start = Callable[[str], Worker]
SIDES = ("base", "head")


@dataclass(frozen=True, slots=True)
class Collected:
    """What a side found.

    Attributes:
        limits: of each benchmark, from its marker or else from the run.
    """

    ids: tuple[str, ...]
    limits: Mapping[str, tuple[str, ...]]
    machine: Mapping[str, str]

    @classmethod
    def told(cls, side: Checkout, message: Mapping[str, Any]) -> Collected:
        """Read a worker's first message.

        Raises:
            WorkerError: it speaks another protocol, or collected nothing.
        """
        if message.get("kind") != "collected" or message.get("protocol") != PROTOCOL:
            raise WorkerError(
                f"{side.name} runs an energyaware of another version", "install the same one for both sides"
            )
        defaults = tuple(message["defaults"])
        limits = {name: defaults if own is None else tuple(own) for name, own in message["limits"].items()}
        return cls(tuple(message["ids"]), limits, message["machine"])


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
        what = "neither side has an energy benchmark" if not head.ids else f"{checkouts['base'].name} has none of them"
        raise RevisionError(
            f"there is nothing to compare: {what}",
            "name the folder of the benchmarks after --, and see --benchmarks-from",
        )
    missing = {name: "base" for name in head.ids if name not in base.limits}
    missing |= {name: "head" for name in base.ids if name not in head.limits}
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
        start: starts the worker of a side.
        question: maps what both sides collected to what is asked; called with every launch.
        rounds: pairs of rounds per benchmark and launch.
        rng: draws who goes first.
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
    ) -> tuple[Launch, Mapping[str, frozenset[str]]]:
        """One launch.

        Args:
            ask: what both sides collected to the benchmarks wanted, which both must have.

        Returns:
            The launch, and the files that each side imported.

        Raises:
            WorkerError: a side's process ended.
        """
        started_s = time.perf_counter()
        order = self._shuffled()
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            found: dict[str, Collected] = {}
            for side in order:
                workers[side] = stack.enter_context(self._start(side))
                found[side] = Collected.told(self.checkouts[side], workers[side].hear())
            wanted = list(ask(found))
            # The first answer starts a side's first test; every later benchmark is started by the answer to `finished`.
            last = {side: workers[side].ask("run", ids=wanted) for side in order}
            pairs: dict[str, Pair] = {}
            for name in wanted:
                pairs[name] = self._pair(name, workers, last)
                last = {side: workers[side].ask("next") for side in self._shuffled()}
            files = {side: frozenset(message.get("files", ())) for side, message in last.items()}
        return Launch(pairs, time.perf_counter() - started_s), files

    def _pair(self, name: str, workers: Mapping[str, Worker], last: dict[str, Mapping[str, Any]]) -> Pair:
        """Measure one benchmark; `last` is what each side said last, and is kept up to date."""
        for side in SIDES:
            if last[side].get("id") != name:
                raise WorkerError(
                    f"pytest on {self.checkouts[side].name} did not come to {name}",
                    "see whether it can be collected there: pytest --collect-only",
                )
        arrived = [side for side in SIDES if last[side]["kind"] == "arrived"]
        if len(arrived) < 2:
            for side in arrived:
                last[side] = workers[side].ask("skip", reason="the other side did not run it")
        else:
            kept = self._take_turns(name, workers, last)
            for side in self._shuffled():
                if last[side]["kind"] != "finished":
                    last[side] = workers[side].ask("stop")
        errors = {side: str(last[side].get("error") or "") for side in SIDES}
        if any(errors.values()):
            # Of the side that was skipped for the other's sake nothing is to be said.
            failed = {side: errors[side] if side not in arrived or len(arrived) == 2 else "" for side in SIDES}
            return Pair(base_error=failed["base"], head_error=failed["head"])
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
        for side in SIDES:
            workers[side].tell("calls", calls=calls)
        valid = dict.fromkeys(SIDES, 0)
        kept: dict[str, list[int]] = {side: [] for side in SIDES}
        for number in range(1, self._rounds + 1):
            self._watch(name, number)
            both = True
            for side in self._shuffled():
                last[side] = workers[side].ask("round")
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
    checkouts: Mapping[str, Checkout], files: Mapping[str, frozenset[str]], tracked: Sequence[str]
) -> None:
    """Prove that each side ran the code of its own tree.

    Args:
        files: what each side imported.
        tracked: files of the head's tree, relative to its top, that are under test.

    Raises:
        RevisionError: a side imported the other's files, or both imported one installed copy.
    """
    for side, other in (("base", "head"), ("head", "base")):
        own, foreign = checkouts[side].root, checkouts[other].root
        for file in sorted(files[side]):
            path = Path(file)
            installed = "site-packages" in path.parts or "dist-packages" in path.parts
            if path.is_relative_to(foreign) and not path.is_relative_to(own) and not installed:
                raise RevisionError(
                    f"{checkouts[side].name} imported {path}, which belongs to {checkouts[other].name}",
                    'an editable install shadows the checkout: add --prepare "pip install ."',
                )
    modules = {path.removeprefix("src/") for path in tracked if path.endswith(".py") and "/" in path}
    for file in sorted(files["base"] & files["head"]):
        for folder in ("/site-packages/", "/dist-packages/"):
            if file.rpartition(folder)[2] in modules and folder in file:
                raise RevisionError(
                    f"both sides import the installed {file}, so they would measure the same code",
                    'add --prepare "pip install .", which installs each revision in an environment of its own',
                )
