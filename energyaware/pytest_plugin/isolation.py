"""`--energy-isolate`: each benchmark in a process of its own, so that one that dies takes nothing with it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from energyaware.baselines.codec import from_json
from energyaware.baselines.journal import Finished, Spent
from energyaware.branches.janitor import Janitor
from energyaware.errors import IsolatedError
from energyaware.pytest_plugin.facts import properties
from energyaware.pytest_plugin.processes import Order, ask, is_safe, starting
from energyaware.pytest_plugin.session import EnergySession


@dataclass(frozen=True)
class Said:
    """The one message of a process.

    Attributes:
        kind: `finished`, or `unusable` where nothing could be measured there.
        outcome: of the test, as pytest calls it.
        error: its first problem in one line; `text` is all of it.
        harness_j: what measuring cost beside the benchmark itself.
        spent: what all of it cost from the opening of the meter on, where nobody else measures there.
    """

    kind: str
    outcome: str = ""
    error: str = ""
    text: str = ""
    harness_j: float = 0.0
    finished: Finished | None = None
    spent: Spent | None = None


class Isolation:
    """Runs energy benchmarks in processes of their own; registered as a plugin, so its methods are hooks.

    The tests stay items of this session, with nothing to set up here: no fixture of theirs is made, no model loaded.
    Tests without the fixture `energy` run in this process as ever.
    """

    def __init__(self, config: pytest.Config, session: EnergySession) -> None:
        self._config = config
        self._session = session
        self._exit = contextlib.ExitStack()
        self._janitor: Janitor | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Have another process do what the energy benchmarks do."""
        if self._config.getoption("collectonly"):
            return
        for item in measured_elsewhere(items, self._session):
            item.runtest = functools.partial(self._measure, item)  # type: ignore[method-assign]

    def pytest_unconfigure(self) -> None:
        """Nothing that was started here outlives this."""
        self._exit.close()

    def _measure(self, item: pytest.Item) -> None:
        """Run one benchmark elsewhere and take what it measured.

        Raises:
            IsolatedError: its test failed there, or its process died.
            OptionError: its marker says nothing.
        """
        self._session.settings_of(item)
        given = self._config.invocation_params
        order = Order(
            nodeid=item.nodeid,
            arguments=[os.fspath(argument) for argument in given.args],
            folder=given.dir,
            safe=is_safe(given.dir),
            idle_w=self._session.idle_w,
        )
        with starting():
            if self._janitor is None:
                self._janitor = self._exit.enter_context(Janitor())
            message = ask(order, self._janitor)
        deliver(read(message, item.nodeid), item, self._session, "in a process of its own")


def measured_elsewhere(items: list[pytest.Item], session: EnergySession) -> list[pytest.Item]:
    """The energy benchmarks that are still to be measured, with nothing to set up in this process."""
    found = [
        item for item in items if "energy" in getattr(item, "fixturenames", ()) and not session.is_finished(item.nodeid)
    ]
    for item in found:
        item.setup = _nothing  # type: ignore[method-assign]
    return found


def read(message: Mapping[str, Any], nodeid: str) -> Said:
    """The message of the process of a benchmark.

    Raises:
        StoredRunError: it is none of ours.
    """
    return from_json(message, Said, f"what the process of {nodeid} said")


def deliver(said: Said, item: pytest.Item, session: EnergySession, where: str) -> None:
    """Have the test end here as it ended there, and the session take what it measured.

    Args:
        where: it ran, for people.

    Raises:
        IsolatedError: it failed there.
        StoredRunError: the run goes on with one that ran on another machine.
    """
    if said.kind == "unusable":
        raise IsolatedError(said.error, "Run it without --energy-isolate to see more")
    if said.outcome == "skipped":
        pytest.skip(said.error.removeprefix("Skipped: "))
    if said.outcome != "passed":
        raise IsolatedError(said.error, f"It ran {where}:\n{said.text}")
    if said.finished is None:  # energy(...) was not called
        return
    if said.finished.benchmark.fullname != item.nodeid:  # it would stand in for another one
        raise IsolatedError(
            f"it measured {said.finished.benchmark.fullname} instead {where}",
            "see that no plugin changes the ids of tests while they run",
        )
    session.take(said.finished, said.harness_j)
    item.user_properties += properties(said.finished.benchmark)


def _nothing() -> None:
    """Its fixtures are made in another process."""
