"""Where what was read of histories is kept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.forecast.histories import GroupBlock
from orchestrator.membership.forecast.memberships import MembershipLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far something was read.

    Attributes:
        number: The newest block that was looked at.
        block_hash: Its hash; of another branch of the chain, what was read above the fork does not hold.
    """

    number: int
    block_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBlocks:
    """A group's blocks as far as they were read.

    Attributes:
        blocks: Oldest first.
        mark: How far; None when nothing was read.
    """

    blocks: tuple[GroupBlock, ...] = ()
    mark: Mark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLogs:
    """Additions and removals in the groups that a node holds, as far as they were read.

    Attributes:
        logs: In the order of the chain.
        mark: How far; None when nothing was read.
    """

    logs: tuple[MembershipLog, ...] = ()
    mark: Mark | None = None


class HistoryStore(Protocol):
    """The durable record of histories. Every method may raise `StoreError`."""

    async def group_blocks(self, privacy_group_id: str) -> KeptBlocks:
        """Return what is kept of a group."""

    async def keep_group_blocks(
        self, privacy_group_id: str, above: int, blocks: Sequence[GroupBlock], mark: Mark
    ) -> None:
        """Put these blocks in place of all that are kept of the group above a number."""

    async def examinations(self, numbers: Collection[int]) -> tuple[Examination, ...]:
        """Return what is kept of these blocks."""

    async def newest_examinations(self, limit: int, below: int, node: str) -> tuple[Examination, ...]:
        """Return the examined blocks below a number that a node told alone, or two did; newest first."""

    async def keep_examinations(self, examinations: Sequence[Examination]) -> None:
        """Keep what blocks are to a replay, in place of what was known of blocks of these numbers."""

    async def forget_examinations(self, above: int, told_by: str) -> None:
        """Forget the blocks above a number that a node told alone; those that two told for an empty name."""

    async def membership_logs(self, node_key: str) -> KeptLogs:
        """Return what is kept of a node's groups; a node is known by its first enclave key."""

    async def keep_membership_logs(self, node_key: str, logs: Sequence[MembershipLog], mark: Mark) -> None:
        """Put these logs in place of all that are kept of the node."""
