"""`energyaware merge RUN… -o FILE`: one run of the parts that `--energy-shard` measured."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from energyaware.baselines import run_bytes
from energyaware.baselines.durable import replace_file
from energyaware.baselines.gate import failing, judge
from energyaware.baselines.merge import ACROSS, PARTIAL, merge, read_part
from energyaware.baselines.store import find_baseline, history, run_of
from energyaware.config import DEFAULT_LIMIT, Limit, parse_limits
from energyaware.errors import OptionError, StoredRunError
from energyaware.reports.columns import plain
from energyaware.reports.comparison import github_errors
from energyaware.reports.tables import gate_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run files of the parts")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the run file to write")
    parser.add_argument(PARTIAL, action="store_true", help="join even where parts are absent or were cut off")
    parser.add_argument(
        ACROSS, action="store_true", help="join parts of different machines: only energy by the candle is compared"
    )
    parser.add_argument("--compare", metavar="FILE|NUM|NAME|BRANCH", help="judge the result, as --energy-compare does")
    parser.add_argument("--fail", action="append", default=[], metavar="METRIC:LIMIT", help="as energy:5%%; repeatable")
    parser.add_argument("--strict", action="store_true", help="inconclusive, incomparable and missing fail too")
    parser.add_argument(
        "--storage", type=Path, default=Path(".benchmarks"), metavar="DIR", help="of baselines; default: %(default)s"
    )


def run(parsed: argparse.Namespace) -> int:
    """Write the joined run, judge it if asked to, and return the exit status: 1 where something regressed.

    Raises:
        OptionError: a run is given twice, is the output, or a limit or baseline says nothing.
        StoredRunError: the runs are not parts of one whole, or the result cannot be written.
    """
    limits = parse_limits(parsed.fail)
    if parsed.compare is None and (parsed.fail or parsed.strict):
        raise OptionError("--fail and --strict have no baseline to judge against", "add --compare=NAME")
    places = [path.resolve() for path in parsed.runs]
    twice = next((path for path in places if places.count(path) > 1), None)
    if twice is not None:
        raise OptionError(f"the run {twice} is given twice", "name each part once")
    if parsed.output.resolve() in places:
        raise OptionError(f"the output {parsed.output} is one of the parts", "name another file after -o")
    parts = [read_part(path) for path in parsed.runs]
    data = merge(parts, partial=parsed.partial, across_machines=parsed.across_machines)
    # What nobody could read back is not written.
    run_of(data, parsed.output)
    content = run_bytes.encode(data)
    if len(content) > run_bytes.MOST_BYTES:
        size, most = run_bytes.megabytes(len(content)), run_bytes.megabytes(run_bytes.MOST_BYTES)
        raise StoredRunError(
            f"the joined run would have {size}, more than the {most} that are read again, and is not written",
            f"rank and compare the parts one by one, or join fewer of them with {PARTIAL}",
        )
    try:
        parsed.output.parent.mkdir(parents=True, exist_ok=True)
        replace_file(parsed.output, content)
    except OSError as error:
        raise StoredRunError(
            f"the run file {parsed.output} cannot be written ({error.strerror or error})",
            "make room on the disk, or name another file after -o",
        ) from error
    count = len(data["benchmarks"])
    print(plain(f"{count} benchmarks of {len(parts)} runs are in {parsed.output}: energyaware rank {parsed.output}"))
    if data["energyaware"]["interrupted"]:
        print("it is incomplete, and marked as such: it never becomes a baseline by itself")
    return 0 if parsed.compare is None else _judged(parsed, data, limits)


def _judged(parsed: argparse.Namespace, data: dict[str, Any], given: tuple[Limit, ...]) -> int:
    own = data["energyaware"]
    marked = {name: parse_limits(texts) for name, texts in own["limits"].items()}
    usual = given or parse_limits(own["default_limits"]) or parse_limits([DEFAULT_LIMIT])
    baseline = find_baseline(parsed.compare, parsed.storage, Path.cwd())
    if baseline is not None:
        print(plain(f"baseline: {baseline.run.path} ({baseline.chosen})"))
    judgements = judge(
        run_of(data, parsed.output),
        baseline.run if baseline else None,
        lambda fullname: marked.get(fullname, usual),
        history(parsed.storage, baseline.run) if baseline else (),
        failed=[str(entry.get("fullname")) for entry in own["errors"] if isinstance(entry, dict)],
    )
    print(gate_table(judgements, width=shutil.get_terminal_size().columns))
    for item in judgements:
        if item.reason:
            print(f"{plain(item.row)} {item.limit}: {item.verdict}, {plain(item.reason)}")
    bad = failing(judgements, parsed.strict)
    if bad:
        print("FAILED: " + ", ".join(f"{plain(item.fullname)} ({item.limit} {item.verdict})" for item in bad))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_errors(bad):
            print(line)
    return 1 if bad else 0
