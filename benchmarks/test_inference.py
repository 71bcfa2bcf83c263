"""Inference: energy, latency and quality of every variant on root-cause analysis of fault tickets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.records import Variant

if TYPE_CHECKING:
    from benchmarks.conftest import RcaRow
    from energyaware.variants.prepare import PreparedModel


@pytest.mark.energy(group="inference", candle="matmul")
def test_rca(
    energy: Any,
    variant: Variant,
    prepared: Callable[[str], PreparedModel],
    load_rca_row: Callable[[PreparedModel, Variant], RcaRow],
) -> None:
    """One request is one ticket in, one cause out; a round answers a batch of them in one forward pass."""
    row = load_rca_row(prepared(variant.model), variant)
    energy.record(**row.facts)
    energy.pedantic(row.work, before_round=row.layout.before_round, layout=row.layout.description)
    energy.record(**row.quality())
