"""Keeps finished benchmarks on disk while a run is under way, and goes on with a run that was cut off."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from energyaware.baselines.durable import only_one
from energyaware.baselines.journal import Finished, Interrupted, Resumed, RunJournal, Spent, Timing, interrupted, resume
from energyaware.config import EnergyConfig
from energyaware.errors import StoredRunError
from energyaware.measure.machine import describe
from energyaware.meters.base import Meter
from energyaware.pytest_plugin.conditions import conditions
from energyaware.pytest_plugin.facts import properties
from energyaware.pytest_plugin.fixture import source_fingerprint
from energyaware.pytest_plugin.saving import RunFiles
from energyaware.records import Benchmark
from energyaware.reports.columns import plain

_PROPERTY = "energy_measured_at"


KEEPER = "energyaware-journal"
"""The name under which a run's keeper is registered."""


def open_keeper(config: pytest.Config, settings: EnergyConfig, meter: Meter) -> Keeper:
    """Look for interrupted runs, and take one up with `--energy-resume`.

    Raises:
        StoredRunError: none of them ran under the same conditions, or its journal is damaged; or nothing can be stored.
    """
    benchmarks = config._benchmarksession  # type: ignore[attr-defined]
    # A storage that is no folder leaves the journal where the default storage is.
    storage = Path(getattr(benchmarks.storage, "path", ".benchmarks")).resolve()
    _require_locks(storage)
    folder = storage / "journals"
    own = (storage,) if settings.report_dir is None else (storage, settings.report_dir.resolve())
    today = conditions(config, settings, meter, own)
    resumed = resume(folder, today) if settings.resume else None
    others = interrupted(folder)
    if settings.resume and resumed is None:
        begins = "energy: no run was interrupted here, so there is nothing to go on with: this one begins anew"
    else:
        begins = ""
    return Keeper(config, resumed.journal if resumed else RunJournal(folder, today), resumed, others, begins)


def _require_locks(storage: Path) -> None:
    """See before anything is measured that the storage has locks: without, neither journal nor run file is written.

    Raises:
        StoredRunError: it has none.
    """
    if not storage.is_dir():
        return
    try:
        with only_one(storage):
            pass
    except OSError as error:
        raise StoredRunError(
            f"the storage {storage} cannot be locked ({error.strerror or error}), so that nothing would be kept",
            "store elsewhere with --benchmark-storage, on a file system with locks",
        ) from error


class Keeper:
    """Keeps what the session measured; registered as a plugin, so its methods are hooks.

    Attributes:
        finished: benchmarks of the interrupted run, by full name: they are not measured again.
        spent: what the interrupted run cost.
        whole: whether the tests ran to the end. A run that was cut off is stored, but is no default baseline.
    """

    def __init__(
        self,
        config: pytest.Config,
        journal: RunJournal,
        resumed: Resumed | None,
        others: tuple[Interrupted, ...],
        begins: str,
    ) -> None:
        self.finished: Mapping[str, Finished] = resumed.finished if resumed else {}
        self.spent = resumed.spent if resumed else Spent()
        self.whole = False
        self._config = config
        self._journal = journal
        self._resumed = resumed
        self._others = others
        self._begins = begins
        self._problem = ""
        self._complete = False
        self._benchmarks = config._benchmarksession  # type: ignore[attr-defined]
        self._files = RunFiles(self._benchmarks)
        self._benchmarks.benchmarks += [entry_of(item.timing) for item in self.finished.values()]

    @property
    def marked(self) -> dict[str, Benchmark]:
        """The benchmarks of the interrupted run, marked as such."""
        if self._resumed is None:
            return {}
        note = f"measured in the run of {self._resumed.started_at}, which was interrupted and gone on with"
        return {
            name: replace(item.benchmark, notes=(*item.benchmark.notes, note)) for name, item in self.finished.items()
        }

    @property
    def machine(self) -> Mapping[str, str]:
        """What the interrupted run knew of the machine; nothing without one."""
        return list(self.finished.values())[-1].machine if self.finished else {}

    def require_same_machine(self, machine: Mapping[str, str] | None = None) -> None:
        """Compare what is known only now that a benchmark has loaded its libraries: the GPU, the threads.

        Args:
            machine: where it ran in another process, what that one saw.

        Raises:
            StoredRunError: it is not what the interrupted run had.
        """
        if not self.finished:
            return
        seen = machine or describe()
        for name, before in self.machine.items():
            if name in seen and seen[name] != before:
                raise StoredRunError(
                    f"the interrupted run had {name} {before}, now {seen[name]}",
                    "go on under the same conditions, or leave out --energy-resume to begin anew",
                )

    def refuse(self, problem: str) -> NoReturn:
        """End the run before anything is measured, and store nothing; the journal stays.

        Args:
            problem: why it cannot go on with the interrupted one, and a remedy.

        Raises:
            UsageError: always.
        """
        self._benchmarks.benchmarks.clear()
        raise pytest.UsageError(f"{plain(problem)}, or leave out --energy-resume to begin anew")

    def take(self, timing: Timing) -> None:
        """Have pytest-benchmark store and show what another process has timed."""
        self._benchmarks.benchmarks.append(entry_of(timing))

    def keep(self, benchmark: Benchmark, spent: Spent, machine: Mapping[str, str], node: str = "") -> None:
        """Put a finished benchmark on disk. Where that fails it waits in memory, and the end of the output tells.

        Args:
            machine: what other processes of this run saw of it.
            node: of a cluster, where it was measured; the machine is then that one, and not ours.
        """
        entries = reversed(self._benchmarks.benchmarks)
        metadata = next((item for item in entries if item.fullname == benchmark.fullname), None)
        if metadata is None:  # pytest-benchmark will not store it either
            return
        seen = machine if node else {**describe(), **machine}
        finished = Finished(benchmark, timing_of(metadata), now(), spent, seen, node)
        try:
            self._journal.add(finished)
        except StoredRunError as error:
            self._problem = str(error)
        else:
            self._problem = ""

    # --- hooks -------------------------------------------------------------------------------------------------

    def pytest_report_header(self) -> list[str]:
        """What was taken up, and what could be."""
        lines = []
        if self._resumed is not None:
            cut = "; its last line was cut off and is left out" if self._resumed.torn else ""
            lines.append(
                f"energy: going on with the run of {self._resumed.started_at}: {_count(len(self.finished))}, "
                f"not measured again ({self._journal.path}{cut})"
            )
        elif self._begins:
            lines.append(self._begins)
        if self._others:
            newest = self._others[0]
            more = f" ({len(self._others) - 1} more in this folder)" if len(self._others) > 1 else ""
            lines.append(
                f"energy: an interrupted run of {newest.started_at} with {_count(newest.benchmarks)} lies in "
                f"{newest.path}{more}: --energy-resume goes on with it"
            )
            if self._config.get_verbosity() > 0:
                lines += [f"  {item.started_at}, {_count(item.benchmarks)}: {item.path}" for item in self._others]
        return [plain(line) for line in lines]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave nothing to do for tests whose benchmark is finished: neither fixtures nor the test itself."""
        for item in items:
            finished = self.finished.get(item.nodeid)
            if finished is None:
                continue
            before = finished.benchmark.fingerprints.get("benchmark source")
            if before != source_fingerprint(item):  # where git cannot tell
                self.refuse(f"the source of {item.nodeid} is not what the interrupted run measured. Undo the change")
            item.setup = item.runtest = _nothing  # type: ignore[method-assign]
            item.user_properties += [*properties(finished.benchmark), (_PROPERTY, finished.measured_at)]

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Say of a test that it passed in the interrupted run."""
        if report.when == "call" and report.passed and report.nodeid in self.finished:
            return "passed", ".", "PASSED (resumed)"
        return None

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Say in the run file what was measured when."""
        output_json["energyaware"]["resumed"] = [
            {"fullname": name, "measured_at": item.measured_at} for name, item in self.finished.items()
        ]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """See whether the loop ends: `-x`, Ctrl-C, `pytest.exit` and accidents all leave it by exceptions."""
        result = yield
        self.whole = bool(session.items)
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Remove the journal if everything ran and is stored. pytest-benchmark has written the run file by now."""
        self._complete = self.whole and not self._files.problems
        if self._complete:
            if self._problem:
                self._problem += ". The run file is written and holds them"
            try:
                self._journal.finish()
            except OSError as error:
                self._problem = f"the journal {self._journal.path} cannot be removed ({error.strerror}). Remove it"
        else:
            self._journal.close()
        if (self._files.problems or self._files.too_large) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was lost, and how to go on."""
        for problem in (*self._files.problems, *self._files.too_large, *([self._problem] if self._problem else [])):
            terminalreporter.write_line(plain(problem), red=True)
        if self._resumed is not None:
            terminalreporter.write_line(
                f"{_count(len(self.finished))} measured in the interrupted run of {self._resumed.started_at}; "
                "energy and duration hold both runs, without the benchmark that was cut off"
            )
        if not self._complete and self._journal.kept:
            terminalreporter.write_line(
                plain(
                    f"incomplete: {_count(self._journal.kept)} kept in {self._journal.path}: the same command with "
                    "--energy-resume goes on"
                )
            )


def _nothing() -> None:
    """The test passed in the interrupted run."""


def _count(benchmarks: int) -> str:
    return "1 finished benchmark" if benchmarks == 1 else f"{benchmarks} finished benchmarks"


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def timing_of(metadata: Any) -> Timing:
    """What to remember of pytest-benchmark's record, in plain JSON types."""
    from pytest_benchmark.utils import safe_dumps

    entry = metadata.as_dict(include_data=False, stats=False)
    plain_entry = json.loads(safe_dumps({name: entry[name] for name in ("params", "extra_info", "options")}))
    return Timing(
        name=metadata.name,
        fullname=metadata.fullname,
        group=metadata.group,
        param=metadata.param,
        iterations=metadata.iterations,
        data=tuple(metadata.stats.data),
        **plain_entry,
    )


def entry_of(timing: Timing) -> Any:
    """pytest-benchmark's record again, by its own classes, so that its statistics are its own."""
    from pytest_benchmark.stats import Metadata

    test = SimpleNamespace(
        name=timing.name, fullname=timing.fullname, group=timing.group, param=timing.param, params=timing.params,
        extra_info=dict(timing.extra_info), cprofile_stats=None, has_error=False,
    )  # fmt: skip
    metadata = Metadata(test, timing.iterations, dict(timing.options))
    metadata.stats.data = list(timing.data)
    return metadata
