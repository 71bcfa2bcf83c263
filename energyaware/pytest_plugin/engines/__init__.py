"""`--energy-engine`: benchmarks measured on the nodes of a cluster.

Nodes import from here too, so nothing is loaded that only the pytest needs which hands benchmarks out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from energyaware.config import EnergyConfig

if TYPE_CHECKING:
    from energyaware.pytest_plugin.session import EnergySession


def open_engine(config: pytest.Config, settings: EnergyConfig) -> EnergySession:
    """The session of a run on a cluster, beside the plugin that gives its nodes their benchmarks.

    Raises:
        UsageError: Ray is not installed.
    """
    from energyaware.errors import EnergyAwareError
    from energyaware.pytest_plugin.engines.ray_cluster import RayCluster
    from energyaware.pytest_plugin.engines.scheduling import Scheduling
    from energyaware.pytest_plugin.engines.session import ClusterSession

    try:
        cluster = RayCluster(settings.engine_address)
    except EnergyAwareError as error:
        raise pytest.UsageError(str(error)) from None
    session = ClusterSession(config, settings)
    config.pluginmanager.register(Scheduling(config, session, cluster), "energyaware-engine")
    return session
