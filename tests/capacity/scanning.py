"""What the first look at a group's history costs where each root counts: the daemon's own scan of chains on paper."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from orchestrator.engine.history.changes import Bounds, scan_changes
from orchestrator.membership.model import GroupView
from tests.fakes.network import FakeNetwork, FakeNode

GROUP: Final = "group"
ROOT_BYTES: Final = 115
LOOK_BYTES: Final = 1_900
"""Sizes of answers: of a group's root, and of a block of three validators without transactions (recorded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What one look cost.

    Attributes:
        roots: Roots of the group.
        looks: Roots of the public chain.
        trips: Round trips for both.
    """

    roots: int
    looks: int
    trips: int

    @property
    def calls(self) -> int:
        """All of them."""
        return self.roots + self.looks

    @property
    def megabytes(self) -> float:
        """Of answers."""
        return (self.roots * ROOT_BYTES + self.looks * LOOK_BYTES) / 1e6


class _Paper(FakeNode):
    def __init__(self, busy: Sequence[int]) -> None:
        super().__init__(FakeNetwork(), "paper")
        self._busy = busy
        self.roots_read = self.looks = self.trips = 0

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        assert privacy_group_id == GROUP
        self.roots_read += len(block_numbers)
        self.trips += 1
        return tuple(GroupView(block_number=n, exists=True, state_root="the one") for n in block_numbers)

    async def public_roots(self, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        self.looks += len(block_numbers)
        self.trips += 1
        return tuple((f"block {n}", str(bisect_right(self._busy, n))) for n in block_numbers)


def scanned(blocks: int, one_in: int) -> Scanned:
    """Return what a scan of a chain costs.

    Args:
        blocks: Its length.
        one_in: One block in so many has a transaction, of whichever kind; 1 for all.
    """
    chance = Random(blocks)  # noqa: S311 - a plan that can be repeated
    busy = range(1, blocks + 1) if one_in == 1 else sorted(chance.sample(range(1, blocks), blocks // one_in))
    node = _Paper(busy)
    through = 0
    while through < blocks:
        through = asyncio.run(scan_changes(node, GROUP, through, [], blocks, Bounds())).through
    return Scanned(roots=node.roots_read, looks=node.looks, trips=node.trips)
