"""What a group's history and a node's replays are to the rules: blocks and roots, nothing of their content."""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBlock:
    """A block with an executed transaction of a group.

    Attributes:
        number: The block.
        block_hash: Its hash.
        state_root: The group's root after it, as a healthy member has it. Each executed transaction uses up a private
            nonce, so that no root of a healthy history comes twice.
    """

    number: int
    block_hash: str
    state_root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHistory:
    """A group's blocks on the chain.

    Attributes:
        privacy_group_id: The group.
        blocks: Its blocks, oldest first.
        through: The newest block that was looked at.
        through_hash: Its hash.
    """

    privacy_group_id: str
    blocks: tuple[GroupBlock, ...]
    through: int
    through_hash: str

    def after(self, number: int) -> tuple[GroupBlock, ...]:
        """Return the group's blocks above a number."""
        return self.blocks[bisect_right(self.blocks, number, key=lambda block: block.number) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A node replayed a group, once.

    Attributes:
        privacy_group_id: The group.
        at_block: The block of the addition that brought it; None when that is not known, which may be any.
        blocks: Those of the blocks in question that hold a transaction of the group; None when that is not known.
    """

    privacy_group_id: str
    at_block: int | None
    blocks: frozenset[int] | None

    def disturbs(self, number: int) -> bool:
        """Return whether it may have made anew, after a block, the node's map of that block.

        A replay makes the map of each block of the group a copy of its parent's, whatever other groups had there
        (docs/besu.md#how-replay-damages-other-groups).
        """
        later = self.at_block is None or self.at_block > number
        return later and (self.blocks is None or number in self.blocks)
