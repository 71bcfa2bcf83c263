"""`--energy-top=K`: what is not pruned runs first, and only what comes from the K best by R is pruned and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from energyaware.config import TestSettings
from energyaware.ranking.cut import Cut, cut
from energyaware.records import Benchmark, Variant
from energyaware.variants.tuned import dense_of

PIPELINE = "energyaware-pipeline"

DECIDING = "inference"
"""The group whose ranking decides for groups that have no quality, such as prefill and decode."""


class Pipeline:
    """Orders tests and skips what did not make the cut; registered as a plugin, so its methods are hooks.

    Args:
        top: how many go on.
        weight: w of R.
        measured: the benchmarks so far.
        group_of: the group in which a test's row will be ranked, as its marker says.
    """

    def __init__(
        self,
        top: int,
        weight: float,
        measured: Callable[[], Sequence[Benchmark]],
        group_of: Callable[[pytest.Item], str],
    ) -> None:
        self._top = top
        self._weight = weight
        self._measured = measured
        self._group_of = group_of
        self._cuts: dict[str, Cut | None] = {}

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """Every choice that was made, in order."""
        return tuple(found for found in self._cuts.values() if found is not None)

    def reason(self, group: str, name: str) -> str:
        """Why variants made from the unpruned variant `name` are skipped in `group`; empty where they are not.

        The choice is made when a group is first asked about, from what was measured until then, and stays.
        """
        for asked in (group, DECIDING):
            if asked not in self._cuts:
                self._cuts[asked] = cut(self._measured(), asked, self._top, self._weight)
            found = self._cuts[asked]
            # Another group's choice says nothing about variants that it does not hold.
            if found is not None and (asked == group or name in found.ranks):
                return found.reason(name)
        return ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Pruned variants last; apart from that the order stays."""
        items.sort(key=_is_pruned)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a pruned variant whose unpruned one is not among the best, before anything is loaded for it."""
        variant = _variant_of(item)
        if variant is None or not _is_pruned(item) or any(one.fullname == item.nodeid for one in self._measured()):
            return
        reason = self.reason(self._group_of(item), dense_of(variant).id)
        if reason:
            pytest.skip(reason)


def group_of_marker(settings_of: Callable[[pytest.Item], TestSettings]) -> Callable[[pytest.Item], str]:
    """The group that a test's marker names; empty without one."""

    def group_of(item: pytest.Item) -> str:
        return settings_of(item).group or ""

    return group_of


def _variant_of(item: pytest.Item) -> Variant | None:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return next((value for value in parameters.values() if isinstance(value, Variant)), None)


def _is_pruned(item: pytest.Item) -> bool:
    variant = _variant_of(item)
    return variant is not None and variant.pruning != "dense"
