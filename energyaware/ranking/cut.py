"""The papers' two stages: rank what is not pruned, keep the best, and prune those alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energyaware.ranking.score import Ranking, rank
from energyaware.records import Benchmark


@dataclass(frozen=True)
class Cut:
    """Who goes on to be pruned.

    Attributes:
        group: the group whose ranking decided.
        top: how many were to be kept.
        kept: ids of the kept variants, best first.
        ranks: rank of every unpruned variant; None where it could not be ranked.
    """

    group: str
    top: int
    kept: tuple[str, ...]
    ranks: Mapping[str, int | None]

    def reason(self, name: str) -> str:
        """Why variants made from `name` are not pruned; empty where they are."""
        if name in self.kept:
            return ""
        if name not in self.ranks:
            return f"{name} was not measured in {self.group!r}, so it has no rank (--energy-top={self.top})"
        place = self.ranks[name]
        if place is None:
            return f"{name} could not be ranked in {self.group!r} (--energy-top={self.top})"
        ranked = sum(item is not None for item in self.ranks.values())
        has = "shares" if list(self.ranks.values()).count(place) > 1 else "has"
        return f"{name} {has} rank {place} of {ranked} in {self.group!r}: not among the {self.top} best by R"


def cut(benchmarks: Sequence[Benchmark], group: str, top: int, weight: float) -> Cut | None:
    """Rank the unpruned variants of a group and keep the best.

    Variants that share a rank are taken in the order of R, so that no more than `top` go on.

    Returns:
        None where no unpruned variant of the group has an R: without quality there is nothing to choose by.
    """
    dense = [item for item in benchmarks if item.group == group and item.variant and item.variant.pruning == "dense"]
    rankings = rank(dense, weight)
    if not rankings or not any(row.r is not None for row in rankings[0].rows):
        return None
    return cut_ranking(rankings[0], top)


def cut_ranking(ranking: Ranking, top: int) -> Cut:
    """Keep the `top` first rows of a ranking that have a rank."""
    kept = tuple(row.name for row in ranking.rows if row.rank is not None)[:top]
    return Cut(ranking.group, top, kept, {row.name: row.rank for row in ranking.rows})
