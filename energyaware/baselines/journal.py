"""The journal of a run in progress: each finished benchmark on disk before the next begins.

One file per run, beside the stored runs: a line that says under which conditions the run measures, then one line per
benchmark. It is locked while its run lives, and removed once the run file is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from energyaware.baselines.codec import from_json, to_json
from energyaware.baselines.durable import append_lines, complete_lines, only_one, parse_line, sync_folder, try_lock
from energyaware.errors import StoredRunError
from energyaware.records import Benchmark

JOURNAL_VERSION = 1

T = TypeVar("T")

_NAME = re.compile(r"(\d{8}T\d{6})-\d+-[0-9a-f]+\.jsonl")
_TIME = "%Y%m%dT%H%M%S"
_SHOWN_DIFFERENCES = 5
_HIDDEN = re.compile(r"hidden [0-9a-f]{4}")


@dataclass(frozen=True)
class Timing:
    """What pytest-benchmark knows of a benchmark, enough to make its entry of the run file again.

    Attributes:
        data: seconds of one call, one value per round.
        iterations: calls per round.
        params, extra_info, options: as it writes them.
    """

    name: str
    fullname: str
    group: str | None
    param: str | None
    params: Any
    extra_info: Mapping[str, Any]
    options: Mapping[str, Any]
    iterations: int
    data: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.data or not all(math.isfinite(value) and value >= 0 for value in self.data):
            raise ValueError("a round without a time")
        if self.iterations < 1:
            raise ValueError(f"a round of {self.iterations} calls")


@dataclass(frozen=True)
class Spent:
    """What a part of a run cost, from the end of the part before on.

    Attributes:
        energy_j: None where the meter gave no total.
        harness_j: how much of it went to measuring.
    """

    energy_j: float | None = 0.0
    duration_s: float = 0.0
    harness_j: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        known = self.energy_j is not None and other.energy_j is not None
        return Spent(
            (self.energy_j or 0.0) + (other.energy_j or 0.0) if known else None,
            self.duration_s + other.duration_s,
            self.harness_j + other.harness_j,
        )


@dataclass(frozen=True)
class Finished:
    """One line: a benchmark whose test passed.

    Attributes:
        measured_at: when it ended, ISO 8601 in UTC.
        spent: what the run cost since the line before.
        machine: as `energyaware.measure.machine.describe` then said.
        node: of a cluster, where it was measured; empty: here.
    """

    benchmark: Benchmark
    timing: Timing
    measured_at: str
    spent: Spent
    machine: Mapping[str, str]
    node: str = ""

    def __post_init__(self) -> None:
        if self.timing.fullname != self.benchmark.fullname:
            raise ValueError(f"times of {self.timing.fullname}, energy of {self.benchmark.fullname}")


@dataclass(frozen=True)
class Header:
    """The first line.

    Attributes:
        conditions: everything that shapes what is measured; equal ones may be continued.
    """

    journal_version: int
    started_at: str
    conditions: Mapping[str, str]


@dataclass(frozen=True)
class Interrupted:
    """A journal whose run has ended without its run file.

    Attributes:
        started_at: for people, in UTC.
        benchmarks: how many finished.
    """

    path: Path
    started_at: str
    benchmarks: int


class RunJournal:
    """The journal of this process's run; made with its first benchmark.

    Attributes:
        path: None before it is made.
        kept: benchmarks in it.
        waiting: benchmarks that could not be written yet; each `add` tries again.
    """

    def __init__(self, folder: Path, conditions: Mapping[str, str], now: datetime | None = None) -> None:
        self.path: Path | None = None
        self.kept = 0
        self._folder = folder
        self._started = now or datetime.now(UTC)
        self._descriptor = -1
        header = Header(JOURNAL_VERSION, self._started.isoformat(timespec="seconds"), conditions)
        self._unwritten: list[dict[str, Any]] = [to_json(header)]

    @property
    def waiting(self) -> int:
        """Benchmarks that are in memory alone."""
        return sum("benchmark" in entry for entry in self._unwritten)

    def add(self, finished: Finished) -> None:
        """Keep a finished benchmark; it is on disk when this returns.

        Raises:
            StoredRunError: it cannot be written; it then waits in memory.
        """
        self._unwritten.append(to_json(finished))
        try:
            if self._descriptor < 0:
                self._create()
            append_lines(self._descriptor, self._unwritten)
        except OSError as error:
            raise StoredRunError(
                f"the journal {self.path or self._folder} cannot be written ({error.strerror or error})",
                "make room on the disk, or store elsewhere with --benchmark-storage. "
                f"{self.waiting} finished benchmarks are in memory alone",
            ) from error
        self.kept += self.waiting
        self._unwritten.clear()

    def _create(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Under the folder's lock, so that nobody finds the file before it is locked.
        with only_one(self._folder):
            path = self._folder / f"{self._started.strftime(_TIME)}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try_lock(descriptor)
        self.path, self._descriptor = path, descriptor
        sync_folder(self._folder)

    def take_up(self, path: Path, descriptor: int, kept: int) -> None:
        """Go on with a journal that is there and locked."""
        self.path, self._descriptor, self.kept = path, descriptor, kept
        self._unwritten.clear()

    def finish(self) -> None:
        """Remove it: the run file is written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave it for `resume`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(frozen=True)
class Resumed:
    """A journal that this run goes on with.

    Attributes:
        started_at: when its run began, ISO 8601 in UTC.
        finished: by full name.
        spent: by the interrupted run, up to the end of its last finished benchmark.
        torn: whether the last line was cut off, and is gone now.
    """

    journal: RunJournal
    started_at: str
    finished: Mapping[str, Finished]
    spent: Spent
    torn: bool


def hidden(value: str) -> str:
    """A condition's value where it may be a secret: 16 bits of a hash.

    A change is seen (all but one in 65,536), and whoever tries passwords finds thousands that fit.
    """
    return f"hidden {hashlib.sha256(value.encode(errors='surrogateescape')).hexdigest()[:4]}"


def interrupted(folder: Path) -> tuple[Interrupted, ...]:
    """Journals in `folder` with at least one benchmark whose run does not live any more, newest first."""
    found = []
    with _only_one_if_there(folder):
        for path in _journals(folder):
            with contextlib.suppress(OSError, StoredRunError):  # gone, unreadable or nothing of ours
                with path.open("r+b") as stream:  # over NFS, what is not open for writing cannot be locked
                    if not try_lock(stream.fileno()):
                        continue
                    benchmarks = sum(1 for _ in complete_lines(stream)) - 1
                if benchmarks > 0:
                    found.append(Interrupted(path, _began(path), benchmarks))
    return tuple(found)


def resume(folder: Path, conditions: Mapping[str, str]) -> Resumed | None:
    """Take up the newest journal in `folder` that was written under the same conditions and whose run has ended.

    Returns:
        None where no run was interrupted: there is nothing to go on with.

    Raises:
        StoredRunError: runs were interrupted, but under other conditions; or the journal is damaged or cannot be read.
    """
    refusal: StoredRunError | None = None
    with _only_one_if_there(folder):
        for path in _journals(folder):
            remedy = f"to begin anew, leave out --energy-resume ({path})"
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:  # its run has ended well meanwhile
                continue
            except OSError as error:
                raise StoredRunError(f"the journal {path} cannot be opened ({error.strerror})", remedy) from error
            taken = False
            try:
                if not _is_left(descriptor, path, remedy):
                    continue
                lines = _Lines(path, remedy)
                header = lines.header()
                if header is None:
                    continue
                differences = _differences(header.conditions, conditions)
                if differences:
                    refusal = refusal or StoredRunError(
                        f"the interrupted run of {header.started_at} had {'; '.join(differences)}",
                        f"go on under the same conditions; {remedy}",
                    )
                    continue
                resumed = _take_up(lines, header, descriptor, RunJournal(folder, conditions))
                taken = True
                return resumed
            finally:
                if not taken:
                    os.close(descriptor)
    if refusal is not None:
        raise refusal
    return None


def _is_left(descriptor: int, path: Path, remedy: str) -> bool:
    """Whether nobody else has an open journal, which is then ours, and it is still there.

    Raises:
        StoredRunError: it cannot be locked.
    """
    try:
        free = try_lock(descriptor)
    except OSError as error:
        raise StoredRunError(f"the journal {path} cannot be locked ({error.strerror})", remedy) from error
    # A run that ends well removes its journal and then unlocks it.
    return free and os.fstat(descriptor).st_nlink > 0


def _take_up(lines: _Lines, header: Header, descriptor: int, journal: RunJournal) -> Resumed:
    finished = lines.finished()
    torn = os.fstat(descriptor).st_size > lines.size
    if torn:
        os.ftruncate(descriptor, lines.size)
    journal.take_up(lines.path, descriptor, len(finished))
    return Resumed(
        journal=journal,
        started_at=header.started_at,
        finished={item.benchmark.fullname: item for item in finished},
        spent=sum((item.spent for item in finished), Spent()),
        torn=torn,
    )


class _Lines:
    """A journal's content, read as far as it is asked for."""

    def __init__(self, path: Path, remedy: str) -> None:
        self.path = path
        self.size = 0
        self._remedy = remedy

    def header(self) -> Header | None:
        """The first line; None where nothing follows it, so that there is nothing to go on with.

        Raises:
            StoredRunError: it is damaged, or of another version.
        """
        with self.path.open("rb") as stream:
            lines = complete_lines(stream)
            first = next(lines, None)
            if first is None or next(lines, None) is None:
                return None
        where = f"{self.path}: line 1"
        entry = parse_line(first, where, self._remedy)
        version = entry.get("journal_version")
        if version != JOURNAL_VERSION:
            raise StoredRunError(
                f"{where} has journal version {version!r}, this energyaware reads {JOURNAL_VERSION}", self._remedy
            )
        return self._record(entry, Header, where)

    def finished(self) -> list[Finished]:
        """All further lines.

        Raises:
            StoredRunError: one is damaged.
        """
        found = []
        with self.path.open("rb") as stream:
            for number, line in enumerate(complete_lines(stream), start=1):
                self.size += len(line)
                if number > 1:
                    where = f"{self.path}: line {number}"
                    found.append(self._record(parse_line(line, where, self._remedy), Finished, where))
        return found

    def _record(self, entry: object, kind: type[T], where: str) -> T:
        try:
            return from_json(entry, kind, where)
        except StoredRunError as error:
            raise StoredRunError(error.cause, self._remedy) from error


def _began(path: Path) -> str:
    """When the run of a journal began, for people; as in its name where that is no time."""
    text = path.name.split("-", 1)[0]
    try:
        return f"{datetime.strptime(text, _TIME):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return text


def _journals(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("*.jsonl") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


@contextlib.contextmanager
def _only_one_if_there(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if folder.is_dir():
            try:
                stack.enter_context(only_one(folder))
            except OSError as error:
                raise StoredRunError(
                    f"the journals' folder {folder} cannot be locked ({error.strerror})", "make it readable"
                ) from error
        yield


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    found = [
        _difference(name, before.get(name, ""), now.get(name, ""))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    more = len(found) - _SHOWN_DIFFERENCES
    return [*found[:_SHOWN_DIFFERENCES], f"and {more} more differences"] if more > 0 else found


def _difference(name: str, before: str, now: str) -> str:
    if _HIDDEN.fullmatch(before) and _HIDDEN.fullmatch(now):
        return f"another value of {name}"
    return f"{name} {_shown(before)}, now {_shown(now)}"


def _shown(value: str) -> str:
    return "set" if _HIDDEN.fullmatch(value) else value or "unset"
