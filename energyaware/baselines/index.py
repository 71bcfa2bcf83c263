"""What each stored run is, without reading it again: a small index beside the storage.

It is a cache and nothing else. An entry counts only as long as its file has the same size and time of change; an index
that is damaged, cut off or of another version is made again; and whoever loads a run looks at the run itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from energyaware.baselines import run_bytes
from energyaware.baselines.durable import replace_file
from energyaware.records import SCHEMA_VERSION

INDEX_NAME = ".energyaware-index"
INDEX_VERSION: Literal[1] = 1

# 200 bytes per run: more than a quarter of a million runs.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run is chosen by.

    Attributes:
        benchmarks: how many have energy data.
        shard: as `2/4`, where the run is a part of one; else empty.
        problem: why the file cannot be read; the rest is empty then.
    """

    commit: str = ""
    branch: str = ""
    dirty: bool = False
    interrupted: bool = False
    datetime: str = ""
    shard: str = ""
    benchmarks: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    size: int
    mtime_ns: int
    facts: Facts


@dataclass(frozen=True)
class _Index:
    index_version: Literal[1]
    entries: dict[str, _Entry]


class RunIndex:
    """The index of one storage folder. As a context manager it is written at the end, if anything was learnt.

    Args:
        files: the runs that are stored now; entries of others are left out when it is written.
        read: the facts of a file that is not in it, or has changed.
    """

    def __init__(self, storage: Path, files: Iterable[Path], read: Callable[[Path], Facts]) -> None:
        self._storage = storage
        self._names = {path: path.relative_to(storage).as_posix() for path in files}
        self._read = read
        self._entries = _load(storage / INDEX_NAME)
        self._changed = False

    def facts(self, path: Path) -> Facts:
        """What one of `files` is; it is read only where the index does not know it."""
        try:
            state = path.stat()
        except OSError:  # gone meanwhile: reading says why
            return self._read(path)
        name = self._names[path]
        known = self._entries.get(name)
        if known is not None and (known.size, known.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return known.facts
        found = self._read(path)
        self._keep(path, state, found)
        return found

    def correct(self, path: Path, facts: Facts) -> None:
        """Replace what it said of a file, which is not so."""
        with contextlib.suppress(OSError):  # gone meanwhile: then nothing is said of it
            self._keep(path, path.stat(), facts)

    def _keep(self, path: Path, state: os.stat_result, facts: Facts) -> None:
        self._entries[self._names[path]] = _Entry(state.st_size, state.st_mtime_ns, facts)
        self._changed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._changed:
            return
        names = {name for name in self._names.values() if _is_text(name)}
        kept = {name: entry for name, entry in self._entries.items() if name in names}
        body = msgspec.json.encode(_Index(INDEX_VERSION, kept))
        # A storage that cannot be written can still be read: the next search reads its files again.
        with contextlib.suppress(OSError):
            replace_file(self._storage / INDEX_NAME, _digest(body) + b"\n" + body)


def _is_text(name: str) -> bool:
    """Whether JSON can hold a file's name; one in another encoding than UTF-8 is read each time."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _load(path: Path) -> dict[str, _Entry]:
    """The entries; none where the index is absent or anything about it is wrong."""
    try:
        digest, _, body = (run_bytes.read(path, _MOST_BYTES) or b"").partition(b"\n")
        return msgspec.json.decode(body, type=_Index).entries if digest == _digest(body) else {}
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return {}


class _Commit(msgspec.Struct):
    id: str | None = None
    branch: str | None = None
    dirty: bool | None = None


class _Options(msgspec.Struct):
    shard: str | None = None


class _Own(msgspec.Struct):
    schema_version: int
    options: _Options | None = None
    interrupted: bool = False


class _Energy(msgspec.Struct):
    fullname: str


class _Benchmark(msgspec.Struct):
    energy: _Energy | None = None


class _RunFile(msgspec.Struct):
    benchmarks: list[_Benchmark]
    energyaware: _Own
    commit_info: _Commit | None = None
    datetime: str = ""


def quick_facts(path: Path) -> Facts | None:
    """The facts of a run file in one pass that builds no records; None where only a strict reading can tell."""
    try:
        content = run_bytes.read(path)
        if content is None:
            return None
        found = msgspec.json.decode(content, type=_RunFile)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    own, commit = found.energyaware, found.commit_info or _Commit()
    if own.schema_version != SCHEMA_VERSION:
        return None
    return Facts(
        commit=commit.id or "",
        branch=commit.branch or "",
        dirty=bool(commit.dirty),
        interrupted=own.interrupted,
        datetime=found.datetime,
        shard=(own.options.shard or "") if own.options is not None else "",
        benchmarks=sum(item.energy is not None for item in found.benchmarks),
    )


def shard_of(options: Mapping[str, object]) -> str:
    """As `2/4`, where these are the stored options of a part of a run; else empty."""
    return str(options.get("shard") or "")
