"""Hostile input is read, or refused in our own words: `python -m benchmarks.promises.fuzz --inputs 2000`.

Draws inputs with Hypothesis, half of them near valid ones, and counts what ends in anything but a result or an error of
this package with cause and remedy. The tests draw a few from the same targets.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from tabulate import tabulate

from benchmarks.promises.fuzz_targets import TARGETS, Target, attempt


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
