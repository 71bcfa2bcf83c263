"""`energyaware report RUN…`: what stored runs hold, as files that people look at."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from energyaware.baselines.store import load_run
from energyaware.errors import OptionError, StoredRunError
from energyaware.paths import writable_dir
from energyaware.ranking.score import Ranking, rank
from energyaware.records import Run
from energyaware.reports import files
from energyaware.reports.columns import Grams, plain
from energyaware.reports.drivers import Analysis, analyses
from energyaware.reports.html.material import Material
from energyaware.reports.sections import Section, sections
from energyaware.units import kwh

KINDS = ("html", "markdown", "csv", "figures")
DEFAULT_KINDS = ("html", "markdown", "csv")
DEFAULT_FOLDER = Path("energy-report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="files that --benchmark-save or -json wrote")
    parser.add_argument("--html", action="store_true", help="energy.html: one file, offline")
    parser.add_argument("--markdown", action="store_true", help="energy.md, of the newest run")
    parser.add_argument("--csv", action="store_true", help="benchmarks.csv and rounds.csv, of all runs")
    parser.add_argument("--figures", action="store_true", help="figures/*.svg and *.png, of the newest run")
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="where to write, default: %(default)s"
    )
    parser.add_argument("--weight", type=float, help="w of R = w·φ + (1−w)·ρ; else the one of the newest run")
    parser.add_argument("--requests", type=int, metavar="N", help="add fine-tuning and N requests up, as pytest does")


def run(parsed: argparse.Namespace) -> int:
    """Write the files and say where they lie. Without a kind: HTML, Markdown and CSV.

    Raises:
        StoredRunError: a run cannot be read, or no run holds a benchmark.
        OptionError: a run is given twice, a weight outside [0, 1], no request, or a kind whose library is missing.
        CacheError: the folder cannot be written.
    """
    kinds = [kind for kind in KINDS if getattr(parsed, kind)] or list(DEFAULT_KINDS)
    require(kinds)
    if parsed.requests is not None and parsed.requests < 1:
        raise OptionError(f"--requests={parsed.requests} is no whole number from 1", "give one, as --requests=1000000")
    runs = _loaded(parsed.runs)
    newest = runs[-1]
    weight = _weight(newest, parsed.weight)
    rankings = rank(newest.benchmarks, weight)
    folder = writable_dir(parsed.output, "report")
    texts: dict[str, str] = {}
    further = _sections(newest, rankings, parsed.requests)
    if "markdown" in kinds:
        texts["energy.md"] = files.markdown(newest, rankings, (), grams_of(newest), sections=further)
    if "csv" in kinds:
        from energyaware.reports.tidy import benchmarks_csv, rounds_csv

        ranked = [
            (item, rankings if item is newest else rank(item.benchmarks, weight), grams_of(item)) for item in runs
        ]
        texts["benchmarks.csv"], texts["rounds.csv"] = benchmarks_csv(ranked), rounds_csv(runs)
    material = None
    if {"html", "figures"} & {*kinds}:
        fitted: tuple[Analysis, ...] = ()
        if importlib.util.find_spec("statsmodels") is not None:
            fitted = analyses(runs)
        else:
            print("drivers of energy are left out: they need statsmodels (pip install 'energyaware[analyze]')")
        material = Material(newest, rankings, grams_of(newest), tuple(runs), analyses=fitted, sections=further)
    if material is not None and "html" in kinds:
        from energyaware.reports.html.page import render

        texts["energy.html"] = render(material)
    written = list(files.write(folder, texts))
    if material is not None and "figures" in kinds:
        from energyaware.reports.figures import write_figures
        from energyaware.reports.html.page import contents

        charts = [chart for content in contents(material).values() for chart in content["charts"]]
        written += write_figures(writable_dir(folder / "figures", "report"), charts)
    for path in written:
        print(plain(str(path)))
    return 0


def require(kinds: Sequence[str]) -> None:
    """Say before anything is worked out that a library is missing.

    Raises:
        OptionError: with what to install.
    """
    for kind, module, title in (("html", "jinja2", "Jinja2"), ("figures", "matplotlib", "matplotlib")):
        if kind in kinds and importlib.util.find_spec(module) is None:
            raise OptionError(
                f"--{kind} needs {title}, which is not installed",
                "pip install 'energyaware[report]', or choose --markdown --csv",
            )


def grams_of(run: Run) -> Grams:
    """Joules to grams at the run's own carbon intensity; nan where it names none."""
    per_kwh = run.totals.intensity_g_per_kwh

    def grams(energy_j: float) -> float:
        return kwh(energy_j) * (per_kwh if per_kwh is not None else float("nan"))

    return grams


def _loaded(paths: Sequence[Path]) -> list[Run]:
    """The runs, oldest first."""
    places = [path.resolve() for path in paths]
    twice = next((path for path in places if places.count(path) > 1), None)
    if twice is not None:
        raise OptionError(f"the run {twice} is given twice", "name each run once: a copy is no further evidence")
    runs = sorted(map(load_run, paths), key=lambda item: item.datetime)
    if not runs[-1].benchmarks:
        raise StoredRunError(
            f"the newest run, {runs[-1].path}, holds no benchmark with a reading", "measure with --energy and store it"
        )
    return runs


def _sections(newest: Run, rankings: Sequence[Ranking], requests: int | None) -> tuple[Section, ...]:
    return sections(newest.benchmarks, rankings, full=newest.options.get("suite") == "full", requests=requests)


def _weight(newest: Run, asked: float | None) -> float:
    stored = newest.options.get("weight")
    weight = asked if asked is not None else float(stored) if isinstance(stored, int | float) else 0.5
    if not 0 <= weight <= 1:
        raise OptionError(f"--weight={weight:g} is outside [0, 1]", "give a share, as --weight=0.5")
    return weight
