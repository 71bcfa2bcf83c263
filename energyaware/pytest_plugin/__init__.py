"""The pytest plugin: options, the `energy` fixture, the ranking and the gate.

Importing it loads no model library, no meter and no statistics: those come with `--energy`.
"""

from __future__ import annotations

import pytest

from energyaware.config import EnergyConfig
from energyaware.errors import EnergyAwareError
from energyaware.pytest_plugin.options import add_options, read_config

CONFIG = pytest.StashKey[EnergyConfig]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their ini twins."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that other plugins may implement."""
    from energyaware.pytest_plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the options once, and load what this run needs."""
    config.addinivalue_line(
        "markers",
        "energy(group, fail, rounds, candle): settings of one energy benchmark, "
        'as energy(group="rca", fail="energy:3%", rounds=40, candle="interpreter")',
    )
    try:
        settings = config.stash[CONFIG] = read_config(config)
    except EnergyAwareError as error:
        raise pytest.UsageError(str(error)) from None
    manager = config.pluginmanager
    timing = manager.hasplugin("benchmark")
    if settings.measure:
        from energyaware.pytest_plugin.session import check_timing

        problem = check_timing(config, timing)
        if problem is not None:
            raise pytest.UsageError(problem)
        if settings.isolated is not None:
            from energyaware.pytest_plugin.isolated import open_isolated

            manager.register(open_isolated(config, settings, settings.isolated), "energyaware-session")
        elif settings.turns is None:
            _register_session(config, settings)
        else:
            from energyaware.pytest_plugin.turns import open_turns

            manager.register(open_turns(config, settings, settings.turns), "energyaware-session")
    if timing or manager.hasplugin("codspeed"):
        from energyaware.pytest_plugin import fixture

        manager.register(fixture, "energyaware-fixture")
    else:
        from energyaware.pytest_plugin import untimed

        manager.register(untimed, "energyaware-fixture")


def _register_session(config: pytest.Config, settings: EnergyConfig) -> None:
    """The session of a run, and what its options add to it."""
    from energyaware.pytest_plugin.pipeline import PIPELINE
    from energyaware.pytest_plugin.session import EnergySession

    session: EnergySession
    if settings.engine is not None:
        from energyaware.pytest_plugin.engines import open_engine

        session = open_engine(config, settings)
    else:
        session = EnergySession(config, settings)
    config.pluginmanager.register(session, "energyaware-session")
    if session.pipeline is not None:
        config.pluginmanager.register(session.pipeline, PIPELINE)
    if settings.shard is not None:
        from energyaware.pytest_plugin.shards import Sharding

        config.pluginmanager.register(Sharding(config, settings), "energyaware-shard")
    if settings.isolate and settings.engine is None:  # on a node each has a process of its own in any case
        from energyaware.pytest_plugin.isolation import Isolation

        config.pluginmanager.register(Isolation(config, session), "energyaware-isolation")


def config_of(config: pytest.Config) -> EnergyConfig:
    """The frozen options of this run, for a `conftest.py` that parametrizes by them."""
    return config.stash[CONFIG]
