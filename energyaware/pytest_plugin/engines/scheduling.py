"""`--energy-engine`: gives energy benchmarks to the nodes of a cluster, and takes what each measured once it ends."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from energyaware import __version__
from energyaware.errors import ClusterError, EnergyAwareError, IsolatedError
from energyaware.pytest_plugin.engines.cluster import METER, Cluster, Ended, Node
from energyaware.pytest_plugin.engines.node import FORWARDED, Task
from energyaware.pytest_plugin.engines.session import ClusterSession
from energyaware.pytest_plugin.isolation import deliver, measured_elsewhere, read
from energyaware.pytest_plugin.processes import is_safe
from energyaware.reports.columns import plain

RETRIES = 3
"""How often a benchmark is given to another node after its own was lost."""

# How long to wait for an end before the nodes are looked at, and for a node to come back where none is left.
_LOOK_S = 2.0
PATIENCE_S = 120.0

_SHOWN_NODES = 5


class Scheduling:
    """Has nodes measure what this session collected; registered as a plugin, so its methods are hooks.

    The tests stay items of this session, with nothing to set up here, and run in the order in which nodes end. Tests
    without the fixture `energy` run here first, before any node is busy: this machine may be one of them.
    """

    def __init__(self, config: pytest.Config, session: ClusterSession, cluster: Cluster) -> None:
        self._config = config
        self._session = session
        self._cluster = cluster
        self._gpus = 0
        self._nodes: tuple[Node, ...] = ()
        self._items: dict[str, pytest.Item] = {}
        self._ended: dict[str, Ended] = {}
        self._lost: list[str] = []

    def pytest_sessionstart(self) -> None:
        """Reach the cluster, and see that something can be measured there."""
        if self._config.getoption("collectonly"):
            return
        root, folder = self._config.rootpath, self._config.invocation_params.dir
        try:
            if not folder.is_relative_to(root):
                raise ClusterError(
                    f"pytest was started in {folder}, and the nodes get the files under {root}",
                    "start it there, or name that folder with --rootdir",
                )
            self._cluster.connect(root)
            metered = [node for node in self._cluster.nodes() if node.meters >= 1]
            self._gpus = gpus_of_a_task(self._session.settings.device, metered)
            self._nodes = self._measuring()
        except EnergyAwareError as error:
            raise pytest.UsageError(plain(str(error))) from None

    def pytest_report_header(self) -> list[str]:
        """Who measures."""
        if not self._nodes:
            return []
        names = [node.name for node in self._nodes[:_SHOWN_NODES]]
        more = ", …" if len(self._nodes) > _SHOWN_NODES else ""
        what = "benchmark and GPU" if self._gpus else "benchmark"
        line = f"energy: nodes that measure, one {what} at a time each: {len(self._nodes)} ({', '.join(names)}{more})"
        return [plain(line)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run what runs here, then what nodes have measured, one by one as they end."""
        failed = session.testsfailed and not session.config.option.continue_on_collection_errors
        if failed or session.config.option.collectonly:
            return None  # as without a cluster
        self._items = {item.nodeid: item for item in measured_elsewhere(session.items, self._session)}
        here = [item for item in session.items if item.nodeid not in self._items]
        for item, following in itertools.zip_longest(here, here[1:]):
            _run(session, item, following)
        try:
            for item in self._answered(session):
                _run(session, item, None)
        finally:
            self._cluster.cancel()
            self._session.put_in_order([item.nodeid for item in session.items])
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was measured twice."""
        for line in self._lost:
            terminalreporter.write_line(plain(line))

    def pytest_unconfigure(self) -> None:
        """Leave the cluster."""
        self._cluster.close()

    def _measuring(self) -> tuple[Node, ...]:
        """Nodes that live and can be given a benchmark."""
        return tuple(node for node in self._cluster.nodes() if node.meters >= 1 and node.gpus >= self._gpus)

    def _answered(self, session: pytest.Session) -> Iterator[pytest.Item]:
        """Items whose task has ended, ready to end here as they did there.

        Raises:
            Interrupted: no node is left, or one cannot measure; what was measured is in the journal.
        """
        waiting, tries = dict(self._items), Counter[str]()
        for nodeid, item in waiting.items():
            item.runtest = functools.partial(self._end, item)  # type: ignore[method-assign]
            self._submit(nodeid)
        alive_s = time.monotonic()
        while waiting:
            ended = self._cluster.ended(_LOOK_S)
            if ended or self._measuring():
                alive_s = time.monotonic()
            elif time.monotonic() - alive_s > PATIENCE_S:
                raise session.Interrupted(
                    f"no node with {METER}{' and a GPU' if self._gpus else ''} is left, and {len(waiting)} of "
                    f"{len(self._items)} benchmarks are not measured: start nodes, and go on with --energy-resume"
                )
            for one in ended:
                if one.lost and tries[one.nodeid] < RETRIES:
                    tries[one.nodeid] += 1
                    self._lost.append(f"{one.nodeid} is measured again, because its node was lost: {one.lost}")
                    self._submit(one.nodeid)
                    continue
                if one.message is not None and one.message.get("kind") == "unusable":
                    raise session.Interrupted(plain(
                        f"the node {one.node} cannot measure: {one.message.get('error')}. Repair or stop it, and go on "
                        "with --energy-resume"
                    ))  # fmt: skip
                item = waiting.pop(one.nodeid)
                self._ended[one.nodeid] = one
                yield item

    def _submit(self, nodeid: str) -> None:
        given, root = self._config.invocation_params, self._config.rootpath
        self._cluster.submit(
            Task(
                version=__version__,
                nodeid=nodeid,
                arguments=tuple(os.fspath(argument) for argument in given.args),
                root=str(root),
                folder=given.dir.relative_to(root).as_posix(),
                safe=is_safe(given.dir),
                environment={name: os.environ.get(name) for name in FORWARDED},
            ),
            self._gpus,
        )

    def _end(self, item: pytest.Item) -> None:
        """Have a test end here as it ended on its node.

        Raises:
            IsolatedError: it failed there, or its node was lost again and again.
            OptionError: its marker says nothing.
        """
        ended = self._ended.pop(item.nodeid)  # it may be large, and nobody else needs it
        self._session.settings_of(item)
        if ended.message is None:
            again = f" ({RETRIES + 1} times)" if ended.lost else ""
            raise IsolatedError(
                f"{ended.failed or f'its node was lost: {ended.lost}'}{again}", "see the cluster's logs"
            )
        said = read(ended.message, item.nodeid)
        self._session.add_spent(said.spent, ended.node)
        deliver(said, item, self._session, f"on the node {ended.node}")


def gpus_of_a_task(device: str, nodes: Sequence[Node]) -> int:
    """How many GPUs each benchmark gets.

    Args:
        device: as `--energy-device` says.
        nodes: that measure.

    Raises:
        ClusterError: on these nodes nothing can be measured, or not one thing at a time, or not on one kind of device.
    """
    start = f"ray start --address=HEAD:6379 --resources='{{\"{METER}\": 1}}'"
    if not nodes:
        raise ClusterError(
            f"no node of the cluster declares the resource {METER}, so none may measure",
            f"start those that may with {start}",
        )
    greedy = next((node for node in nodes if node.meters > 1), None)
    if greedy is not None:
        raise ClusterError(
            f"the node {greedy.name} declares {METER}: {greedy.meters:g}, so it would measure several at once",
            f"start it with {start}",
        )
    having = [node for node in nodes if node.gpus >= 1]
    if device == "cuda" and not having:
        raise ClusterError("--energy-device=cuda, but no node that measures has a GPU", f"add --num-gpus to {start}")
    if device == "auto" and 0 < len(having) < len(nodes):
        raise ClusterError(
            f"{len(having)} of {len(nodes)} nodes that measure have a GPU, so --energy-device=auto would mean both",
            "write --energy-device=cpu or --energy-device=cuda",
        )
    return int(device == "cuda" or (device == "auto" and bool(having)))


def _run(session: pytest.Session, item: pytest.Item, following: pytest.Item | None) -> None:
    """As pytest's own loop does."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
