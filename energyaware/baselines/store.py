"""Stored runs: pytest-benchmark's files, read strictly and chosen by what the user typed."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energyaware.baselines import git, run_bytes
from energyaware.baselines.codec import from_json
from energyaware.baselines.index import Facts, RunIndex, quick_facts, shard_of
from energyaware.config import NEWEST_ANCESTOR
from energyaware.errors import OptionError, StoredRunError
from energyaware.records import SCHEMA_VERSION, Benchmark, Run, Totals

_NUMBERED = re.compile(r"(\d{4,})_")
# pytest-benchmark's words where there is no commit.
_NO_COMMIT = ("unversioned", "unknown", "")
_AGAIN = "Choose another baseline, or measure it again with --energy --benchmark-save=NAME"


@dataclass(frozen=True)
class Baseline:
    """The run to judge against, how it was chosen, and which stored files could not be read on the way."""

    run: Run
    chosen: str
    skipped: tuple[str, ...] = ()


def _object(value: object, where: str, tool_hint: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StoredRunError(f"{where} is not an object", tool_hint)
    return value


def read_run_file(path: Path) -> dict[str, Any]:
    """The JSON object of a stored run, not looked into yet.

    Raises:
        StoredRunError: missing, too large, or no JSON object.
    """
    try:
        content = run_bytes.read(path)
        if content is None:
            size, most = path.stat().st_size, run_bytes.MOST_BYTES
            has = run_bytes.megabytes(size) if size > most else "no end in sight"
            raise StoredRunError(
                f"the stored run {path} has {has}, more than the {run_bytes.megabytes(most)} that are read", _AGAIN
            )
        data = json.loads(content.decode())
    except OSError as error:
        raise StoredRunError(f"the stored run {path} cannot be read ({error.strerror})", _AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise StoredRunError(f"the stored run {path} is truncated or no JSON ({error})", _AGAIN) from error
    return _object(data, str(path), _AGAIN)


def load_run(path: Path) -> Run:
    """Read one stored run.

    Raises:
        StoredRunError: missing, not JSON, of another tool, without energy data, of another schema, or damaged.
    """
    return run_of(read_run_file(path), path)


def run_of(data: dict[str, Any], path: Path) -> Run:
    """The run in a parsed file.

    Raises:
        StoredRunError: of another tool, without energy data, of another schema, or damaged.
    """
    if not isinstance(data.get("benchmarks"), list):
        raise StoredRunError(f"{path} is no pytest-benchmark file: it has no list 'benchmarks'", _AGAIN)
    if "energyaware" not in data:
        raise StoredRunError(f"{path} holds no energy data: it was stored without --energy", _AGAIN)
    own = _object(data["energyaware"], f"{path}: energyaware", _AGAIN)
    version = own.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoredRunError(
            f"{path} has schema version {version!r}, this energyaware reads {SCHEMA_VERSION}",
            "Measure the baseline again with this version, or install the version that wrote it",
        )
    benchmarks = []
    for index, item in enumerate(data["benchmarks"]):
        entry = _object(item, f"{path}: benchmarks[{index}]", _AGAIN)
        if "energy" in entry:
            benchmarks.append(from_json(entry["energy"], Benchmark, f"{path}: benchmarks[{index}].energy"))
    commit = data.get("commit_info")
    commit = commit if isinstance(commit, dict) else {}
    machine = _object(own.get("machine", {}), f"{path}: energyaware.machine", _AGAIN)
    return Run(
        benchmarks=tuple(benchmarks),
        machine={str(key): str(value) for key, value in machine.items()},
        options=_object(own.get("options", {}), f"{path}: energyaware.options", _AGAIN),
        totals=from_json(own.get("totals", {}), Totals, f"{path}: energyaware.totals"),
        version=str(own.get("version", "")),
        path=str(path),
        commit=str(commit.get("id") or ""),
        branch=str(commit.get("branch") or ""),
        dirty=bool(commit.get("dirty")),
        datetime=str(data.get("datetime", "")),
        interrupted=bool(own.get("interrupted", False)),
    )


def _number(path: Path) -> int:
    match = _NUMBERED.match(path.name)
    return int(match[1]) if match else -1


def stored_files(storage: Path) -> list[Path]:
    """All numbered runs under pytest-benchmark's storage folder, newest first."""
    found = [path for path in (*storage.glob("*.json"), *storage.glob("*/*.json")) if _NUMBERED.match(path.name)]
    return sorted(found, key=lambda path: (_number(path), path.name), reverse=True)


def facts_of(run: Run) -> Facts:
    """What a loaded run is chosen by."""
    return Facts(
        commit=_encodable(run.commit),
        branch=_encodable(run.branch),
        dirty=run.dirty,
        interrupted=run.interrupted,
        datetime=_encodable(run.datetime),
        shard=_encodable(shard_of(run.options)),
        benchmarks=len(run.benchmarks),
    )


def _encodable(text: str) -> str:
    """The text without halves of characters, which JSON can hold by an escape and no file can."""
    return text.encode("utf-8", "replace").decode()


def _facts(path: Path) -> Facts:
    """The facts of a file that no index knows."""
    found = quick_facts(path)
    if found is not None:
        return found
    try:
        return facts_of(load_run(path))
    except StoredRunError as error:
        return Facts(problem=_encodable(error.cause))


class _Search:
    """Goes through stored runs, newest first, and loads only those that fit. One run is in memory at a time.

    Attributes:
        skipped: why files could not be read.
    """

    def __init__(self, storage: Path, files: list[Path]) -> None:
        self.skipped: list[str] = []
        self._storage = storage
        self._files = files

    def runs(self, fits: Callable[[Facts], bool]) -> Generator[Run, None, None]:
        with RunIndex(self._storage, self._files, _facts) as index:
            for path in self._files:
                facts = index.facts(path)
                if facts.problem:
                    self.skipped.append(facts.problem)
                    continue
                if not facts.benchmarks or not fits(facts):
                    continue
                try:
                    run = load_run(path)
                except StoredRunError as error:
                    self.skipped.append(error.cause)
                    continue
                actual = facts_of(run)
                if actual != facts:
                    index.correct(path, actual)
                if run.benchmarks and fits(actual):
                    yield run


def find_baseline(value: str, storage: Path, root: Path) -> Baseline | None:
    """The stored run that `--energy-compare=VALUE` means: FILE, NUM, NAME, BRANCH, tried in that order.

    Without a value: the newest complete run from a clean tree whose commit is an ancestor of HEAD; outside of git, the
    newest complete run.

    Args:
        storage: pytest-benchmark's storage folder.
        root: a folder of the repository.

    Returns:
        None only for the default, when nothing fits: the first run has nothing to be compared with.

    Raises:
        OptionError: VALUE means no stored run.
        StoredRunError: the run it means cannot be read.
    """
    files = stored_files(storage)
    if value == NEWEST_ANCESTOR:
        return _newest_ancestor(storage, files, root)
    path = Path(value)
    with contextlib.suppress(OSError):  # longer than any file name
        if path.is_file():
            return Baseline(load_run(path), f"file {path}")
    if re.fullmatch(r"[0-9]{1,18}", value):
        same = [item for item in files if _number(item) == int(value)]
        if same:
            return Baseline(load_run(same[0]), f"run {_number(same[0]):04}")
    named = [item for item in files if item.stem.split("_", 1)[1] == value]
    if named:
        return Baseline(load_run(named[0]), f"newest run named {value}")
    tip = git.commit_of(root, value)
    search = _Search(storage, files)
    found = search.runs(lambda facts: _whole(facts) and (facts.branch == value or bool(tip and facts.commit == tip)))
    with contextlib.closing(found):
        for run in found:
            return Baseline(run, f"newest clean run of {value}", tuple(search.skipped))
    known = sorted({item.stem.split("_", 1)[0] for item in files})
    raise OptionError(
        f"--energy-compare={value}: no such file, and no stored run has this number, name or branch",
        f"stored runs under {storage}: {', '.join(known[-8:]) or 'none; store one with --benchmark-save=NAME'}",
    )


def _whole(facts: Facts) -> bool:
    """Whether a run may stand for its commit without being asked for by name."""
    return not (facts.dirty or facts.interrupted or facts.shard)


def _newest_ancestor(storage: Path, files: list[Path], root: Path) -> Baseline | None:
    head = git.commit_of(root, "HEAD")
    known = git.ancestors(root, head) if head else frozenset()

    def fits(facts: Facts) -> bool:
        if head is None and facts.commit in _NO_COMMIT:
            return not (facts.interrupted or facts.shard)
        return _whole(facts) and facts.commit in known

    search = _Search(storage, files)
    with contextlib.closing(search.runs(fits)) as found:
        for run in found:
            chosen = "newest clean run of an ancestor of HEAD" if run.commit in known else "newest run"
            return Baseline(run, chosen, tuple(search.skipped))
    return None


def history(storage: Path, baseline: Run, limit: int = 20) -> tuple[Run, ...]:
    """Up to `limit` newest complete runs of the baseline's branch, the baseline the newest, oldest first.

    Nothing newer: the run being judged may be stored already, and its change must not widen its own interval.
    """

    def fits(facts: Facts) -> bool:
        # A part of a run would count its session twice beside the whole.
        whole = not (facts.interrupted or facts.shard)
        return whole and facts.branch == baseline.branch and facts.datetime <= baseline.datetime

    with contextlib.closing(_Search(storage, stored_files(storage)).runs(fits)) as runs:
        found = list(itertools.islice(runs, limit))
    return tuple(reversed(found))
