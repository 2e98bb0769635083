"""Making a node's private state differ from the other members'. Pure.

Source: docs/besu.md#how-members-silently-diverge: an old member missed a transaction and had other roots from there on.
"""

from dataclasses import replace

from eth_hash.auto import keccak

from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.private.head_maps import commit_block


def diverge(node: Node, privacy_group_id: bytes) -> bool:
    """Change a group's state on one node from its head on, as if it had missed an application's transaction.

    Members, lock and version stay, and so do nonces: only the root tells. Returns False when the node has no state of
    the group.
    """
    timeline = node.timelines.get(privacy_group_id)
    last = timeline.last_at(node.head.number) if timeline is not None else None
    if timeline is None or last is None:
        return False
    missed = replace(last.state, application_digest=keccak(b"missed" + last.state.application_digest))
    earlier = tuple(record for record in timeline.executed_in(node.head.number) if record is not last)
    commit_block(node.timelines, node.head.number, {privacy_group_id: (*earlier, replace(last, state=missed))})
    return True
