"""A Ray cluster. Nothing here loads Ray before `RayCluster` is made."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from energyaware.baselines.codec import from_json, to_json
from energyaware.errors import ClusterError
from energyaware.pytest_plugin.engines.cluster import METER, Ended, Node
from energyaware.pytest_plugin.engines.node import Task, carry_out

# Beside what Ray leaves out itself (.git, .venv, what git ignores): what a run writes changes with every run.
_EXCLUDED = [".benchmarks", ".pytest_cache"]


class RayCluster:
    """The driver's side.

    Args:
        address: `ray://host:port` for one elsewhere; empty for the one that this machine is part of (or `RAY_ADDRESS`).
        function: what a node does with a task: JSON of a `Task` in, JSON of `node` and `said` out.

    Raises:
        ClusterError: Ray is not installed.
    """

    def __init__(self, address: str, function: Callable[[str], str] | None = None) -> None:
        try:
            import ray
            import ray.exceptions
        except ImportError as error:
            raise ClusterError(f"--energy-engine=ray needs Ray ({error})", 'pip install "energyaware[ray]"') from error
        except KeyError as error:
            if "amd_smi" not in str(error):
                raise
            raise ClusterError(
                f"Ray cannot be loaded, because the package amdsmi finds no library of AMD's ({error})",
                "pip uninstall amdsmi (it came with Zeus, which needs it for AMD's GPUs alone), here and on the nodes",
            ) from error
        self._ray = ray
        self._address = address
        self._function = function or measure
        self._measure: Any = None
        self._pending: dict[Any, str] = {}

    def connect(self, root: Path) -> None:
        """Reach it, and hand out the files under `root`.

        Raises:
            ClusterError: it cannot be reached, or does not take the files.
        """
        ray = self._ray
        try:
            ray.init(
                address=self._address or "auto",
                runtime_env={"working_dir": str(root), "excludes": _EXCLUDED},
                log_to_driver=False,
                logging_level="ERROR",
            )
        except ImportError as error:
            raise ClusterError(
                f"the address {self._address} needs Ray's client ({error})", 'pip install "ray[client]"'
            ) from error
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            where = f"the Ray cluster {self._address}" if self._address else "a Ray cluster of this machine"
            raise ClusterError(
                f"{where} cannot be used ({_first_line(error)})",
                f"start one with ray start --head --resources='{{\"{METER}\": 1}}', "
                "or name another with --energy-engine=ray://HOST:PORT",
            ) from error
        # Neither the processor nor Ray's own retries: the meter stands for the whole machine, and who lost what is ours
        # to count.
        self._measure = ray.remote(num_cpus=0, resources={METER: 1}, max_retries=0)(self._function)

    def nodes(self) -> Sequence[Node]:
        """Those that live."""
        return [
            Node(
                name=f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})",
                meters=node["Resources"].get(METER, 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
            )
            for node in self._ray.nodes()
            if node["Alive"]
        ]

    def submit(self, task: Task, gpus: int) -> None:
        """Have a node with a meter, and with so many GPUs, carry it out some time."""
        reference = self._measure.options(num_gpus=gpus, name=task.nodeid).remote(json.dumps(to_json(task)))
        self._pending[reference] = task.nodeid

    def ended(self, timeout_s: float) -> Sequence[Ended]:
        """Tasks that ended since the last call; waits for one, but no longer than `timeout_s`."""
        ready, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        return [self._answer(reference, self._pending.pop(reference)) for reference in ready]

    def _answer(self, reference: Any, nodeid: str) -> Ended:
        errors = self._ray.exceptions
        try:
            answer = json.loads(self._ray.get(reference))
        except errors.OutOfMemoryError:
            return Ended(nodeid, failed="Ray ended it because the memory of its node was short")
        except errors.RayTaskError as error:  # of what carries the task out: the benchmark has a process of its own
            return _unusable(nodeid, str(error).strip().rsplit("\n", 1)[-1])
        except errors.RuntimeEnvSetupError as error:
            return _unusable(nodeid, _first_line(error))
        except errors.RayError as error:
            return Ended(nodeid, lost=_first_line(error))
        return Ended(nodeid, message=answer["said"], node=answer["node"])

    def cancel(self) -> None:
        """End all tasks. What they started ends with them."""
        for reference in self._pending:
            self._ray.cancel(reference, force=True)
        self._pending.clear()

    def close(self) -> None:
        """Leave it."""
        self._ray.shutdown()


def measure(task: str) -> str:
    """Carry a task out, as Ray calls it on a node: JSON in, JSON out. Ray has unpacked the files where it starts us."""
    import ray

    said = carry_out(from_json(json.loads(task), Task, "a task"), Path.cwd())
    return json.dumps({"node": f"{platform.node()} ({ray.get_runtime_context().get_node_id()[:8]})", "said": said})


def _unusable(nodeid: str, error: str) -> Ended:
    return Ended(nodeid, message={"kind": "unusable", "error": error[:300]})


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
