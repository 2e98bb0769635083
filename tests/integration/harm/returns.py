"""May a member that left return? By the head maps of its emulated node, past everything under test."""

from dataclasses import dataclass

from orchestrator.devnet.private.head_maps import GroupTimeline
from tests.integration.harm.truth import Emulated, executed
from tests.simulation.truth import group_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What a node that was a member would go on from.

    Attributes:
        last: The block after which all members had the root that the node has at its head; None when they never had it.
        astray: Blocks from there on at which the node shows neither that root nor what its members have at the block.
    """

    last: int | None
    astray: frozenset[int]


def find_return(devnet: Emulated, privacy_group_id: str, number: int) -> Return | None:
    """Look what a node has of a group (docs/besu.md#former-members).

    Args:
        devnet: The nodes.
        privacy_group_id: The group.
        number: The node, from 1.

    Returns:
        What it would go on from; None when it has nothing of the group.
    """
    node = devnet.emulation.network.nodes[number - 1]
    timeline = node.timelines.get(group_bytes(privacy_group_id), GroupTimeline())
    head = node.head.number
    present = timeline.state_at(head)
    if present is None:
        return None
    healthy = {block: record.state.root for block, record in executed(devnet).executed(privacy_group_id)}
    last = max((block for block, root in healthy.items() if root == present.root), default=None)
    if last is None:
        return Return(last=None, astray=frozenset())
    shown = {block: state.root for block in range(last, head + 1) if (state := timeline.state_at(block)) is not None}
    allowed = {block: {healthy[last], healthy.get(block)} for block in range(last, head + 1)}
    return Return(last=last, astray=frozenset(block for block in allowed if shown.get(block) not in allowed[block]))
