"""pytest-benchmark's run files, written whole or not at all; a fault is told at the end instead of ending the run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from energyaware.baselines import run_bytes
from energyaware.baselines.durable import only_one, replace_file

_NUMBERED = re.compile(r"(\d{4,})_.*\.json")


class RunFiles:
    """Takes the place of what writes `--benchmark-json` and the storage's files; pytest-benchmark has no hook for it.

    Attributes:
        problems: one sentence, with a remedy, per file that could not be written.
        too_large: the same per file that is written, and that energyaware will not read again.
    """

    def __init__(self, benchmarks: Any) -> None:
        from pytest_benchmark.storage.file import FileStorage

        self.problems: list[str] = []
        self.too_large: list[str] = []
        self._benchmarks = benchmarks
        benchmarks.save_json = self.save_json
        if isinstance(benchmarks.storage, FileStorage):
            benchmarks.storage.save = self.save

    def save_json(self, output_json: dict[str, Any]) -> None:
        """Write the file of `--benchmark-json`."""
        given = self._benchmarks.json  # older versions open it themselves
        path = Path(given if isinstance(given, str | Path) else given.name)
        if self._write(path, output_json, "choose another file with --benchmark-json"):
            self._benchmarks.logger.info(f"Wrote benchmark data in: {path}", purple=True)

    def save(self, output_json: dict[str, Any], save: str) -> None:
        """Store a run under the next free number, which no other run can take at the same time."""
        folder = Path(self._benchmarks.storage.get("run")).parent
        remedy = "store elsewhere with --benchmark-storage"
        try:
            with only_one(folder):
                # Older versions stored beside the machines' folders.
                stored = (*folder.iterdir(), *Path(self._benchmarks.storage.path).iterdir())
                numbers = (_NUMBERED.fullmatch(path.name) for path in stored)
                number = max((int(match[1]) for match in numbers if match), default=0) + 1
                path = folder / f"{number:04}_{save}.json"
                written = self._write(path, output_json, remedy)
        except OSError as error:
            self._add_problem(folder, error, remedy)
            return
        if written:
            self._benchmarks.logger.info(f"Saved benchmark data in: {path}")

    def _write(self, path: Path, output_json: dict[str, Any], remedy: str) -> bool:
        from pytest_benchmark.utils import safe_dumps

        content = run_bytes.encode(output_json, safe_dumps)
        try:
            replace_file(path, content)
        except OSError as error:
            self._add_problem(path, error, remedy)
            return False
        problem = run_bytes.too_large(path, len(content))
        if problem:
            self.too_large.append(problem)
        return True

    def _add_problem(self, path: Path, error: OSError, remedy: str) -> None:
        self.problems.append(
            f"the run file {path} cannot be written ({error.strerror or error}). Make room on the disk, or {remedy}"
        )
