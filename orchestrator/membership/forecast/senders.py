"""Whose node may send an addition: one whose bundle of the group's history is whole.

A bundle is walked backwards over the sender's maps: from a block of the group to what the map of its parent says. Where
the node replayed other groups the maps may have lost transactions, and a newcomer that gets such a bundle halts for
good (docs/besu.md#torn-bundles).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from orchestrator.membership.forecast.histories import GroupHistory, Replay


class Bundle(StrEnum):
    """What a node's bundle of a group is, best first."""

    FIRST_HAND = "first_hand"
    """The node never replayed anything: it always sends whole bundles."""
    WHOLE = "whole"
    UNKNOWN = "unknown"
    """Not everything that the node replayed can be seen."""
    TORN = "torn"


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderFacts:
    """What is known of a member's node that could send.

    Attributes:
        enclave_key: The key that it sends from.
        node: Its name.
        head: Its head, through which the bundle goes.
        replays: What it replayed, additions that failed or came late included; the group's own is among them.
        roots: Its roots of the group at the blocks that `roots_to_read` names; empty text where it has none.
        unseen: Why not everything that it replayed is known, for a person; None when it is.
    """

    enclave_key: str
    node: str
    head: int
    replays: tuple[Replay, ...]
    roots: Mapping[int, str]
    unseen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderStanding:
    """What may be expected of a node's bundle.

    Attributes:
        enclave_key: The key that it sends from.
        node: Its name.
        bundle: See `Bundle`.
        block_number: Where the bundle may be torn: the block whose predecessor the walk would miss; None elsewhere.
        detail: Why, for a person.
    """

    enclave_key: str
    node: str
    bundle: Bundle
    block_number: int | None = None
    detail: str = ""

    @property
    def usable(self) -> bool:
        """Whether it may send."""
        return self.bundle is not Bundle.TORN


def neighbours(history: GroupHistory, head: int) -> tuple[int, ...]:
    """Return the blocks of the group that its next one follows directly, or may follow: the head itself counts.

    What a node replayed after one of these, with a transaction in it, tears its bundle.
    """
    numbers = [block.number for block in history.blocks if block.number <= head]
    # For such a pair no root shows anything: a node answers for a block of the group from the block's own record first
    # (docs/besu.md#torn-bundles, 2).
    close = [before for before, after in pairwise(numbers) if after - 1 == before]
    return (*close, numbers[-1]) if numbers and numbers[-1] == head else tuple(close)


def roots_to_read(history: GroupHistory, head: int) -> tuple[int, ...]:
    """Return the blocks at which a node's root of the group shows whether the walk finds what was before."""
    numbers = [block.number for block in history.blocks if block.number <= head]
    return tuple(after - 1 for before, after in pairwise([*numbers, head + 1]) if after - 1 > before)


def standing(history: GroupHistory, sender: SenderFacts) -> SenderStanding:
    """Return what may be expected of a node's bundle.

    Args:
        history: The group's blocks as a healthy member has them, through the sender's head at least.
        sender: The node.
    """

    def found(bundle: Bundle, block_number: int | None = None, detail: str = "") -> SenderStanding:
        return SenderStanding(
            enclave_key=sender.enclave_key,
            node=sender.node,
            bundle=bundle,
            block_number=block_number,
            detail=detail,
        )

    # Seen to have replayed nothing, not merely not seen to have replayed: only then are its maps as the blocks made
    # them (docs/besu.md#torn-bundles, 5).
    if not sender.replays and sender.unseen is None:
        return found(Bundle.FIRST_HAND)
    blocks = [block for block in history.blocks if block.number <= sender.head]
    # A replay of the group itself sets the group's own entry in every map: it tears other groups' bundles only.
    others = [replay for replay in sender.replays if replay.privacy_group_id != history.privacy_group_id]
    # The walk starts at the head, so that the last block is looked at from there.
    ends = [*(block.number for block in blocks[1:]), sender.head + 1]
    for block, after in zip(blocks, ends, strict=False):
        number = block.number
        if after - 1 == number:
            # No call shows this case: a node answers a block's root from the block's own metadata first.
            replay = next((replay for replay in others if replay.disturbs(number)), None)
            if replay is not None:
                when = f"in block {replay.at_block}" if replay.at_block is not None else "at a time that is not known"
                detail = (
                    f"node {sender.node} replayed group {replay.privacy_group_id} {when}, over block {number}, which "
                    f"block {after} of this group follows"
                )
                return found(Bundle.TORN, after, detail)
        elif sender.roots.get(after - 1) != block.state_root:
            detail = f"node {sender.node} does not show at block {after - 1} what the group was after block {number}"
            return found(Bundle.TORN, after, detail)
    if sender.unseen is not None:
        return found(Bundle.UNKNOWN, detail=sender.unseen)
    return found(Bundle.WHOLE)


def ranked(standings: Sequence[SenderStanding]) -> tuple[SenderStanding, ...]:
    """Return those that may send, the surest first; of equals in the order given."""
    order = list(Bundle)
    return tuple(sorted((s for s in standings if s.usable), key=lambda s: order.index(s.bundle)))
