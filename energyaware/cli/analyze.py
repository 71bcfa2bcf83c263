"""`energyaware analyze RUN…`: what drives the energy of stored runs."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

from energyaware.baselines.store import load_run
from energyaware.errors import OptionError, StoredRunError
from energyaware.reports.analysis import analysis_json, analysis_text, length_tables
from energyaware.reports.drivers import analyses


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="files that --benchmark-save or -json wrote")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--all-pairs", action="store_true", help="show every pair of variants, not only neighbours")


def run(parsed: argparse.Namespace) -> int:
    """Print the analysis.

    Raises:
        StoredRunError: a file cannot be read, or nothing in the runs can be analysed.
        OptionError: a run is given twice, or statsmodels is not installed.
    """
    if importlib.util.find_spec("statsmodels") is None:
        raise OptionError("analyze needs statsmodels, which is not installed", "pip install 'energyaware[analyze]'")
    places = [path.resolve() for path in parsed.runs]
    twice = next((path for path in places if places.count(path) > 1), None)
    if twice is not None:
        raise OptionError(f"the run {twice} is given twice", "name each run once: a copy is no further evidence")
    runs = [load_run(path) for path in parsed.runs]
    found = analyses(runs)
    if not found:
        raise StoredRunError(
            "no benchmark of these runs has a valid reading", "measure with --energy and store the run"
        )
    if parsed.json:
        print(analysis_json(found))
        return 0
    # A file or a pipe gets every column.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(analysis_text(found, all_pairs=parsed.all_pairs, width=width))
    tables = length_tables([item for entry in runs for item in entry.benchmarks], width=width)
    if tables:
        print(f"\n{tables}")
    if all(section.fit is None for analysis in found for section in analysis.sections):
        raise StoredRunError(
            f"no regression could be fitted: {found[0].sections[0].problem}",
            "give more runs, or runs with more rows (--energy-suite=full, more --energy-models)",
        )
    return 0
