"""What a comparison records: launches, each a pair of fresh processes, and the journal that keeps them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energyaware.baselines.codec import from_json, to_json
from energyaware.baselines.durable import append_lines, complete_lines, parse_line
from energyaware.errors import StoredRunError
from energyaware.paths import CACHE_VARIABLE
from energyaware.records import Benchmark

JOURNAL_VERSION = 1


@dataclass(frozen=True)
class Pair:
    """One benchmark of one launch, measured on both sides in turns.

    Attributes:
        base, head: as many rounds on both sides; the rounds of one index ran beside each other. None where the test
            failed there.
        base_error, head_error: why.
    """

    base: Benchmark | None = None
    head: Benchmark | None = None
    base_error: str = ""
    head_error: str = ""


@dataclass(frozen=True)
class Launch:
    """One fresh process per side: the statistical replicate.

    Attributes:
        pairs: by the benchmark's full name.
        duration_s: wall time from the first process's start to the last one's end.
        energy_j: what all of it cost; None where nobody read it.
    """

    pairs: Mapping[str, Pair]
    duration_s: float
    energy_j: float | None = None


@dataclass(frozen=True)
class Question:
    """What is compared: launches of one question may be pooled.

    Attributes:
        base, head: identities of the two trees, see `energyaware.branches.checkout.Checkout`.
        arguments: everything else that shapes a launch.
        ids: benchmarks that both sides have, in the order of the head.
        missing: benchmarks that only one side has: full name to which lacks it, and why where that is known.
        limits: gated limits of each benchmark, as the user wrote them.
        machine: what numbers depend on.
    """

    base: str
    head: str
    arguments: tuple[str, ...]
    ids: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)


class Journal:
    """Finished launches on disk, one line each, so that a killed comparison goes on where it stopped.

    Args:
        path: made with the first line; removed by `finish`.

    Attributes:
        kept: finished launches in it, as far as this process wrote or read them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept = 0

    def begin(self, question: Question) -> None:
        """Start anew.

        Raises:
            StoredRunError: it cannot be written.
        """
        self._write({"journal_version": JOURNAL_VERSION, "question": to_json(question)}, anew=True)
        self.kept = 0

    def add(self, launch: Launch) -> None:
        """Keep a finished launch; it is on disk when this returns.

        Raises:
            StoredRunError: it cannot be written.
        """
        self._write(to_json(launch))
        self.kept += 1

    @property
    def outlook(self) -> str:
        """What a user can do after a comparison was cut off."""
        if not self.kept:
            return "No launch had finished"
        launches = "1 finished launch is" if self.kept == 1 else f"{self.kept} finished launches are"
        return f"{launches} kept: go on with --resume"

    def finish(self) -> None:
        """Remove it: everything is decided and reported."""
        self.path.unlink(missing_ok=True)

    def resume(self, base: str, head: str, arguments: tuple[str, ...]) -> tuple[Question, list[Launch]]:
        """What was asked, and the launches that finished. A last line that was cut off is left out.

        Raises:
            StoredRunError: there is none, it is damaged, or it answers another question.
        """
        again = f"leave out --resume to begin anew ({self.path})"
        try:
            with self.path.open("rb") as file:
                complete = list(complete_lines(file))
        except OSError as error:
            raise StoredRunError(
                f"there is no comparison to resume ({error.strerror}: {self.path})", "leave out --resume"
            ) from error
        if not complete:
            raise StoredRunError("the comparison to resume has not finished a launch", again)
        head_line = parse_line(complete[0], f"{self.path}: line 1", again)
        if head_line.get("journal_version") != JOURNAL_VERSION:
            raise StoredRunError("the comparison to resume was begun by another version of energyaware", again)
        question = from_json(head_line.get("question"), Question, f"{self.path}: line 1")
        for name, before, now in (
            ("base", question.base, base),
            ("head", question.head, head),
            ("arguments", shlex.join(question.arguments), shlex.join(arguments)),
        ):
            if before != now:
                raise StoredRunError(f"the comparison to resume had the {name} {before!r}, not {now!r}", again)
        launches = []
        for number, line in enumerate(complete[1:], start=2):
            where = f"{self.path}: line {number}"
            launches.append(from_json(parse_line(line, where, again), Launch, where))
        # A line that was cut off must not stay in front of the next one.
        with self.path.open("r+b") as file:
            file.truncate(sum(map(len, complete)))
        self.kept = len(launches)
        return question, launches

    def _write(self, entry: Mapping[str, Any], *, anew: bool = False) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if anew:
                    file.truncate(0)
                append_lines(file.fileno(), [entry])
        except OSError as error:
            raise StoredRunError(
                f"the journal {self.path} cannot be written ({error.strerror})",
                f"make room on the disk, or set {CACHE_VARIABLE} to another folder. {self.outlook}",
            ) from error
