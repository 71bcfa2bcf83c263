"""What reads input from outside, and what is tried on it by `fuzz` (drawn) and `fuzz_guided` (guided by coverage)."""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import functools
import gzip
import hashlib
import io
import json
import math
import socket
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from energyaware.baselines import git
from energyaware.baselines.codec import to_json
from energyaware.baselines.index import INDEX_NAME, INDEX_VERSION, Facts, RunIndex
from energyaware.baselines.journal import JOURNAL_VERSION, Finished, Header, Spent, Timing, interrupted, resume
from energyaware.baselines.merge import merge, read_part
from energyaware.baselines.shards import parse_shard
from energyaware.baselines.store import find_baseline, load_run
from energyaware.branches.channel import PROTOCOL, Channel
from energyaware.branches.checkout import Checkout
from energyaware.branches.coordinator import Collected
from energyaware.cli import report
from energyaware.config import METRICS, parse_limit
from energyaware.data.columns import KEYS
from energyaware.data.source import load_dataset, parse_source
from energyaware.data.task_columns import TASK_COLUMNS
from energyaware.dvfs.spec import UNITS, parse_spec
from energyaware.errors import DataError, EnergyAwareError
from energyaware.pytest_plugin.options import read_config
from energyaware.ranking.score import rank
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Variant, Work
from energyaware.reports.files import csv_text, markdown

Text = st.SearchStrategy[str]

# What breaks out of a terminal line, a Markdown cell, HTML, a shell, a path or git's options.
NASTY = (
    "\x1b[2J", "\r", "\n", "\0", "|", "<script>", "`", "$(touch owned)", "; touch owned", "../..", "-h", "--output=x",
    "%s%n", "{0}", "\u202e", "\ud800", "9" * 400, "1e999", "nan", "-0", "٣", "²", "~nobody-here", "x" * 5000,
)  # fmt: skip

texts: Text = st.one_of(st.text(max_size=30), st.sampled_from(NASTY))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts.filter(lambda text: "\ud800" not in text)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


def benchmark(name: str = "a") -> Benchmark:
    """A valid benchmark with something in every kind of member."""
    reading = Reading({"cpu": 1.0}, 0.1)
    return Benchmark(
        fullname=f"t.py::{name}", name=name, group="g", task="rca", phase="inference", candle="matmul/1", layout="",
        domains={"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W")}, variant=Variant("m", "fp32"),
        rounds=tuple(Round(1, 0.1, reading, Reading({"cpu": 0.5}, 0.1), windows={"w": reading}) for _ in range(3)),
        quality={"accuracy": 0.9}, scores={"accuracy": (1.0, 0.0)}, example_ids=("x", "y"), notes=("n",),
        trivial_quality={"accuracy": 0.5}, work=Work(flops=1, requests=1, tokens_in=3), traits={"device": "cpu"},
        fingerprints={"dataset": "a" * 64}, samples={"ttft_s": (0.1,)}, features={"parameters": 2.0},
    )  # fmt: skip


def run_file() -> dict[str, Any]:
    """A valid run file."""
    items = [benchmark("a"), benchmark("b")]
    return {
        "commit_info": {"id": "a" * 40, "branch": "main", "dirty": False},
        "datetime": "2026-01-01T00:00:00+00:00",
        "version": "5.0",
        "benchmarks": [{"fullname": item.fullname, "name": item.name, "energy": to_json(item)} for item in items],
        "energyaware": {
            "schema_version": SCHEMA_VERSION, "version": "0", "machine": {"cpu": "c"}, "options": {"weight": 0.5},
            "totals": {"energy_j": 2.0, "intensity_g_per_kwh": 400.0}, "interrupted": False, "errors": [],
            "shard": {"index": 1, "of": 1, "plan": "p", "ids": ["t.py::a", "t.py::b"], "default_limits": ["energy:5%"]},
        },
    }  # fmt: skip


def places(data: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all members of parsed JSON."""
    yield way
    entries: Iterable[tuple[Any, Any]]
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    for key, value in entries:
        yield from places(value, (*way, key))


def changed(data: Any, way: tuple[Any, ...], value: object) -> Any:
    """A copy with another value in one place."""
    if not way:
        return value
    found = copy.deepcopy(data)
    place = found
    for key in way[:-1]:
        place = place[key]
    place[way[-1]] = value
    return found


def near(data: Any) -> st.SearchStrategy[Any]:
    """What `data` becomes when one of its members is anything."""
    plain = json.loads(json.dumps(data))
    return st.builds(lambda way, value: changed(plain, way, value), st.sampled_from(list(places(plain))), values)


def as_bytes(data: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """It as JSON, whole, cut off, or any bytes."""
    whole = data.map(lambda value: json.dumps(value).encode())
    cut = st.builds(lambda text, share: text[: int(share * len(text))], whole, st.floats(0, 1))
    return st.one_of(whole, whole, cut, st.binary(max_size=200), st.just(b"[" * 100_000))


def finished() -> dict[str, Any]:
    """A valid line of a journal."""
    item = benchmark()
    timing = Timing(item.name, item.fullname, None, None, None, {}, {}, 1, (0.1,))
    line: dict[str, Any] = to_json(Finished(item, timing, "2026-01-01T00:00:00+00:00", Spent(), {"cpu": "c"}))
    return line


HEADER: dict[str, Any] = to_json(Header(JOURNAL_VERSION, "2026-01-01T00:00:00+00:00", {"a": "1"}))
COLLECTED: dict[str, Any] = {
    "kind": "collected", "protocol": PROTOCOL, "ids": ["t.py::a"], "limits": {"t.py::a": None},
    "defaults": ["energy:5%"], "machine": {"cpu": "c"}, "broken": {},
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    """Rows that every task can read; enough of them to be split."""
    return [
        {
            "text": f"site {number} reports ALM-{number % 7}", "label": "ab"[number % 2],
            "reference": f"crew reset {number}", "question": f"which site is number {number}?",
            "options": "one|two|three", "answer": "two",
        }
        for number in range(24)
    ]  # fmt: skip


def _delimited(delimiter: str) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows()[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows())
    return buffer.getvalue().encode()


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("train.csv", "test.csv"):
            archive.writestr(name, _delimited(","))
    return buffer.getvalue()


def _columnar() -> dict[str, bytes]:
    """Parquet and Arrow's own format, where pyarrow is installed."""
    try:
        import pyarrow as pa
        from pyarrow import feather, parquet
    except ImportError:
        return {}
    found = {}
    for name, write in (("a.parquet", parquet.write_table), ("a.feather", feather.write_feather)):
        buffer = io.BytesIO()
        write(pa.Table.from_pylist(rows()), buffer)
        found[name] = buffer.getvalue()
    return found


@functools.cache
def data_files() -> dict[str, bytes]:
    """A valid file of each format, by name."""
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows())
    texts_alone = b"".join(row["text"].encode() + b"\n" for row in rows())
    return {
        "a.csv": _delimited(","), "a.tsv": _delimited("\t"), "a": _delimited(";"), "a.txt": texts_alone,
        "a.json": json.dumps(rows()).encode(), "a.jsonl": lines, "a.jsonl.gz": gzip.compress(lines), "a.zip": _zipped(),
        **_columnar(),
    }  # fmt: skip


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """It with a part replaced by anything, or cut out."""
    places = st.integers(0, len(content))
    return st.builds(
        lambda start, length, junk: content[:start] + junk + content[start + length :],
        places, st.one_of(st.integers(0, 9), places), st.one_of(st.binary(max_size=9), texts.map(_utf8)),
    )  # fmt: skip


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


# --- what is done with an input; `folder` is empty before each -------------------------------------------------------


def _stored_run(content: bytes, folder: Path) -> None:
    path = folder / "0001_a.json"
    path.write_bytes(content)
    run = load_run(path)
    rankings = rank(run.benchmarks, 0.5)
    text = markdown(run, rankings, (), lambda energy_j: energy_j / 1000)
    csv_text(rankings, lambda energy_j: energy_j / 1000)
    hostile = [letter for letter in text if not letter.isprintable() and letter != "\n"]
    if hostile or "<script" in text:
        raise AssertionError(f"the report holds {hostile or '<script'}")


def _page(content: bytes, folder: Path) -> None:
    text, usual = _written(content, folder), _usual_page()
    hostile = {letter for letter in text if not letter.isprintable()} - set(usual)
    if hostile or text.count("<script") != usual.count("<script"):
        raise AssertionError(f"the page holds {hostile or 'another script'}")


@functools.cache
def _usual_page() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return _written(json.dumps(run_file()).encode(), Path(folder))


def _written(content: bytes, folder: Path) -> str:
    """The page that `energyaware report --html --csv` makes of a run file."""
    path = folder / "0001_a.json"
    path.write_bytes(content)
    kinds = {"html": True, "csv": True, "markdown": False, "figures": False}
    with contextlib.redirect_stdout(io.StringIO()):
        report.run(argparse.Namespace(runs=[path], output=folder / "report", weight=None, requests=None, **kinds))
    return (folder / "report" / "energy.html").read_text(encoding="utf-8")


def _merged(content: bytes, folder: Path) -> None:
    path = folder / "a.json"
    path.write_bytes(content)
    merge([read_part(path)], partial=True)


def _index(content: bytes, folder: Path) -> None:
    run = folder / "0001_a.json"
    run.write_text("{}")
    signed = hashlib.sha256(content).hexdigest().encode() + b"\n" + content
    (folder / INDEX_NAME).write_bytes(signed)
    with RunIndex(folder, [run], lambda _: Facts(problem="read")) as index:
        index.facts(run)


def _journal(content: bytes, folder: Path) -> None:
    (folder / "20260101T000000-1-abcdef.jsonl").write_bytes(content)
    interrupted(folder)
    taken = resume(folder, {"a": "1"})
    if taken is not None:
        taken.journal.close()


def _data_file(entry: tuple[str, str, bytes], folder: Path) -> None:
    name, task, content = entry
    path = folder / name
    path.write_bytes(content)
    try:
        load_dataset(str(path), task)
    except DataError as error:
        if not str(error).isprintable():
            raise AssertionError(f"not fit for one line of a terminal: {error!r}") from error


def _baseline(value: str, folder: Path) -> None:
    (folder / "0001_a.json").write_text(json.dumps(run_file()))
    find_baseline(value, folder, folder)


def _git(name: str, folder: Path) -> None:
    git.output(folder, "init", "-q")
    git.output(
        folder, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "x"
    )
    found = git.commit_of(folder, name)
    if found is not None and not all(letter in "0123456789abcdef" for letter in found):
        raise AssertionError(f"{name!r} gave {found!r}")
    git.ancestors(folder, name)


def _limit(text: str, folder: Path) -> None:  # noqa: ARG001 - one signature for all
    limit = parse_limit(text)
    try:
        again = parse_limit(limit.text)
    except EnergyAwareError as error:
        raise AssertionError(f"{text!r} is shown as {limit.text!r}, which is no limit") from error
    if not (math.isfinite(limit.value) and limit.value >= 0 and again == limit):
        raise AssertionError(f"{text!r} is {limit}, and {limit.text!r} is {again}")


def _message(content: bytes, folder: Path) -> None:  # noqa: ARG001 - one signature for all
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    try:
        # More than a socket holds would wait for a reader.
        theirs.sendall(content[:50_000] + b"\n")
        theirs.close()
        message = channel.receive()
    finally:
        channel.close()
    Collected.told(Checkout("main", Path("x"), ""), message)


def _ini(entry: tuple[str, str], folder: Path) -> None:
    name, text = entry
    limits = [text] if name == "energy_fail" else []
    switches = ("energy", "energy_strict", "energy_net", "energy_resume", "energy_isolate")
    given_values = {name: text, **{switch: switch == "energy" for switch in switches}}
    usual = {
        "energy_suite": "quick", "energy_meter": "auto", "energy_device": "auto", "energy_data": "network",
        "energy_sort": "r", "energy_weight": "0.5",
    }  # fmt: skip
    stub: Any = SimpleNamespace(
        getoption=lambda _name, _default=None: None,
        getini=lambda key: limits if key == "energy_fail" else {**usual, **given_values}.get(key, ""),
        rootpath=folder,
    )
    read_config(stub)


# Each with a value that it can have.
INI = {
    "energy_suite": "quick", "energy_meter": "auto", "energy_models": "tiny-gpt2", "energy_device": "cuda:0",
    "energy_data": "a.csv:text=body,label=kind", "energy_weight": "0.5", "energy_compare": "main",
    "energy_fail": "energy:5%", "energy_sort": "latency", "energy_columns": "rank,energy", "energy_report": "out",
    "energy_core_watts": "4", "energy_country": "DEU", "energy_dvfs": "cpu:3", "energy_rounds": "5",
    "energy_shard": "1/2",
}  # fmt: skip


def _as_text(content: bytes) -> str:
    # As Python reads its arguments: what is no UTF-8 becomes lone surrogates.
    return content.decode(errors="surrogateescape")


def _as_ini(content: bytes) -> tuple[str, str]:
    names = list(INI)
    return names[content[0] % len(names) if content else 0], _as_text(content[1:])


def _as_data_file(content: bytes) -> tuple[str, str, bytes]:
    names, tasks, (first, second) = list(data_files()), sorted(TASK_COLUMNS), content[:2].ljust(2, b"\0")
    return names[first % len(names)], tasks[second % len(tasks)], content[2:]


@dataclass(frozen=True)
class Target:
    """One reader of input from outside.

    Attributes:
        inputs: as Hypothesis draws them.
        read: takes an input and an empty folder.
        seeds: valid inputs as bytes, to begin with where bytes are changed at random.
        decode: the input that bytes stand for.
        slow: starts a process for each input.
    """

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], object]
    seeds: tuple[bytes, ...] = ()
    decode: Callable[[bytes], Any] = bytes
    slow: bool = False


def _json_target(valid: dict[str, Any], read: Callable[[bytes, Path], object]) -> Target:
    return Target(as_bytes(near(valid)), read, (json.dumps(valid).encode(),))


def _text_target(inputs: Text, read: Callable[[str, Path], object], *seeds: str, slow: bool = False) -> Target:
    return Target(inputs, read, tuple(map(_utf8, seeds)), _as_text, slow)


def _after(prefix: Text) -> Text:
    return st.one_of(texts, st.builds(lambda first, rest: f"{first}:{rest}", prefix, texts))


def _data_target() -> Target:
    names, tasks = list(data_files()), sorted(TASK_COLUMNS)
    of_json = st.tuples(st.just("a.json"), st.sampled_from(tasks), as_bytes(near(rows())))
    of_all = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(tasks), damaged(data_files()[name]))
    )
    seeds = tuple(bytes([number, 0]) + data_files()[name] for number, name in enumerate(names))
    return Target(st.one_of(of_json, of_all), _data_file, seeds, _as_data_file)


def _journal_target() -> Target:
    inputs = st.builds(
        lambda head, line: head + b"\n" + line + b"\n",
        st.one_of(st.just(json.dumps(HEADER).encode()), as_bytes(near(HEADER))),
        as_bytes(near(finished())),
    )
    return Target(inputs, _journal, (f"{json.dumps(HEADER)}\n{json.dumps(finished())}\n".encode(),))


_ENTRY = {"size": 2, "mtime_ns": 1, "facts": to_json(Facts())}
_entries = st.lists(st.builds(lambda key, text: f"{key}={text}", st.sampled_from(KEYS), texts), max_size=4).map(
    ",".join
)

TARGETS: dict[str, Target] = {
    "stored run, its ranking and report": _json_target(run_file(), _stored_run),
    "stored run, its page and tidy CSV": _json_target(run_file(), _page),
    "parts to merge": _json_target(run_file(), _merged),
    "index of the storage": _json_target({"index_version": INDEX_VERSION, "entries": {"0001_a.json": _ENTRY}}, _index),
    "journal": _journal_target(),
    "data files": _data_target(),
    "column maps": _text_target(
        st.one_of(texts, st.builds(lambda place, entries: f"{place}:{entries}", texts, _entries)),
        lambda text, _: parse_source(text).path,
        "a.csv:text=body,label=kind,delimiter=;",
        "hf:owner/name@main:task=choice,options=a|b,answer=right",
    ),
    "--energy-compare": _text_target(texts, _baseline, "main", "1", slow=True),
    "git refs": _text_target(texts, _git, "HEAD", "main~1", slow=True),
    "--energy-fail": _text_target(
        _after(st.sampled_from(sorted(METRICS))), _limit, "energy:5%", "latency:3ms", "accuracy:1pp"
    ),
    "--energy-dvfs": _text_target(
        _after(st.sampled_from(sorted(UNITS))), lambda text, _: parse_spec(text), "cpu:1.2GHz,1.8GHz", "gpu-power:200W"
    ),
    "--energy-shard": _text_target(
        st.one_of(texts, st.builds(lambda i, n: f"{i}/{n}", texts, texts)), lambda text, _: parse_shard(text), "1/2"
    ),
    "ini values": Target(
        st.tuples(st.sampled_from(sorted(INI)), _after(st.sampled_from(("cuda", "cpu", "energy")))),
        _ini,
        tuple(bytes([number]) + value.encode() for number, value in enumerate(INI.values())),
        _as_ini,
    ),
    "messages between processes": _json_target(COLLECTED, _message),
}


def attempt(target: Target, value: Any, folder: Path) -> None:
    """Read one input.

    Raises:
        AssertionError: an error of ours that is not fit to be shown.
        Exception: whatever is not ours.
    """
    try:
        target.read(value, folder)
    except EnergyAwareError as error:
        if not (error.cause.strip() and error.remedy.strip()):
            raise AssertionError(f"no cause or no remedy: {error!r}") from error
    if any("owned" in path.name for path in folder.iterdir()):
        raise AssertionError(f"{value!r} was executed")
