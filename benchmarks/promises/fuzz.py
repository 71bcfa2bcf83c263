"""Hostile input is read, or refused in our own words: `python -m benchmarks.promises.fuzz --inputs 2000`.

Draws inputs with Hypothesis, half of them near valid ones, and counts what ends in anything but a result or an error of
this package with cause and remedy. The tests draw a few from the same targets.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import hashlib
import io
import json
import math
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tabulate import tabulate

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
from energyaware.data.source import parse_source
from energyaware.dvfs.spec import UNITS, parse_spec
from energyaware.errors import EnergyAwareError
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


INI = (
    "energy_suite", "energy_meter", "energy_models", "energy_device", "energy_data", "energy_weight", "energy_compare",
    "energy_fail", "energy_sort", "energy_columns", "energy_report", "energy_core_watts", "energy_country",
    "energy_dvfs", "energy_rounds", "energy_shard",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One reader of input from outside.

    Attributes:
        read: takes an input and an empty folder.
        slow: starts a process for each input.
    """

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], object]
    slow: bool = False


def _after(prefix: Text) -> Text:
    return st.one_of(texts, st.builds(lambda first, rest: f"{first}:{rest}", prefix, texts))


_entries = st.lists(st.builds(lambda key, text: f"{key}={text}", st.sampled_from(KEYS), texts), max_size=4).map(
    ",".join
)

TARGETS: dict[str, Target] = {
    "stored run, its ranking and report": Target(as_bytes(near(run_file())), _stored_run),
    "stored run, its page and tidy CSV": Target(as_bytes(near(run_file())), _page),
    "parts to merge": Target(as_bytes(near(run_file())), _merged),
    "index of the storage": Target(
        as_bytes(
            near(
                {
                    "index_version": INDEX_VERSION,
                    "entries": {"0001_a.json": {"size": 2, "mtime_ns": 1, "facts": to_json(Facts())}},
                }
            )
        ),
        _index,
    ),
    "journal": Target(
        st.builds(
            lambda head, line: head + b"\n" + line + b"\n",
            st.one_of(st.just(json.dumps(HEADER).encode()), as_bytes(near(HEADER))),
            as_bytes(near(finished())),
        ),
        _journal,
    ),
    "--energy-compare": Target(texts, _baseline, slow=True),
    "git refs": Target(texts, _git, slow=True),
    "--energy-fail": Target(_after(st.sampled_from(sorted(METRICS))), _limit),
    "--energy-dvfs": Target(_after(st.sampled_from(sorted(UNITS))), lambda text, _: parse_spec(text)),
    "--energy-shard": Target(
        st.one_of(texts, st.builds(lambda i, n: f"{i}/{n}", texts, texts)), lambda text, _: parse_shard(text)
    ),
    "column maps": Target(
        st.one_of(texts, st.builds(lambda place, entries: f"{place}:{entries}", texts, _entries)),
        lambda text, _: parse_source(text).path,
    ),
    "ini values": Target(st.tuples(st.sampled_from(INI), _after(st.sampled_from(("cuda", "cpu", "energy")))), _ini),
    "messages between processes": Target(as_bytes(near(COLLECTED)), _message),
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


def try_many(target: Target, most: int) -> tuple[int, list[str]]:
    """How many inputs were tried, and each that crashed, with the end of its traceback."""
    tried = 0
    crashes: list[str] = []

    @settings(
        max_examples=most,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def one(value: Any) -> None:
        nonlocal tried
        tried += 1
        with tempfile.TemporaryDirectory() as folder:
            try:
                attempt(target, value, Path(folder))
            except Exception:  # noqa: BLE001 - counting them is what this is for
                crashes.append(f"{value!r:.300}\n{traceback.format_exc(limit=-3)}")

    one()
    return tried, crashes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000, help="per target; a tenth where each starts a process")
    arguments = parser.parse_args()
    rows: list[tuple[str, int, int]] = []
    for name, target in TARGETS.items():
        tried, crashes = try_many(target, max(1, arguments.inputs // (10 if target.slow else 1)))
        rows.append((name, tried, len(crashes)))
        for crash in crashes[:3]:
            print(f"{name}: {crash}", file=sys.stderr)
    total = ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))
    print(tabulate([*rows, total], headers=("input", "tried", "crashes"), tablefmt="github"))
    raise SystemExit(1 if total[2] else 0)


if __name__ == "__main__":
    main()
