"""Can a member's node take a group? Which blocks it has to replay, and whether it can begin where it left off.

A node that never had the group replays all of it. A former member's node, or one that an addition failed for, replays
what it lacks, beginning from its own map of the block before; where that map does not hold what the group was, the
replay's root check halts the node for good (docs/besu.md#former-members).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.membership.forecast.histories import GroupHistory, Replay
from orchestrator.membership.reasons.table import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What the operator's daemon of a node that we can't see says of it, as far as it is believed.

    Attributes:
        account: The account that signed it.
        block_number: The node's head that it was looked at.
        last: The newest block of the group that the node has as the others have it; 0 when it lacks all.
        reason: Why the member must not be added; None when it may be.
    """

    account: str
    block_number: int
    last: int
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unattested:
    """There is no word about a node that we can't see.

    Attributes:
        detail: Why, for a person.
        required: Whether nobody is to be added without.
    """

    detail: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewcomerFacts:
    """What is known of a member that is to be added.

    Attributes:
        enclave_key: The member.
        node: Name of its node; None when we have no access to it.
        head: That node's head; None when it can't be seen.
        holds: Whether the node has the group already, a removed member's state included; None when it can't be seen.
        shared: Another key of the same node is a member: nothing is replayed.
        roots: Its roots of the group, empty text where it has none, at every block from the one after which a healthy
            member had the root that this node has at its head, up to its head.
        replays: What the node replayed, additions that failed included.
        left_block: The block of the member's last removal, where the group's logs show one: what is left to tell of a
            node that can't be seen.
        unseen: Why not everything is known, for a person; None when it is, be it by the word of somebody else.
        word: What that says; None when nobody was to be asked.
        starts_over: It fell back in such a way that it replays the whole history (`orchestrator.membership.cure`).
        own_way: Where it fell back and would not, why; empty where that was not looked at.
    """

    enclave_key: str
    node: str | None
    head: int | None
    holds: bool | None
    shared: bool = False
    roots: Mapping[int, str]
    replays: tuple[Replay, ...]
    left_block: int | None = None
    unseen: str | None = None
    word: Attested | Unattested | None = None
    starts_over: bool = False
    own_way: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Where a node's own state of a group ends.

    Attributes:
        last: The newest block of the group that the node executed as the others did; 0 when it lacks all.
        trouble: Why a replay from there halts it, for a person; None when it can begin there.
        block_number: The block that shows it; None without trouble.
        passing: Whether the trouble is over with the chain's next block.
    """

    last: int
    trouble: str | None = None
    block_number: int | None = None
    passing: bool = False


def executed_last(history: GroupHistory, state_root: str) -> int | None:
    """Return the block of the group after which its root was this one; None when it never was.

    Args:
        history: The group's blocks.
        state_root: What a node has at its head.
    """
    return next((block.number for block in reversed(history.blocks) if block.state_root == state_root), None)


def departure(history: GroupHistory, newcomer: NewcomerFacts) -> Departure:
    """Return where a node's state ends, and whether a replay can begin there.

    Args:
        history: The group's blocks as a healthy member has them, through the node's head at least.
        newcomer: A member whose node can be seen, or of which somebody who can told.
    """
    if isinstance(newcomer.word, Attested):
        return Departure(last=newcomer.word.last)
    head = newcomer.head or 0
    if newcomer.shared or not newcomer.holds:
        return Departure(last=head if newcomer.shared else 0)
    healthy = {block.number: block.state_root for block in history.blocks}
    last = executed_last(history, newcomer.roots.get(head, ""))
    if last is None and newcomer.starts_over:
        return Departure(last=0)
    if last is None:
        trouble = f"node {newcomer.node} has state for the group that no healthy member ever had"
        trouble += f": {newcomer.own_way}" if newcomer.own_way else ""
        return Departure(last=0, trouble=trouble, block_number=head)
    # A damaged node's roots go back and forth: looking at some blocks shows nothing of those between. A block that the
    # node executed once answers for itself, whatever the maps say, and is replayed over.
    astray = next(
        (n for n in range(last, head + 1) if newcomer.roots.get(n) not in (healthy[last], healthy.get(n))), None
    )
    if astray is not None:
        trouble = (
            f"node {newcomer.node} executed the group last in block {last}, and at block {astray} does not show what "
            "the group was then"
        )
        return Departure(last=last, trouble=trouble, block_number=astray)
    lacking = next((block.number for block in history.after(last)), None)
    # The map of the block itself is what the replay begins from; roots can't show it, the block's own metadata do.
    open_end = lacking is None and last == head
    if lacking == last + 1 or open_end:
        # A replay of the group itself sets the group's own entry in every map that it makes anew.
        others = (replay for replay in newcomer.replays if replay.privacy_group_id != history.privacy_group_id)
        replay = next((replay for replay in others if replay.disturbs(last)), None)
        if replay is not None:
            trouble = (
                f"node {newcomer.node} executed the group last in block {last} and replayed group "
                f"{replay.privacy_group_id} over it since; the group goes on in the next block"
            )
            return Departure(last=last, trouble=trouble, block_number=last, passing=open_end)
        if newcomer.unseen is not None:
            # What can't be told is not risked: such an addition stops the node for good.
            trouble = (
                f"node {newcomer.node} executed the group last in block {last}, the group goes on in the next block, "
                f"and what the node replayed over it can't be seen: {newcomer.unseen}"
            )
            return Departure(last=last, trouble=trouble, block_number=last, passing=open_end)
    return Departure(last=last)


def lacks_from(newcomer: NewcomerFacts, found: Departure) -> int:
    """Return the block above which a member's node has to replay the group.

    A node that can't be seen has replayed the group up to the member's removal if there was one; this is asked of the
    side that can see it.
    """
    if newcomer.holds is None and not isinstance(newcomer.word, Attested):
        return newcomer.left_block or 0
    return found.last
